"""Files that an older version wrote (old/README.md) are read, added to and used by every script of today."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from helpers import assert_one_line_error, assert_success, call, snapshot
from shown_page import Page
from utils.model.language_model import load_language_model
from utils.saved.transfer import matrix_of
from utils.scores.search.searched import SEARCH

pytestmark = pytest.mark.slow

OLD = Path(__file__).parent / "old"
DATASETS = {"token": "decoder", "spans": "decoder", "documents": "encoder"}  # and the models of their probes
KEY = ("target", "layer_idx", "lag", "probe", "seed")
MODELS = {"decoder": ("token", "spans"), "encoder": ("documents",)}
CACHED = {"token": ("--layer_sweep", "0,1"), "documents": ("--layer", 1)}  # flags of the runs whose states are in the cache


@pytest.fixture
def old(tmp_path):
    """A copy of the folder, to work in."""
    return shutil.copytree(OLD, tmp_path / "old")


def train(old, name, *flags, models="models", results="results"):
    places = ("--output_dir", f"{models}/{name}", "--results_dir", f"{results}/{name}")
    common = ("--train_data", f"data/{name}/train.pth", *places, "--epochs", 2, "--no_wandb")
    return call("train_probe", *common, *flags, cwd=old)


def evaluate(old, name, probes, split="test", *flags):
    places = ("--data", f"data/{name}/{split}.pth", "--results_dir", f"results/{name}")
    return call("evaluate_probe", "--probe_dir", probes, *places, *flags, cwd=old)


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def probes_of(name, old=OLD):
    return {path.name: torch.load(path, weights_only=True) for path in sorted((old / "models" / name).glob("*.pth"))}


def assert_same(ours, theirs):
    """Numbers to six digits, since states may round otherwise on another machine; all else to the letter."""
    try:
        assert float(ours) == pytest.approx(float(theirs), abs=1e-6, nan_ok=True)
    except ValueError:
        assert ours == theirs


def spoil_model(old, model):
    """Make it another model of the same size."""
    path = old / model / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if ".layers.1." in name or ".layer.1." in name)
    save_file({**weights, name: weights[name] + 1}, path, {"format": "pt"})


# Data


@pytest.mark.parametrize("name", DATASETS)
def test_data_pass_every_check(old, name):
    assert "checks passed" in assert_success(call("inspect_data", "--data_path", f"data/{name}/train.pth", cwd=old)).stdout
    assert snapshot(old) == {path.replace(str(OLD), str(old)): found for path, found in snapshot(OLD).items()}


@pytest.mark.parametrize("name", ("token", "documents"))
def test_the_setup_is_checked_with_them(old, name):
    assert_success(call("check_setup", "--train_data", f"data/{name}/train.pth", "--layer", 1, cwd=old))


# Probes


@pytest.mark.parametrize("name", ("decoder", "encoder"))
def test_only_one_of_the_models_has_another_fingerprint_today(name):
    """Else the tests below say nothing of the former one."""
    model = load_language_model(str(OLD / name))
    recorded = {rows_of(OLD / f"results/{data}/probe_metrics.csv")[0]["model_fingerprint"] for data in MODELS[name]}
    assert recorded == {model.former_fingerprint} and (model.former_fingerprint != model.fingerprint) == (name == "encoder")


@pytest.mark.parametrize("name", DATASETS)
def test_probes_have_the_scores_that_their_run_recorded(old, name):
    recorded = {
        tuple(row[column] for column in KEY): row
        for row in rows_of(OLD / "results" / name / "probe_metrics.csv")
        if row["split"] == "test" and row["chosen"] == "1"
    }
    assert_success(evaluate(old, name, f"models/{name}"))
    found = rows_of(old / "results" / name / "transfer.csv")
    now = [row for row in found if row["data_file"] == f"data/{name}/test.pth" and row["probe_target"] == row["target"]]
    assert len(now) == len(recorded) == len(probes_of(name))
    for row in now:
        theirs = recorded[tuple(row[column] for column in KEY)]
        for score in ("balanced_accuracy", "auc", "auprc", "brier", "threshold", "tp", "fp", "n"):
            assert_same(row[score], theirs[score])
        assert row["probe_chosen_by"] in ("auc", "balanced_accuracy") and row["probe_val_score"]


@pytest.mark.parametrize("name", ("token", "documents"))
def test_an_export_has_the_scores_that_were_recorded_for_the_files(old, name):
    recorded = {
        tuple(row[column] for column in KEY): row
        for row in rows_of(OLD / "results" / name / "transfer.csv")
        if row["data_file"] == f"data/{name}/test.pth"
    }
    assert_success(evaluate(old, name, f"models/{name}/probes.safetensors"))
    now = [row for row in rows_of(old / "results" / name / "transfer.csv") if "safetensors#" in row["probe_file"]]
    assert len(now) == {"token": 3, "documents": 1}[name]
    for row in now:
        theirs = recorded[tuple(row[column] for column in KEY)]
        for column in set(theirs) - {"probe_file", "probe_dir"}:
            assert_same(row[column], theirs[column])


@pytest.mark.parametrize("name", ("token", "documents"))
def test_probes_know_the_texts_that_they_hold_and_those_beside_them(old, name):
    assert_success(train(old, name, "--layer", 1, "--seed", 1))
    metadata = {path: "texts" in probe["metadata"] for path, probe in probes_of(name, old).items()}
    assert sorted(set(metadata.values())) == [False, True], "not both ways are here"
    result = evaluate(old, name, f"models/{name}", "train")
    assert_one_line_error(result, "trained on or chosen by every document")
    assert "cannot be recognised" not in result.stdout


def test_the_page_shows_the_logits_of_the_states_that_transformers_gives(old):
    text = old / "texts" / "text0.txt"
    flags = ("--probe_dir", "models/token", "--text_file", text, "--output", "page.html")
    assert_success(call("visualize_probe", *flags, cwd=old))
    page, probes = Page(old / "page.html"), probes_of("token")
    assert page.names == ["layer0", "layer1"]
    ids = AutoTokenizer.from_pretrained(old / "decoder")(text.read_text(), return_tensors="pt").input_ids[:, :30]
    model = AutoModel.from_pretrained(old / "decoder", dtype=torch.float32)
    blocks = []
    for block in model.layers:
        block.register_forward_hook(lambda _, __, output: blocks.append(output[0] if isinstance(output, tuple) else output))
    model(ids)
    for layer, states in enumerate(blocks):
        probe = probes[f"probe_layer{layer}_next.pth"]
        logits = states[0] @ probe["state_dict"]["weight"] + probe["state_dict"]["bias"]
        assert page.logits[layer][1:29] == pytest.approx(logits[1:29].tolist(), abs=page.views[0]["step"])
        assert page.views[0]["layers"][layer]["threshold"] == pytest.approx(probe["metadata"]["threshold"])


def test_the_page_of_spans_is_of_their_test_texts(old):
    flags = ("--probe_dir", "models/spans", "--probe", "logistic", "--target_token", "article", "--output", "page.html")
    assert_success(call("visualize_probe", *flags, cwd=old))
    page = Page(old / "page.html")
    assert page.names == ["layer1"] and set(page.truth.tolist()) == {0, 1}


@pytest.mark.parametrize("name", ("token", "documents"))
def test_those_of_another_model_are_refused(old, name):
    model = DATASETS[name]
    spoil_model(old, model)
    before = snapshot(old)
    assert_one_line_error(evaluate(old, name, f"models/{name}"), "was trained on", model, "give the model")
    assert_one_line_error(train(old, name, "--layer", 1, "--seed", 1), "is of model", "--output_dir", "--overwrite")
    if name == "token":
        shown = call("visualize_probe", "--probe_dir", f"models/{name}", "--output", "page.html", cwd=old)
        assert_one_line_error(shown, "has no probe of --model_name", "give the model")
    assert snapshot(old) == before


def test_those_that_name_their_model_in_the_former_way_and_in_todays_are_evaluated_apart(old):
    assert_success(train(old, "documents", "--layer", 1, models="anew", results="anew"))
    both = call("evaluate_probe", "--probe_dir", "models/documents", "anew/documents", cwd=old)
    assert_one_line_error(both, "evaluate the probes of each model in a run of their own")
    assert_one_line_error(evaluate(old, "documents", "anew/documents"), "give another --results_dir", "--overwrite")
    assert_success(evaluate(old, "documents", "anew/documents", "test", "--results_dir", "another"))


# Tables


@pytest.mark.parametrize("name", DATASETS)
def test_a_run_adds_to_the_tables(old, name):
    export = ("--export", f"models/{name}") if name != "spans" else ()
    assert_success(train(old, name, "--layer", 1, "--seed", 1, *export))
    for path in sorted((OLD / "results" / name).glob("*.csv")):
        theirs, now = rows_of(path), rows_of(old / "results" / name / path.name)
        if path.name == "learning_curve.csv" or path.name.startswith("transfer"):  # nothing was asked of them
            assert now == theirs, path.name
            continue
        new = [row for row in now if row["seed"] == "1"]
        kept = [row for row in now if row["seed"] != "1"]
        if path.name == "document_scores.csv":  # a run writes the documents of its targets and lags anew
            assert {(row["target"], row["lag"]) for row in theirs} == {(row["target"], row["lag"]) for row in now}
            continue
        assert new, path.name
        assert [{column: row[column] for column in theirs[0]} for row in kept] == theirs, path.name
        assert {row.get("model_fingerprint") for row in now} == {theirs[0].get("model_fingerprint")}
    entries = json.loads((old / "results" / name / "directions.json").read_text())["entries"]
    theirs = json.loads((OLD / "results" / name / "directions.json").read_text())["entries"]
    assert [entry for entry in entries if entry["seed"] == 0] == theirs and {entry["seed"] for entry in entries} == {0, 1}
    probes = probes_of(name)
    assert {path.name for path in (old / "models" / name).glob("*.pth")} > set(probes)
    assert_success(evaluate(old, name, f"models/{name}"))


def test_rows_of_an_old_evaluation_stay_with_empty_cells_for_absent_columns(old):
    theirs = rows_of(OLD / "results/token/transfer.csv")
    assert_success(evaluate(old, "token", "models/token", "test", "--probe", "mlp"))
    now = rows_of(old / "results/token/transfer.csv")
    kept = [row for row in now if row["probe_chosen_by"] == ""]
    assert {row["probe_val_score"] for row in kept} == {""} and len(now) == len(theirs)
    assert {row[name] for row in kept for name in (*SEARCH, "probes_together")} == {""}
    assert {row["probes_together"] for row in now if row not in kept} == {"1"}
    again = {("mlp", "data/token/test.pth")}
    assert [{column: row[column] for column in theirs[0]} for row in kept] == [
        row for row in theirs if (row["probe"], row["data_file"]) not in again
    ]


@pytest.mark.parametrize("order", (1, -1))
def test_of_old_rows_the_matrix_shows_what_it_showed(old, order):
    """The best layer by AUROC, wherever its rows stand: old ones do not tell by which score their run chose."""
    path = old / "results/token/transfer.csv"
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *lines[::order]]) + "\n")
    assert_success(evaluate(old, "token", "models/token", "test", "--probe", "mlp"))
    theirs, now = (
        {row["probe"]: row for row in rows_of(folder / "results/token/transfer_matrix.csv")} for folder in (OLD, old)
    )
    for kind in set(theirs) - {"mlp"}:
        for column, value in theirs[kind].items():
            assert_same(now[kind][column], value)
    assert now["mlp"]["probe_chosen_by"] == "balanced_accuracy" and now["linear"]["probe_chosen_by"] == ""


def test_a_probe_that_was_evaluated_again_is_chosen_by_the_score_of_its_run(old):
    """Its old rows, of other data, do not bring AUROC back."""
    assert_success(evaluate(old, "token", "models/token", "test", "--probe", "linear"))
    rows = [row for row in rows_of(old / "results/token/transfer.csv") if row["probe"] == "linear"]
    assert {row["probe_chosen_by"] for row in rows} == {"", "balanced_accuracy"}
    for best in (0, 1):
        for row in rows:
            row["probe_val_auc"] = f"{0.9 - 0.5 * (row['layer_idx'] == str(best))}"
            row["probe_val_score"] = row["probe_chosen_by"] and f"{0.6 + 0.1 * (row['layer_idx'] == str(best))}"
        matrix = matrix_of(rows)
        assert {cell["layer_idx"] for cell in matrix.cells.values()} == {str(best)}


@pytest.mark.parametrize("name", DATASETS)
def test_the_charts_of_old_tables_are_drawn(old, name):
    assert_success(call("visualize_results", "--results_dir", f"results/{name}", cwd=old))
    assert (old / "results" / name / "learning_curve.html").exists() == (name == "token")


def test_overwrite_leaves_nothing_of_another_dataset(old):
    assert_success(train(old, "token", "--layer", 1, "--seed", 1))  # its texts lie beside the probes now
    for folder in ("models", "results"):
        shutil.rmtree(old / folder / "spans")
        (old / folder / "token").rename(old / folder / "spans")
    assert_one_line_error(train(old, "spans", "--layer", 1), "is of model", "--overwrite")
    assert_success(train(old, "spans", "--layer", 1, "--overwrite"))
    data = json.loads((old / "data/spans/metadata.json").read_text())["dataset_fingerprint"]
    assert {probe["metadata"]["dataset_fingerprint"] for probe in probes_of("spans", old).values()} == {data}
    assert [path.name for path in (old / "models/spans").glob("texts_*")] == [f"texts_{data}.json"]
    for table in ("probe_metrics", "baselines", "document_scores"):
        assert {row["dataset_fingerprint"] for row in rows_of(old / f"results/spans/{table}.csv")} == {data}


# Stored states


@pytest.mark.parametrize("name", CACHED)
def test_states_of_the_cache_are_used_as_they_are(old, name, monkeypatch):
    before = snapshot(old / "cache")
    assert_success(train(old, name, *CACHED[name], models="anew", results="anew"))  # no cache: in memory
    with monkeypatch.context() as patched:
        patched.setattr("utils.states.store.fill_part", lambda *_, **__: pytest.fail("states are computed again"))
        assert_success(train(old, name, *CACHED[name], "--cache_dir", "cache"))
    assert snapshot(old / "cache") == before
    paths = list((old / "anew" / name).glob("*.pth"))
    assert len(paths) == len(CACHED[name][1].split(",")) if name == "token" else len(paths) == 1
    for path in paths:
        anew, cached = (torch.load(old / place / name / path.name, weights_only=True) for place in ("anew", "models"))
        assert anew["metadata"]["threshold"] == pytest.approx(cached["metadata"]["threshold"], abs=1e-5)
        assert all(torch.allclose(value, cached["state_dict"][key], atol=1e-5) for key, value in anew["state_dict"].items())


@pytest.mark.parametrize("name", CACHED)
def test_but_not_for_another_model(old, name):
    spoil_model(old, DATASETS[name])
    before = set(snapshot(old / "cache"))
    assert_success(train(old, name, *CACHED[name], "--cache_dir", "cache", "--overwrite"))
    assert len(set(snapshot(old / "cache")) - before) == 6, "an index and a shard for each split"


# Files of a version that is yet to come


def later_tensors(path):
    torch.save({**torch.load(path, weights_only=True), "version": 99}, path)


def later_json(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))


def later_table(path):
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{head},new_score", *(f"{line},1" for line in lines)]) + "\n")


def later_export(path):
    header = json.loads(safe_header(path))
    save_file(load_file(path), path, {"probes": json.dumps({**header, "version": 2})})


def safe_header(path):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return file.metadata()["probes"]


def train_token(old):
    return train(old, "token", "--layer", 1, "--seed", 1, "--cache_dir", "cache", "--export", "models/token")


def evaluate_token(old):
    return evaluate(old, "token", "models/token")


LATER = {  # file: how it changes, who reads it, the remedy
    "data/token/train.pth": (later_tensors, train_token, "make it with scripts/prepare_data.py"),
    "models/token/probe_layer1_next.pth": (later_tensors, evaluate_token, "make it with scripts/train_probe.py"),
    "models/token/probes.safetensors": (later_export, train_token, "replace it with --overwrite"),
    "results/token/probe_metrics.csv": (later_table, train_token, "--overwrite"),
    "results/token/baselines.csv": (later_table, train_token, "--overwrite"),
    "results/token/directions.json": (later_json, train_token, "--overwrite"),
    "results/token/transfer.csv": (later_table, evaluate_token, "--overwrite"),
}


@pytest.mark.parametrize("file", LATER)
def test_a_file_of_a_later_version_is_one_line(old, file):
    change, use, remedy = LATER[file]
    change(old / file)
    before = snapshot(old)
    assert_one_line_error(use(old), Path(file).name, remedy)
    assert snapshot(old) == before


def test_what_the_line_says_renews_it(old):
    later_table(old / "results/token/transfer.csv")
    assert_success(evaluate(old, "token", "models/token", "test", "--overwrite"))
    assert "new_score" not in rows_of(old / "results/token/transfer.csv")[0]
    later_json(old / "results/token/directions.json")
    assert_success(train(old, "token", "--layer", 1, "--overwrite"))
    assert json.loads((old / "results/token/directions.json").read_text())["version"] == 1


def test_a_cache_of_a_later_version_is_one_line(old):
    for path in (old / "cache").glob("*/index.json"):
        later_json(path)
    result = train(old, "token", *CACHED["token"], "--cache_dir", "cache")
    assert_one_line_error(result, "version 2", "--cache_dir")
    assert_success(train(old, "token", *CACHED["token"], "--cache_dir", "another"))
