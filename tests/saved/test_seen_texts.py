"""The hashes of a run's texts: once beside the probes and inside an export, never inside a probe file."""

import csv
import json
import shutil

import pytest
import torch

from helpers import assert_one_line_error, assert_success, call


@pytest.fixture(scope="module")
def run(prepared, tmp_path_factory):
    """models/ and export/ of two probes."""
    folder = tmp_path_factory.mktemp("run")
    flags = ("--train_data", prepared / "train.pth", "--layer_sweep", "0,1", "--epochs", 1, "--no_wandb")
    places = ("--output_dir", folder / "models", "--results_dir", folder / "results", "--export", folder / "export")
    assert_success(call("train_probe", *flags, *places))
    return folder


@pytest.fixture(scope="module")
def other(tiny_model, texts, tmp_path_factory):
    """Another preparation of the same texts: train.pth holds what the probes were trained on."""
    folder = tmp_path_factory.mktemp("other")
    made_from = ("--dataset", texts, "--model_name", tiny_model, "--context_length", 16, "--max_chunks_per_class", 100)
    assert_success(call("prepare_data", *made_from, "--seed", 1, "--output_dir", folder))
    return folder / "train.pth"


def evaluate(probes, data, results):
    return call("evaluate_probe", "--probe_dir", probes, "--data", data, "--results_dir", results)


def left_out(results):
    with open(results / "transfer.csv", newline="") as file:
        return {row["n_seen_left_out"] for row in csv.DictReader(file)}


def texts_file(run):
    (path,) = (run / "models").glob("texts_*.json")
    return path


def test_no_probe_file_holds_a_hash(run, prepared):
    metadata = json.loads((prepared / "metadata.json").read_text())
    for path in (run / "models").glob("probe_*.pth"):
        content = path.read_bytes()
        assert "texts" not in torch.load(path, weights_only=True)["metadata"]
        assert not any(text.encode() in content for text in metadata["document_hashes"])
    path = texts_file(run)
    assert path.name == f"texts_{metadata['dataset_fingerprint']}.json"
    for split, hashes in json.loads(path.read_text())["texts"].items():
        there = set(torch.load(prepared / f"{split}.pth", weights_only=True)["documents"].tolist())
        assert hashes == [metadata["document_hashes"][document] for document in sorted(there)]


@pytest.mark.parametrize("probes", ("models", "export/probes.safetensors"))
def test_texts_are_recognised_beside_probes_and_in_an_export(run, other, tmp_path, probes):
    result = assert_success(evaluate(run / probes, other, tmp_path))
    assert "cannot be recognised" not in result.stdout and left_out(tmp_path) not in ({""}, {"0"})


def test_without_the_file_nothing_is_recognised_and_that_is_said(run, other, tmp_path):
    models = shutil.copytree(run / "models", tmp_path / "models")
    next(models.glob("texts_*.json")).unlink()
    result = assert_success(evaluate(models, other, tmp_path / "results"))
    assert "no texts_*.json beside the probe" in result.stdout and "cannot be recognised" in result.stdout
    assert left_out(tmp_path / "results") == {""}


def test_probe_files_of_before_hold_their_texts_themselves(run, other, tmp_path):
    models = shutil.copytree(run / "models", tmp_path / "models")
    path = next(models.glob("texts_*.json"))
    texts = json.loads(path.read_text())["texts"]
    path.unlink()
    for path in models.glob("probe_*.pth"):
        probe = torch.load(path, weights_only=True)
        probe["metadata"]["texts"] = texts
        torch.save(probe, path)
    assert_success(evaluate(models, other, tmp_path / "old"))
    assert_success(evaluate(run / "models", other, tmp_path / "new"))
    assert left_out(tmp_path / "old") == left_out(tmp_path / "new")


@pytest.mark.parametrize("spoil", ("cut", "changed", "another version", "a list"))
def test_a_damaged_file_is_one_line(run, other, tmp_path, spoil):
    models = shutil.copytree(run / "models", tmp_path / "models")
    path = next(models.glob("texts_*.json"))
    about = json.loads(path.read_text())
    if spoil == "changed":
        about["texts"]["train"][0] = "0" * 16
    if spoil == "another version":
        about["version"] = 2
        del about["checksum"]
    path.write_text({"cut": path.read_text()[:-9], "a list": "[1]"}.get(spoil) or json.dumps(about))
    assert_one_line_error(evaluate(models, other, tmp_path / "results"), path, "train the probes again")


def test_probes_of_another_dataset_take_their_texts_with_them(run, other, tmp_path):
    models = shutil.copytree(run / "models", tmp_path / "models")
    flags = ("--layer", 0, "--epochs", 1, "--no_wandb", "--output_dir", models, "--results_dir", tmp_path / "results")
    assert_success(call("train_probe", "--train_data", other, *flags, "--overwrite"))
    assert len(list(models.glob("texts_*.json"))) == 1
    assert texts_file(run).name not in {path.name for path in models.iterdir()}
