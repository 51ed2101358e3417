"""Damaged files through the command lines: no traceback, and nothing is believed that is not what was written.

Where a run accepts a damaged file, what it has read or written must be what the sound file gives: a byte that nobody reads
was hit. Tables, texts and configurations are edited by hand and carry no sum: of them only tracebacks are forbidden.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import mutations
from helpers import assert_one_line_error, assert_success, call, prose, run_script, write_jsonl, write_texts

pytestmark = pytest.mark.slow

FEW = 8  # of each kind: a hundred in all
MANY = {  # 2,000 in all
    "data": 250,
    "probes": 250,
    "exports": 250,
    "shards": 200,
    "indexes": 200,
    "directions": 150,
    "tables, trained on": 100,
    "tables, drawn": 100,
    "tables, evaluated": 100,
    "texts": 150,
    "annotated": 150,
    "configs": 100,
}
REAL = 100  # one of so many runs as a process of its own


@dataclass
class Kind:
    """What is damaged, and how it is read.

    paths: one of which is damaged; command: that reads it; content: what a run that succeeds must leave, given the path.
    """

    paths: list[Path]
    command: Callable[[Path], tuple]
    content: Callable[[Path], object] | None = None


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    """Data, probes, an export, cached states, tables and directions, small enough to be read hundreds of times."""
    folder = tmp_path_factory.mktemp("mutations")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("utils.states.store.SHARD_BYTES", 20_000)
        write_texts(folder / "texts", number=5, length=600)
        make = ("--model_name", tiny_model, "--context_length", 16)
        assert_success(call("prepare_data", "--dataset", folder / "texts", *make, *few_windows(folder / "data")))
        train = ("--layer_sweep", "0,2", "--probe", "linear,mlp,attention", "--epochs", 1, "--export", folder / "export")
        assert_success(call("train_probe", *training(folder), *train))
        assert_success(call("evaluate_probe", *evaluation(folder)))
        yield folder


def few_windows(output):
    return "--max_chunks_per_class", 40, "--output_dir", output


def training(folder):
    places = ("--train_data", folder / "data" / "train.pth", "--results_dir", folder / "results")
    return *places, "--output_dir", folder / "models", "--no_wandb"


def evaluation(folder, probes="models"):
    places = ("--probe_dir", folder / probes, "--data", folder / "data" / "test.pth", "--results_dir", folder / "transfer")
    return *places, "--cache_dir", folder / "cache", "--layer", "0", "--probe", "linear"


def annotated_files(folder):
    """A table of labelled texts and a file of spans."""
    texts = [prose(seed, 20) for seed in range(30)]
    lines = [f'"{text}",{number % 2}' for number, text in enumerate(text.replace('"', "") for text in texts)]
    (folder / "documents.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    spans = [{"text": text, "spans": [{"start": 4, "end": 12, "label": "here"}]} for text in texts]
    return [folder / "documents.csv", write_jsonl(folder / "spans.jsonl", spans)]


def config_file(folder, tiny_model):
    """An experiment of three steps."""
    steps = {
        "prepare_data": {"dataset": str(folder / "texts"), "model_name": str(tiny_model), "output_dir": str(folder / "out")},
        "train_probe": {"train_data": str(folder / "out" / "train.pth"), "layer_sweep": ["embed", 0], "no_wandb": True},
        "visualize_probe": {"num_tokens": 200, "output": str(folder / "out" / "page.html")},
    }
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(steps), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def kinds(folder, tiny_model):
    """{name: Kind}"""
    from safetensors.torch import load_file

    from utils.data.sequences import load_sequences
    from utils.saved.export import read_export
    from utils.saved.probe_files import load_probe

    def annotated(path):
        task = ("documents", "--label_column", "label") if path.suffix == ".csv" else ("spans", "--label", "here")
        more = ("--model_name", tiny_model, "--output_dir", folder / "out", "--context_length", 30)
        return "prepare_data", "--task", *task, "--input", path, *more

    def dataset(path):
        sequences = load_sequences(path)
        arrays = [(name, value.tobytes()) for name, value in vars(sequences).items() if hasattr(value, "tobytes")]
        return repr((arrays, sequences.texts, sequences.metadata))

    def probe(path):
        return repr(bits(load_probe(path)))

    def bits(probe):
        return {**probe, "state_dict": {name: one.numpy().tobytes() for name, one in probe["state_dict"].items()}}

    def states(path):
        """The cache is as it was, for what was damaged has been computed again; and so are the scores."""
        shards = {one.name: load_file(one) for one in cache.glob("*.safetensors")}
        tensors = repr([(name, key, one.numpy().tobytes()) for name, part in shards.items() for key, one in part.items()])
        index = json.loads((cache / "index.json").read_text(encoding="utf-8"))
        return tensors, index, (folder / "transfer" / "transfer.csv").read_bytes()

    again = ("train_probe", *training(folder), "--layer", 0, "--probe", "mass_mean")
    assert_success(call(*again))  # directions.json as a run leaves it that finds itself
    (cache,), texts = (folder / "cache").iterdir(), annotated_files(folder)
    results, models = folder / "results", folder / "models"
    prepare = ("prepare_data", "--dataset", folder / "texts", "--model_name", tiny_model, "--context_length", 16)
    return {
        "data": Kind(
            [folder / "data" / f"{name}.pth" for name in ("train", "val", "test")],
            lambda path: ("inspect_data", "--data_path", folder / "data" / "train.pth", "--num_samples", 1),
            dataset,
        ),
        "probes": Kind(sorted(models.glob("*.pth")), lambda path: ("evaluate_probe", *evaluation(folder)), probe),
        "exports": Kind(
            [folder / "export" / "probes.safetensors"],
            lambda path: ("evaluate_probe", *evaluation(folder, "export/probes.safetensors")),
            lambda path: repr([bits(one) for one in read_export(path)]),
        ),
        "shards": Kind(sorted(cache.glob("*.safetensors")), lambda path: ("evaluate_probe", *evaluation(folder)), states),
        "indexes": Kind([cache / "index.json"], lambda path: ("evaluate_probe", *evaluation(folder)), states),
        "directions": Kind(
            [results / "directions.json"],
            lambda path: again,
            lambda path: json.loads(path.read_text(encoding="utf-8")),
        ),
        "tables, trained on": Kind([results / "probe_metrics.csv", results / "baselines.csv"], lambda path: again),
        "tables, drawn": Kind(
            [results / f"{name}.csv" for name in ("probe_metrics", "probe_results", "baselines")]
            + [results / "run_record.json"],
            lambda path: ("visualize_results", "--results_dir", results, "--output_dir", folder / "pages"),
        ),
        "tables, evaluated": Kind(
            [folder / "transfer" / "transfer.csv"], lambda path: ("evaluate_probe", *evaluation(folder))
        ),
        "texts": Kind(sorted((folder / "texts").glob("*.txt")), lambda path: (*prepare, *few_windows(folder / "out"))),
        "annotated": Kind(texts, annotated),
        "configs": Kind([config_file(folder, tiny_model)], lambda path: ("run_experiment", path, "--dry_run")),
    }


def damage(kind, folder, seeds) -> Counter:
    """Damage one of the files by each seed, run, and judge. Count what became of them."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = Counter()
    for seed in seeds:
        path = random.Random(seed).choice(kind.paths)
        sound = kind.content and kind.content(path)
        path.write_bytes(mutations.mutated(before[path], seed))
        script, *given = kind.command(path)
        run = run_script if seed % REAL == REAL - 1 else call
        try:
            result = run(script, *given)
        except Exception as error:
            raise AssertionError(f"seed {seed}, {path.name}: {type(error).__name__}: {error}") from error
        if result.returncode:
            assert_one_line_error(result, status=result.returncode)
        elif kind.content:
            assert kind.content(path) == sound, f"seed {seed}: {path.name} was accepted with other content"
        found["refused" if result.returncode else "accepted"] += 1
        restore(folder, before)
    return found


def restore(folder, before):
    """Bring back every file as it was, and take away what is new."""
    for path in folder.rglob("*"):
        if path.is_file() and path not in before:
            path.unlink()
    for path, data in before.items():
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)


@pytest.mark.parametrize("name", MANY)
def test_a_few_mutations(name, kinds, folder):
    damage(kinds[name], folder, range(FEW))


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("PROBE_MUTATIONS"), reason="some 10 minutes: set PROBE_MUTATIONS=1")
@pytest.mark.parametrize("name", MANY)
def test_two_thousand_mutations(name, kinds, folder, record_property):
    found = damage(kinds[name], folder, range(1000, 1000 + MANY[name]))
    print(f"{name}: {MANY[name]} mutations, {found['refused']} refused in one line, {found['accepted']} accepted")
    assert sum(found.values()) == MANY[name]


def test_the_mutations_are_two_thousand_and_differ():
    assert sum(MANY.values()) == 2000
    data = bytes(range(256)) * 4
    assert len({mutations.mutated(data, seed) for seed in range(500)}) > 480
    assert mutations.mutated(data, 3) == mutations.mutated(data, 3) != data
