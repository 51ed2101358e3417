"""What is written after the sweeps: no question that fails takes the others along, no extra step takes what was trained."""

import csv
import random
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers import assert_success, call
from utils.saved.owners import Owner
from utils.states.matrices import Matrices
from utils.states.positions import Examples
from utils.sweep.after_sweep import write_codelength
from utils.sweep.fits import Task
from utils.sweep.refits.codelength import in_parts


def sweep_of(target, labels, groups, val_labels):
    nothing = np.zeros(len(labels), dtype=np.int64)
    examples = {"train": Examples(nothing, nothing, nothing, labels, groups, nothing)}
    task = Task(examples, {"train": labels[None], "val": val_labels[None]}, np.ones((len(labels), 1), dtype=bool), (0,))
    return SimpleNamespace(target=target, lag=-1, task=task, question=SimpleNamespace(key=target))


def test_a_question_without_bits_has_empty_rows_and_others_have_theirs(tmp_path):
    rng = np.random.default_rng(0)
    states, groups = torch.from_numpy(rng.normal(size=(2, 240, 4)).astype(np.float32)), np.arange(240) // 8
    labels, late = (states[1, :, 0] > 0).numpy().astype(np.int8), np.zeros(240, dtype=np.int8)
    late[in_parts(groups, labels[None]).order[-8:]] = 1
    noise = rng.permuted(labels)
    sweeps = [sweep_of(name, those, groups, labels) for name, those in (("late", late), ("good", labels), ("noise", noise))]

    def of_layer(name, layer):
        return Matrices.of(states[layer : layer + 1])

    sources = {sweep.target: SimpleNamespace(layers=[0, 1], of_layer=of_layer) for sweep in sweeps}
    output = SimpleNamespace(probes=str(tmp_path / "models"), results=str(tmp_path / "results"))
    fitting = SimpleNamespace(seeds=(0,), l2_grid=(0.1, 0.01))
    run = SimpleNamespace(owner=Owner("model", "m", "d", "s"), output=output, fitting=fitting)
    lines = write_codelength(run, sweeps, sources).splitlines()
    with open(tmp_path / "results/codelength.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["target"], row["layer"]) for row in rows] == [(s.target, layer) for s in sweeps for layer in ("0", "1")]
    assert all((row["bits"] == "") == (row["target"] == "late") and row["n"] == "240" for row in rows)
    assert all(row["shuffled_bits"] for row in rows[2:]) and not any(row["control_bits"] for row in rows)
    assert "'late' at lag -1: none, since more than half of its 240 labels" in lines[1]
    assert "at layer1 for 240 labels, " in lines[2] and "by their share" in lines[2] and "nothing" not in lines[2]
    assert lines[3].endswith("so it says nothing about the label")


@pytest.mark.slow
def test_what_was_trained_is_there_when_an_extra_step_fails(prepared, tiny_model, tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError("no memory for refits")

    monkeypatch.setattr("utils.sweep.refits.bootstrap.refit", fail)
    arguments = ("--model_name", tiny_model, "--train_data", prepared / "train.pth", "--layer", 1, "--probe", "logistic")
    folders = ("--output_dir", tmp_path / "models", "--results_dir", tmp_path / "results", "--export", tmp_path / "export")
    assert call("train_probe", *arguments, *folders, "--no_wandb", "--refit_bootstrap", 5).returncode == 1
    for name in ("models/probe_layer1_next_logistic.pth", "results/probe_metrics.csv", "export/probes.safetensors"):
        assert (tmp_path / name).exists(), name
    monkeypatch.undo()
    assert_success(call("train_probe", *arguments, *folders, "--no_wandb", "--refit_bootstrap", 5))


@pytest.mark.slow
def test_documents_whose_positive_group_comes_late_end_well(tiny_model, tmp_path):
    words = "alpha beta gamma delta house river stone walk talk green blue red cat dog bird sun moon star tree leaf".split()  # noqa: SIM905
    draw, path, train = random.Random(3), tmp_path / "d.csv", tmp_path / "data/train.pth"
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["text", "label", "site"])
        for group, row in product(range(30), range(12)):
            table.writerow(
                [" ".join(draw.choice(words) for _ in range(14)), int(group in (14, 15, 16) and row < 8), f"g{group:02}"]
            )
    data = ("--task", "documents", "--input", path, "--group_column", "site", "--label_column", "label")
    assert_success(call("prepare_data", *data, "--model_name", tiny_model, "--output_dir", train.parent))
    out = [part for name in ("output_dir", "results_dir", "export") for part in (f"--{name}", tmp_path / name)]
    run = ("--train_data", train, "--layer", 1, "--probe", "logistic", "--codelength", "--learning_curve", "--no_wandb")
    result = assert_success(call("train_probe", *run, *out))
    assert "'label' at lag 0: none, since more than half" in result.stdout
    assert (tmp_path / "export/probes.safetensors").exists() and (tmp_path / "results_dir/learning_curve.csv").exists()
    with open(tmp_path / "results_dir/codelength.csv", newline="", encoding="utf-8") as file:
        assert [(row["layer"], row["n"], row["bits"]) for row in csv.DictReader(file)] == [("1", "288", "")]
