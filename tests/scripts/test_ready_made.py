"""The experiments of configs/, each run small: a local model and the shared corpora in place of what they download."""

import csv
import shlex
from itertools import product
from pathlib import Path

import pytest

from helpers import ROOT, assert_success, call, part_of, write_jsonl
from utils.base.cli.yaml_file import read_experiment
from utils.data.readers.plain import read_texts

LAYERS = ["0", "1", "2", "3", "4"]  # all that stories260K has
PROBE_SECTION = """
dataset: {dataset_name: needles}
probe:
  layers_to_probe: [2]
  activation_site: resid_post
  negatives_per_doc: 16
  max_train_docs: 20
  max_val_docs: null
  batch_size: 256
  num_epochs: 1
  l2_grid: [0, 1e-2]
  train_seeds: [0, 1]
  feature_dtype: float32
  output_dir: results/probes
"""
LAGS = ["-16", "-12", "-8", "-4", "0", "4", "8"]


@pytest.fixture
def run_small(tmp_path, stories260K):
    """run_small(experiment, settings...) -> the folder in which its steps were run, with --set for each of the settings.

    The steps are those that --dry_run prints, one after the other in this process, which need not load torch again.
    """

    def run(name, *settings):
        path = ROOT / "configs" / f"{name}.yaml"
        prepared = [step.name for step in read_experiment(path) if step.script == "prepare_data"]
        settings = [*settings, *(f"{step}.model_name={stories260K}" for step in prepared)]
        told = call("run_experiment", path, "--dry_run", *(f"--set={text}" for text in settings), cwd=tmp_path)
        commands = [shlex.split(line)[1:] for line in assert_success(told).stdout.splitlines() if line.startswith("python ")]
        assert len(commands) == len(read_experiment(path))
        for script, *words in commands:
            assert_success(call(Path(script).stem, *words, cwd=tmp_path))
        return tmp_path

    return run


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_charts(folder):
    assert (folder / "index.html").stat().st_size > 1000 and (folder / "heatmap_accuracy.html").is_file()


def test_gutenberg(run_small, gutenberg):
    folder = run_small(
        "gutenberg",
        f"prepare_data.dataset={gutenberg}",
        "prepare_data.context_length=48",
        "prepare_data.max_texts=6",
        "prepare_data.max_chunks_per_class=300",
        "train_probe.epochs=2",
        "visualize_probe.num_tokens=300",
    )
    rows = rows_of(folder / "results/gutenberg/probe_results.csv")
    assert [(row["target"], row["lag"], row["layer"]) for row in rows] == [
        (" the", "-1", layer) for layer in ("embed", *LAYERS, "final_norm")
    ]
    assert max(float(row["test_auc"]) for row in rows) > 0.7
    assert len(list((folder / "models/gutenberg").glob("probe_*.pth"))) == 7
    assert (folder / "results/gutenberg/visualization.html").stat().st_size > 10_000
    assert_charts(folder / "results/gutenberg")


def test_needles(run_small, shared_data):
    needles = part_of(shared_data, "corpora/needles") / "needles_v1.jsonl"
    folder = run_small(
        "needles",
        f"prepare_data.input={needles}",
        "prepare_data.max_texts=40",
        "prepare_data.context_length=128",
        "train_probe.layer_sweep=1,3",
    )
    rows = rows_of(folder / "results/needles/probe_results.csv")
    assert {(row["layer"], row["seed"]) for row in rows} == set(product("13", "012")) and len(rows) == 6
    assert {(row["lag"], row["probe"]) for row in rows} == {("0", "logistic")}
    tried = rows_of(folder / "results/needles/probe_metrics.csv")
    assert {float(row["l2"]) for row in tried} == {0, 1e-4, 1e-3, 1e-2}
    assert all(float(row["pos_ratio_train"]) > float(row["pos_ratio_val"]) for row in rows), "negatives were not sampled"
    assert_charts(folder / "results/needles")
    (folder / "dataset_main.yaml").write_text(PROBE_SECTION)
    assert_success(
        call(
            "train_probe",
            "--config",
            "dataset_main.yaml",
            "--train_data",
            "data/needles/train.pth",
            "--no_wandb",
            cwd=folder,
        )
    )
    rows = rows_of(folder / "results/probes/probe_results.csv")
    assert [(row["layer"], row["probe"], row["seed"]) for row in rows] == [("2", "logistic", "0"), ("2", "logistic", "1")]
    assert len(list((folder / "results/probes").glob("probe_*.pth"))) == 2


def test_backtracking(run_small, shared_data):
    chains = part_of(shared_data, "corpora/reasoning_chains") / "annotated_chains.json"
    steps = [f"{script}{label}" for label in ("", " onsets") for script in ("prepare_data", "train_probe")]
    small = {
        "prepare_data": (f"input={chains}", "max_texts=20", "context_length=96"),
        "train_probe": (f"layer_sweep={','.join(LAYERS)}", "epochs=1"),
    }
    folder = run_small("backtracking", *(f"{step}.{setting}" for step in steps for setting in small[step.split()[0]]))
    for name in ("backtracking", "backtracking_onsets"):
        rows = rows_of(folder / f"results/{name}/probe_results.csv")
        assert {(row["layer"], row["lag"]) for row in rows} == set(product(LAYERS, LAGS))
        assert len(rows) == len(list((folder / f"models/{name}").glob("probe_*.pth"))) == 35
        assert {row["target"] for row in rows} == {"backtracking"}
        assert_charts(folder / f"results/{name}")
    counts = [
        int(rows_of(folder / f"results/{name}/probe_results.csv")[0]["n_val"])
        for name in ("backtracking", "backtracking_onsets")
    ]
    assert counts[0] > 10 * counts[1] > 0, "onsets are few among the tokens"


def test_documents(run_small, shared_data):
    index = part_of(shared_data, "corpora/documents") / "main.csv"
    tags = ["cities_true", "spam_is"]
    folder = run_small(
        "documents",
        f"prepare_data.input={index}",
        f"prepare_data.datasets={','.join(tags)}",
        "prepare_data.context_length=64",
        "prepare_data.max_texts=400",
        "train_probe.layer_sweep=embed,2",
        "train_probe attention.layer_sweep=2",
        "train_probe attention.epochs=2",
    )
    rows = rows_of(folder / "results/documents/probe_results.csv")
    assert {(row["target"], row["layer"], row["probe"]) for row in rows} == set(
        product(tags, ("embed", "2"), ("logistic", "mass_mean", "mass_mean_tilted"))
    )
    spam = [float(row["test_auc"]) for row in rows if (row["target"], row["probe"]) == ("spam_is", "logistic")]
    assert max(spam) > 0.8
    attention = rows_of(folder / "results/documents_attention/probe_results.csv")
    assert {(row["target"], row["probe"]) for row in attention} == set(product(tags, ("attention", "attention_features")))
    assert_charts(folder / "results/documents")
    assert_charts(folder / "results/documents_attention")


def test_an_experiment_that_is_there_is_run_here_or_with_the_demo():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in (ROOT / "configs").glob("*.yaml")} <= tested | {"demo"}


def test_sparse_autoencoders(run_small, tmp_path, stories260K, gutenberg):
    """A folder with Wikipedia's configuration stands in for it."""
    texts = [document.text[:20_000] for document, _ in zip(read_texts(str(gutenberg)), range(8), strict=False)]
    wikipedia = tmp_path / "wikipedia"
    wikipedia.mkdir()
    write_jsonl(wikipedia / "en.jsonl", [{"id": str(number), "text": text} for number, text in enumerate(texts)])
    card = (
        "configs:\n- config_name: 20231101.en\n  data_files: en.jsonl\n- config_name: 20231101.fr\n  data_files: fr.jsonl\n"
    )
    (wikipedia / "README.md").write_text(f"---\n{card}---\n")
    small = ("num_tokens=20000", "d_hidden=128", "target_l0=8", "epochs=2", "layers=0,4")
    chosen = (f"model_name={stories260K}", f"dataset={wikipedia}", *small)
    folder = run_small("sparse_autoencoders", *(f"train_sae.{setting}" for setting in chosen)) / "models/checkpoints"
    rows = rows_of(folder / "sae_evaluation.csv")
    assert [row["layer"] for row in rows] == ["0", "4"] and all(0 < float(row["fvu"]) < 1 for row in rows)
    assert {path.name for path in folder.glob("sae_layer_*_best")} == {"sae_layer_0_best", "sae_layer_4_best"}
    assert list((tmp_path / "data/cache").glob("*/states_*.safetensors"))
