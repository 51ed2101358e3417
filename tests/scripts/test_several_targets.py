"""Several targets of one file, through the command lines: their files, their rows, and what must not be mixed."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch

from helpers import assert_one_line_error, assert_success, call, prose, snapshot, write_jsonl, write_version_1
from utils.saved.probe_files import load_probe, probe_path, slug

pytestmark = pytest.mark.slow  # each trains several times
KINDS = ("linear", "mass_mean")


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def spans(tmp_path_factory, tiny_model):
    """Texts with words marked "x" and words marked "x_mass_mean": plain labels, and onsets of them."""
    folder, random = tmp_path_factory.mktemp("spans"), np.random.default_rng(0)
    rows = []
    for number in range(40):
        text = prose(number, 60)
        starts = sorted(random.choice(len(text) - 12, 6, replace=False).tolist())
        marked = [[start, start + 6, label] for start, label in zip(starts, ("x", "x_mass_mean") * 3, strict=True)]
        rows.append({"text": text, "spans": marked if number % 3 else [], "length_bucket": number % 2})
    write_jsonl(folder / "marked.jsonl", rows)
    for name, more in (("plain", ()), ("onsets", ("--onset_only",))):
        assert_success(
            call(
                "prepare_data",
                "--task",
                "spans",
                "--input",
                folder / "marked.jsonl",
                "--context_length",
                "40",
                "--model_name",
                tiny_model,
                "--overlap",
                "10",
                "--output_dir",
                folder / name,
                *more,
            )
        )
    return folder


@pytest.fixture
def train(spans, tmp_path):
    def run(name, *words):
        return call(
            "train_probe",
            "--train_data",
            spans / name / "train.pth",
            "--layer",
            "1",
            "--epochs",
            "1",
            "--no_wandb",
            "--output_dir",
            tmp_path / "models",
            "--results_dir",
            tmp_path / "results",
            *words,
        )

    return run


def test_every_probe_has_a_file_and_a_row_of_its_own(train, tmp_path):
    told = assert_success(train("plain", "--probe", ",".join(KINDS), "--lags", "-1,0"))
    assert "the probe that validation chose for each target and lag" in told.stdout
    rows = rows_of(tmp_path / "results/probe_results.csv")
    assert {(row["target"], row["lag"], row["probe"]) for row in rows} == {
        (target, lag, kind) for target in ("x", "x_mass_mean") for lag in ("-1", "0") for kind in KINDS
    }
    assert len(list((tmp_path / "models").glob("*.pth"))) == len(rows) == 8
    record = json.loads((tmp_path / "results/run_record.json").read_text(encoding="utf-8"))
    assert {target: set(lags) for target, lags in record["selected_on_validation"].items()} == {
        "x": {"-1", "0"},
        "x_mass_mean": {"-1", "0"},
    }
    assert {lag["chosen_by"] for lags in record["selected_on_validation"].values() for lag in lags.values()} == {"auc"}
    buckets = {row["bucket"] for row in rows_of(tmp_path / "results/document_scores.csv")}
    assert buckets == {"all", "0", "1"}


def test_a_run_of_one_target_leaves_the_rows_of_the_others(train, tmp_path):
    assert_success(train("plain"))
    before = rows_of(tmp_path / "results/probe_metrics.csv")
    assert_success(train("plain", "--targets", " x ,x"))
    after = rows_of(tmp_path / "results/probe_metrics.csv")
    assert sorted((row["target"], row["split"]) for row in before) == sorted((row["target"], row["split"]) for row in after)
    assert_one_line_error(train("plain", "--targets", "y"), "--targets 'y' is none of", "'x', 'x_mass_mean'")


def test_other_caps_and_other_data_are_not_mixed_in(train, tmp_path):
    assert_success(train("plain"))
    assert_one_line_error(train("plain", "--pos_weight_cap", "5"), "pos_weight_cap 5.0")
    assert_one_line_error(train("onsets"), "dataset")
    assert (tmp_path / "results/document_scores.csv").exists()
    assert_success(train("onsets", "--overwrite"))
    assert not (tmp_path / "results/document_scores.csv").exists(), "scores of other data stayed"
    assert_success(train("onsets"))


def test_documents_are_not_scored_by_a_sample_of_their_tokens(train, tmp_path):
    assert_success(train("plain", "--max_val_tokens", "200"))
    assert not (tmp_path / "results/document_scores.csv").exists()
    assert {row["n_val"] for row in rows_of(tmp_path / "results/probe_results.csv")} <= {"199", "200"}


def test_no_lag_reaches_beyond_the_windows_overlap(train, tmp_path):
    assert_one_line_error(train("plain", "--lags", "-11,0"), "lag -11", "overlap, 10 tokens", "--overlap")
    assert_success(train("plain", "--lags", "-10,10"))


def test_file_names_are_short_and_each_probes_own(tmp_path):
    names = ["x", "x_mlp", "x_seed1", "mlp", "x=5Fmlp", "Ä/..\\é", "l" * 300, "l" * 299 + "m"]
    kinds = ("linear", "mlp", "mass_mean")
    paths = {probe_path(tmp_path, 3, -4, seed, kind, name).name for name in names for kind in kinds for seed in (0, 1)}
    assert len(paths) == len(names) * len(kinds) * 2 and max(map(len, paths)) < 150
    alike = [probe_path(tmp_path, 3, -4, 0, "linear", name, True).name for name in ("Python", "python", "PYTHON")]
    assert len({name.lower() for name in alike}) == 3, "a file system that tells no cases apart holds one file of them"
    assert (
        probe_path(tmp_path, 3, -4, 0, "mlp", "x").name.lower()
        != probe_path(tmp_path, 3, -4, 0, "linear", "x_MLP").name.lower()
    )
    assert slug("backtracking") == "backtracking" and probe_path(tmp_path, 3, -4, 0).name == "probe_layer3_lag-4.pth"
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-=.") for name in paths)


def test_names_that_differ_only_in_case_have_files_of_their_own_and_old_ones_are_replaced(tiny_model, tmp_path):
    """The folder holds a probe as it was named before."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(40):
        text = prose(number, 60)
        starts = sorted(random.choice(len(text) - 12, 6, replace=False).tolist())
        marked = [[start, start + 6, label] for start, label in zip(starts, ("Python", "python") * 3, strict=True)]
        rows.append({"text": text, "spans": marked if number % 3 else []})
    write_jsonl(tmp_path / "marked.jsonl", rows)
    words = (
        "--task",
        "spans",
        "--input",
        "marked.jsonl",
        "--context_length",
        40,
        "--model_name",
        tiny_model,
        "--overlap",
        10,
    )
    assert_success(call("prepare_data", *words, cwd=tmp_path))
    train = ("train_probe", "--layer", 1, "--lags", 0, "--probe", "mass_mean", "--no_wandb")
    assert_success(call(*train, cwd=tmp_path))
    there = {load_probe(path)["metadata"]["target"]: path for path in (tmp_path / "models").glob("*.pth")}
    assert set(there) == {"Python", "python"} and len({path.name.lower() for path in there.values()}) == 2
    former = probe_path(tmp_path / "models", 1, 0, 0, "mass_mean", "Python")
    there["Python"].rename(former)
    other = snapshot(tmp_path / "models").get(str(there["python"]))
    assert_success(call("evaluate_probe", "--keep_seen", cwd=tmp_path))
    assert_success(call(*train, "--targets", "Python", cwd=tmp_path))
    assert not former.exists() and there["Python"].exists()
    assert snapshot(tmp_path / "models")[str(there["python"])] == other


def states_of(folder):
    """{file: the bytes of each tensor} of the probes in a folder."""
    return {
        path.name: {name: tensor.numpy().tobytes() for name, tensor in load_probe(path)["state_dict"].items()}
        for path in folder.glob("probe_*.pth")
    }


@pytest.mark.parametrize("with_hashes", [True, False])
def test_files_of_version_1_give_the_same_probes_and_tables(with_hashes, spans, train, tmp_path):
    """Also those without content_hashes, whose arrays, as they stand, are compared with the fingerprint of all splits."""
    old = shutil.copytree(spans / "plain", tmp_path / "old")
    write_version_1(old)
    for path in old.glob("*.pth") if not with_hashes else ():
        payload = torch.load(path, weights_only=True)
        del payload["metadata"]["content_hashes"]
        torch.save(payload, path)
    more = ("--probe", "mass_mean", "--lags", "-1,0")
    assert_success(train("plain", *more))
    folders = ("--output_dir", tmp_path / "models_1", "--results_dir", tmp_path / "results_1")
    assert_success(train("plain", *more, "--train_data", old / "train.pth", *folders))
    assert states_of(tmp_path / "models_1") == states_of(tmp_path / "models") != {}
    for name in ("probe_metrics.csv", "document_scores.csv"):
        ours, theirs = (
            [row | {"dataset_fingerprint": "", "settings": ""} for row in rows_of(tmp_path / folder / name)]
            for folder in ("results_1", "results")
        )
        assert ours == theirs != [], name
    if not with_hashes:
        path = old / "val.pth"
        payload = torch.load(path, weights_only=True)
        payload["labels"][0] = payload["labels"][0].clamp(max=0)
        payload["labels"][1] = payload["labels"][1].clamp(min=0, max=0)
        torch.save(payload, path)
        assert_one_line_error(train("plain", "--train_data", old / "train.pth"), "were changed: their arrays", "val.pth")
