"""Two runs into one folder at a time: no row is lost, nothing is mixed, and one says so where both cannot be right."""

import contextlib
import csv
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from forked import start
from helpers import assert_one_line_error, assert_success, call, snapshot, write_texts
from utils.base.processes.locks import LOCK, locked
from utils.saved.export import read_export
from utils.saved.probe_files import load_probe

SMALL = ("--context_length", 32, "--max_chunks_per_class", 120)
FULL = pytest.mark.skipif(not os.environ.get("PROBE_FAULTS"), reason="some minutes: set PROBE_FAULTS=1")


@dataclass(frozen=True)
class World:
    """Two datasets, {"one", "other"}: folder, and probes of the first."""

    data: dict
    probes: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("simultaneous")
    data = {}
    for number, name in enumerate(("one", "other")):
        texts = write_texts(folder / f"texts_{name}", 6 + number, 2500)
        data[name] = folder / name
        assert_success(
            call("prepare_data", "--dataset", texts, "--model_name", tiny_model, "--output_dir", data[name], *SMALL)
        )
    made = World(data, folder / "models")
    assert_success(call(*train(made, "one", "all", output_dir=made.probes, results_dir=folder / "results"), cwd=folder))
    return made


def train(world, data, layers, *more, output_dir="models", results_dir="results"):
    return (
        *("train_probe", "--train_data", world.data[data] / "train.pth", "--layer_sweep", layers, "--no_wandb"),
        *("--probe", "mass_mean", "--output_dir", output_dir, "--results_dir", results_dir, *more),
    )


def evaluate(world, data, layers):
    return ("evaluate_probe", "--probe_dir", world.probes, "--layers", layers, "--data", world.data[data] / "test.pth")


def together(folder, *commands):
    """Run the commands side by side in the folder; they come to their end at the same time, for until all are near it the
    folder of results is held. Return the ended processes.
    """
    (folder / "results").mkdir()
    with locked(folder / "results"):
        runs = [start(*command, cwd=folder) for command in commands]
        while not all(run.said() or not run.running for run in runs):
            time.sleep(0.02)
        time.sleep(1)
    return [run.finish() for run in runs]


def rows_of(folder, table):
    path = folder / "results" / table
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def owners(folder):
    """The datasets of everything in the folder that a run of train_probe writes."""
    found = {row["dataset_fingerprint"] for name in ("probe_metrics.csv", "baselines.csv") for row in rows_of(folder, name)}
    found |= {load_probe(path)["metadata"]["dataset_fingerprint"] for path in folder.glob("models/probe_*.pth")}
    for name in ("run_record.json", "directions.json"):
        with contextlib.suppress(FileNotFoundError):
            record = json.loads((folder / "results" / name).read_text())
            found.add(record.get("owner", record)["dataset_fingerprint"])
    if (folder / "export" / "probes.safetensors").exists():
        found |= {
            probe["metadata"]["dataset_fingerprint"] for probe in read_export(folder / "export" / "probes.safetensors")
        }
    return found


def layers_of(folder):
    """(of the table, of the files, of directions.json): the layers of the probes that are there."""
    table = {row["layer_idx"] for row in rows_of(folder, "probe_metrics.csv")}
    files = {str(load_probe(path)["metadata"]["layer"]) for path in folder.glob("models/probe_*.pth")}
    entries = json.loads((folder / "results" / "directions.json").read_text())["entries"]
    return table, files, {str(entry["layer"]) for entry in entries}


def nothing_left(folder):
    return [path for path in folder.rglob(".*") if path.name == LOCK or path.name.endswith(".tmp")] == []


# What is run side by side


def same_data(world, folder):
    for ended in together(folder, train(world, "one", "0,2"), train(world, "one", "1,embed")):
        assert_success(ended)
    assert layers_of(folder) == ({"0", "1", "2", "embed"},) * 3, "rows, probes or directions were lost"
    assert len(owners(folder)) == 1


def same_probe(world, folder):
    for ended in together(folder, train(world, "one", "1"), train(world, "one", "1")):
        assert_success(ended)
    assert len(rows_of(folder, "probe_metrics.csv")) == 3, "a probe stands there twice"


def other_data(world, folder):
    ended = together(folder, train(world, "one", "0"), train(world, "other", "1"))
    first, second = sorted(ended, key=lambda one: one.returncode)
    assert_success(first)
    assert_one_line_error(second, "dataset", "--results_dir")
    assert len(owners(folder)) == 1
    assert all(len(found) == 1 for found in layers_of(folder))


def second_to_come(world, folder):
    """It found the folder empty when it began, and another run has filled it since. It sleeps meanwhile."""
    slow = start(*train(world, "one", "0", "--probe", "linear", "--epochs", 300), cwd=folder)
    while "pass:" not in slow.said() and slow.running:
        time.sleep(0.01)
    slow.kill(signal.SIGSTOP)
    assert_success(start(*train(world, "other", "1"), cwd=folder).finish())
    before = snapshot(folder)
    slow.kill(signal.SIGCONT)
    assert_one_line_error(slow.finish(), "dataset", "--results_dir")
    assert snapshot(folder) == before


def other_data_with_overwrite(world, folder):
    """The last one wins; the first may find, before its directions, that its results have gone."""
    more = ("--overwrite", "--export", "export")
    ended = together(folder, train(world, "one", "0,1", *more), train(world, "other", "1,2", *more))
    for one in ended:
        if one.returncode:
            assert_one_line_error(one, "dataset")
    assert not all(one.returncode for one in ended)
    assert len(owners(folder)) == 1
    assert len(rows_of(folder, "probe_metrics.csv")) == 6


def train_and_evaluate(world, folder):
    for ended in together(folder, train(world, "one", "0,1"), evaluate(world, "other", "0,1,2")):
        assert_success(ended)
    assert len(rows_of(folder, "probe_metrics.csv")) == 6 and len(rows_of(folder, "transfer.csv")) == 3


def evaluate_twice(world, folder):
    for ended in together(folder, evaluate(world, "one", "0,1"), evaluate(world, "other", "0,2,embed")):
        assert_success(ended)
    found = [(row["layer_idx"], row["data_file"]) for row in rows_of(folder, "transfer.csv")]
    files = {name: str(world.data[name] / "test.pth") for name in world.data}
    assert sorted(found) == sorted(
        [(layer, files["one"]) for layer in ("0", "1")] + [(layer, files["other"]) for layer in ("0", "2", "embed")]
    )
    table = rows_of(folder, "transfer_matrix.csv")
    assert {f"{file}: {row['probe_target']}" for row in table for file in files.values()} <= set(table[0])


def prepare_twice(world, folder):
    """The files of one preparation, never some of each."""
    model = json.loads((world.data["one"] / "metadata.json").read_text())["model_name"]
    commands = [
        ("prepare_data", "--dataset", world.data[name].parent / f"texts_{name}", "--model_name", model, *SMALL)
        for name in world.data
    ]
    for ended in together(folder, *((*words, "--output_dir", "results") for words in commands)):
        assert_success(ended)
    of_folder, *of_data = (
        {name: (path / name).read_bytes() for name in ("train.pth", "val.pth", "test.pth", "metadata.json")}
        for path in (folder / "results", *world.data.values())
    )
    assert of_folder in of_data


FEW = [same_data, second_to_come, evaluate_twice]
PAIRS = [*FEW, other_data, same_probe, other_data_with_overwrite, train_and_evaluate, prepare_twice]


@pytest.mark.slow
@pytest.mark.parametrize("pair", FEW, ids=lambda pair: pair.__name__)
def test_a_pair(world, tmp_path, pair):
    pair(world, tmp_path)
    assert nothing_left(tmp_path)


@FULL
@pytest.mark.slow
@pytest.mark.parametrize("number", range(25))
def test_25_pairs(world, tmp_path, number):
    pair = PAIRS[number % len(PAIRS)]
    pair(world, tmp_path)
    assert nothing_left(tmp_path)
