"""Saved probes on other data: scores against what training reported, transformers' own states and scikit-learn; what a probe
has seen is left out; the matrix and its page hold the table's numbers.
"""

import csv
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, balanced_accuracy_score, brier_score_loss, roc_auc_score, roc_curve

from helpers import assert_one_line_error, assert_success, call, make_model, make_tokenizer, prose, sign, snapshot
from utils.scores import average_precision
from utils.scores.intervals import Groups
from utils.scores.search.searched import SEARCH

pytestmark = pytest.mark.slow

KINDS = ("linear", "logistic", "mass_mean", "mass_mean_tilted", "mlp", "attention", "attention_features")
ATTACK = "</script><img src=x onerror=alert(1)>"


def loaded(path):
    return torch.load(path, weights_only=True)


def edit(path, target=None, **changes):
    """Change arrays and metadata of a dataset's file, which makes another dataset of it."""
    payload = loaded(path)
    for name, value in changes.items():
        if name in payload:
            payload[name] = torch.as_tensor(value, dtype=payload[name].dtype)
        else:
            payload["metadata"][name] = value
    payload["metadata"].pop("content_hashes", None)  # of the arrays that were there before
    torch.save(payload, target or path)
    return payload


@pytest.fixture(scope="module")
def data(prepared, tmp_path_factory):
    """The prepared data, of whose validation and test text each is five groups."""
    folder = shutil.copytree(prepared, tmp_path_factory.mktemp("data") / "data")
    for name in ("val", "test"):
        groups = loaded(folder / f"{name}.pth")["groups"]
        edit(folder / f"{name}.pth", groups=groups + torch.arange(len(groups)) % 5 * 100)
        payload = loaded(folder / f"{name}.pth")
        payload["metadata"]["groups"] = [f"group {number}" for number in range(500)]
        torch.save(payload, folder / f"{name}.pth")
    sign(folder)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Folder of models (every kind, two lags), models/pooled and an export."""
    folder = tmp_path_factory.mktemp("trained")
    for name, flags in (
        (
            "models",
            (
                "--probe",
                ",".join(KINDS),
                "--lags",
                "-2,-1",
                "--layer_sweep",
                "0,final_norm",
                "--epochs",
                2,
                "--export",
                folder / "export",
            ),
        ),
        (
            "pooled",
            (
                "--probe",
                "linear,attention_features",
                "--pool",
                "mean",
                "--layer",
                1,
                "--epochs",
                2,
                "--attention_segments",
                2,
            ),
        ),
    ):
        assert_success(
            call(
                "train_probe",
                "--train_data",
                data / "train.pth",
                "--output_dir",
                folder / name,
                "--results_dir",
                folder / f"results_{name}",
                "--no_wandb",
                *flags,
            )
        )
    return folder


@dataclass
class Other:
    path: Path
    seen: int  # the document that is known to be one of train


@pytest.fixture(scope="module")
def other(data, tmp_path_factory):
    """Every token of the test windows labelled, for two targets: is it the commonest one, has it an even id? The first also
    has windows of two of train's documents, of which probes know one hash.
    """
    test, train = loaded(data / "test.pth"), loaded(data / "train.pth")
    known, unknown = train["documents"].unique()[:2].tolist()
    kept = torch.isin(train["documents"], torch.tensor([known, unknown]))
    windows = {name: torch.cat([test[name], train[name][kept]]) for name in test if torch.is_tensor(test[name])}
    windows["starts"] += 1000 * torch.arange(len(windows["starts"]))  # one window of each
    ids, text = windows["input_ids"], torch.arange(windows["input_ids"].shape[1]) < windows["lengths"][:, None]
    text[:, 0] = False  # <s>
    often = int(torch.mode(ids[text & (ids > 255)]).values)
    tasks = []
    for task, (truth, count) in enumerate((((ids == often), len(ids)), ((ids % 2 == 0), len(test["lengths"])))):
        labels = torch.where(text, truth, -1).to(torch.int8)
        found = {**windows, "labels": labels, "tasks": torch.full_like(windows["tasks"], task)}
        tasks.append({name: values[:count] for name, values in found.items()})
    hashes = list(test["metadata"]["document_hashes"])
    hashes[unknown] = "another text's"
    metadata = {
        **test["metadata"],
        "dataset_fingerprint": "another",
        "content_hashes": None,
        "document_hashes": hashes,
        "targets": [
            {"name": "often", "token": None, "piece": None, "prevalence": 0.02},
            {"name": ATTACK, "token": None, "piece": None, "prevalence": 0.5},
        ],
    }
    path = tmp_path_factory.mktemp("other") / "other.pth"
    torch.save(
        {
            "format": test["format"],
            "version": 1,  # each target has rows of its own
            "metadata": metadata,
            **{name: torch.cat([found[name] for found in tasks]) for name in windows},
        },
        path,
    )
    return Other(path, known)


def evaluate(folder, *arguments):
    return call("evaluate_probe", "--results_dir", folder, *arguments)


def table(folder, name="transfer"):
    with open(folder / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def same(trained, data, tmp_path_factory):
    """All probes on the test split that training reported."""
    folder = tmp_path_factory.mktemp("same")
    return folder, assert_success(
        evaluate(folder, "--probe_dir", trained / "models", trained / "pooled", "--data", data / "test.pth")
    )


def test_the_test_split_has_the_scores_that_training_reported(same, trained):
    rows = table(same[0])
    files = [path for name in ("models", "pooled") for path in sorted((trained / name).glob("*.pth"))]
    assert [row["probe_file"] for row in rows] == list(map(str, files)) and {row["probe"] for row in rows} == set(KINDS)
    compared = 0
    for row, path in zip(rows, files, strict=True):
        metadata = loaded(path)["metadata"]
        assert (row["probe_target"], row["target"], row["layer_idx"]) == (" the", " the", str(metadata["layer"]))
        assert (row["n_seen_left_out"], row["n_seen_kept"], row["split"]) == ("0", "0", "test")
        for name, value in metadata["metrics"]["test"].items():
            if name in row:
                assert float(row[name] or "nan") == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True), (path.name, name)
                compared += 1
        assert (row["brier"] == "") == (row["probe"] == "mass_mean")
    assert compared > 25 * len(rows) and same[1].stderr == ""


def test_band_and_p_of_the_test_split_are_those_of_the_training(same, trained):
    """There the same probes were one sweep; probes of another pooling are apart."""
    recorded = {
        tuple(row[name] for name in ("layer_idx", "lag", "probe")): row
        for row in table(trained / "results_models", "probe_metrics")
        if row["split"] == "test" and row["chosen"] == "1"
    }
    rows = [row for row in table(same[0]) if row["probe_pool"] == "last"]
    assert len(rows) == len(recorded) == 26 and {row["probes_together"] for row in rows} == {"13"}
    compared = 0
    for row in rows:
        theirs = recorded[row["layer_idx"], row["lag"], row["probe"]]
        for name in SEARCH:
            ours, known = (float(one[name] or "nan") for one in (row, theirs))
            assert ours == pytest.approx(known, abs=1e-6, nan_ok=True)
            compared += known == known
    assert compared > 5 * len(rows)
    assert {row["probes_together"] for row in table(same[0]) if row["probe_pool"] == "mean"} == {"2"}


def test_the_console_and_the_page_say_how_the_chosen_stand_among_all(same):
    rows = [row for row in table(same[0]) if (row["probe_pool"], row["lag"]) == ("last", "-1")]
    best = max(rows, key=lambda row: float(row["probe_val_score"]))
    (line,) = [line for line in same[1].stdout.splitlines() if "lag -1, 13 probes" in line]
    for name, words in (("permutation_p", "permutation p {}"), ("permutation_p_in_sweep", "best of all here {}")):
        assert words.format(f"{float(best[name]):.3f}") in line
    assert best["probe_file"] in line and f"within {float(best['auc_band_low']):.3f} to " in line
    assert line.endswith(f"maximum {min(float(row['permutation_p_in_sweep']) for row in rows):.3f}")
    assert "no baseline stands beside these scores" in same[1].stdout
    hovers = str(pages_data(same[0] / "transfer.html")[1])
    assert "as the best of 13 probes scored here" in hovers


def test_an_export_gives_what_its_folder_gives(same, trained, data, tmp_path):
    export = trained / "export" / "probes.safetensors"
    assert_success(evaluate(tmp_path, "--probe_dir", export, "--data", data / "test.pth", "--lag", -1))
    scores = ("auc", "auprc_low", "balanced_accuracy", "brier", "probe_fingerprint", "n_seen_left_out")

    def by_probe(rows):
        return {
            tuple(row[name] for name in ("layer_idx", "probe", "lag")): [row[name] for name in scores]
            for row in rows
            if row["lag"] == "-1" and row["probe_pool"] == "last" and "pooled" not in row["probe_dir"]
        }

    assert by_probe(table(tmp_path)) == by_probe(table(same[0]))
    assert {row["probe_file"].startswith(f"{export}#%20the/") for row in table(tmp_path)} == {True}


# Against transformers and scikit-learn


@pytest.fixture(scope="module")
def transferred(trained, other, tmp_path_factory):
    folder = tmp_path_factory.mktemp("transferred")
    return folder, assert_success(
        evaluate(folder, "--probe_dir", trained / "models", "--data", other.path, "--layers", "0,final_norm")
    )


def truth_of(other, tiny_model, task):
    """The windows of one target without the document that the probes know: states of layer 0, labels, groups."""
    from transformers import AutoModelForCausalLM

    payload = loaded(other.path)
    kept = (payload["tasks"] == task) & (payload["documents"] != other.seen)
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    with torch.no_grad():
        states = model.model(payload["input_ids"][kept].long(), output_hidden_states=True).hidden_states[1]
    return states.double().numpy(), payload["labels"][kept].numpy(), payload["groups"][kept].numpy()


def formula(state, kind, states, sequence, read):
    """Logits of a saved probe on the token that is read of each sequence, double precision."""
    state = {name: tensor.double().numpy() for name, tensor in state.items()}
    if kind == "mlp":
        hidden = np.maximum(states[sequence, read] @ state["hidden.weight"].T + state["hidden.bias"], 0)
        return hidden @ state["out.weight"] + state["out.bias"]
    if kind == "attention":  # softmax over the text up to the token
        scores, values = np.exp(states @ state["query"][0]), states @ state["value"][0]
        scores[:, 0] = 0
        return (np.cumsum(scores * values, 1) / np.maximum(np.cumsum(scores, 1), 1e-300))[sequence, read] + state["bias"]
    return states[sequence, read] @ state["weight"] + state["bias"]


@pytest.mark.parametrize("kind", ["linear", "mlp", "attention"])
@pytest.mark.parametrize("lag", [-2, -1])
@pytest.mark.parametrize("task", [0, 1])
def test_scores_on_other_targets_follow_from_the_models_own_states(trained, other, tiny_model, transferred, kind, lag, task):
    probe = next(
        probe
        for path in (trained / "models").glob("*.pth")
        if (probe := loaded(path))["metadata"]["layer"] == 0
        and (probe["metadata"]["kind"], probe["metadata"]["lag"]) == (kind, lag)
    )
    (row,) = [
        row
        for row in table(transferred[0])
        if (row["layer_idx"], row["probe"], row["lag"]) == ("0", kind, str(lag)) and row["target"] == ("often", ATTACK)[task]
    ]
    states, labels, groups = truth_of(other, tiny_model, task)
    sequence, position = np.nonzero(labels >= 0)
    there = position + lag >= 1
    assert int(row["n_no_state"]) == (~there).sum() == -lag * len(labels)
    sequence, position = sequence[there], position[there]
    labels, groups = labels[sequence, position], groups[sequence]
    logits = formula(probe["state_dict"], kind, states, sequence, position + lag)
    assert (int(row["n"]), int(row["groups"])) == (len(labels), len(np.unique(groups)))
    assert float(row["auc"]) == pytest.approx(roc_auc_score(labels, logits), abs=1e-5)
    assert float(row["auprc"]) == pytest.approx(average_precision_score(labels, logits), abs=1e-4)
    said = logits > probe["metadata"]["threshold"]
    assert float(row["balanced_accuracy"]) == pytest.approx(balanced_accuracy_score(labels, said), abs=1e-3)
    prevalence = (0.02, 0.5)[task]
    weights = np.where(labels == 1, prevalence / labels.sum(), (1 - prevalence) / (1 - labels).sum())
    natural = average_precision_score(labels, logits, sample_weight=weights)
    assert float(row["auprc_at_prevalence"]) == pytest.approx(natural, abs=1e-4)
    assert float(row["auprc_low"]) < float(row["auprc"]) < float(row["auprc_high"])
    shifted = logits + np.log(prevalence / (1 - prevalence))  # training was balanced
    brier = brier_score_loss(labels, 1 / (1 + np.exp(-shifted)), sample_weight=weights)
    assert float(row["brier"]) == pytest.approx(brier, abs=1e-5)
    fpr, tpr, _ = roc_curve(labels, logits, drop_intermediate=False)
    found = logits > float(row["threshold_at_1_fpr_fitted_here"])
    assert found[labels == 0].mean() <= 0.01 and found[labels == 1].mean() == pytest.approx(tpr[fpr <= 0.01].max(), abs=2e-3)
    shuffled = np.random.default_rng(0).permutation(labels)
    assert abs(roc_auc_score(shuffled, logits) - 0.5) < 0.08, "any label would do"


def test_a_label_that_is_drawn_is_not_found(trained, other, tmp_path):
    labels = loaded(other.path)["labels"]
    drawn = np.random.default_rng(1).integers(0, 2, labels.shape)
    edit(other.path, tmp_path / "drawn.pth", labels=np.where(labels >= 0, drawn, -1))
    assert_success(
        evaluate(
            tmp_path, "--probe_dir", trained / "models", "--data", tmp_path / "drawn.pth", "--lag", -1, "--targets", "often"
        )
    )
    found = [float(row["auc"]) for row in table(tmp_path)]
    assert len(found) == 13 and np.abs(np.array(found) - 0.5).max() < 0.05


@pytest.mark.parametrize("cells", [50, 2**22])
def test_average_precision_without_a_group_is_scikit_learns(monkeypatch, cells):
    monkeypatch.setattr(average_precision, "CELLS", cells)
    random = np.random.default_rng(0)
    labels, groups = random.random(300) < 0.2, random.integers(0, 7, 300)
    logits = np.round(random.normal(size=300) + labels, 1)  # many ties
    found = average_precision.AveragePrecision(logits, labels, Groups(groups), (None, 0.03))
    for row, prevalence in enumerate((None, 0.03)):

        def expected(counts, prevalence=prevalence):
            weights = counts.astype(float)  # of each example
            if prevalence:
                weights *= np.where(labels, prevalence / weights[labels].sum(), (1 - prevalence) / weights[~labels].sum())
            return average_precision_score(labels, logits, sample_weight=weights)

        assert found.value[row] == pytest.approx(expected(np.ones(300)), abs=1e-12)
        assert found.left_out()[row] == pytest.approx([expected(groups != group) for group in range(7)], abs=1e-12)


# What a probe has seen


def test_seen_documents_are_left_out_unless_they_are_asked_for(trained, other, data, transferred, tmp_path):
    assert "1 document(s) are left out" in transferred[1].stdout and "5 of" not in transferred[1].stdout
    first = [row for row in table(transferred[0]) if row["target"] == "often"]
    assert {(row["n_seen_left_out"], row["n_seen_kept"]) for row in first} == {("1", "0")}
    arguments = (
        "--probe_dir",
        trained / "models",
        "--data",
        other.path,
        "--layers",
        0,
        "--targets",
        "often",
        "--probe",
        "linear",
    )
    result = assert_success(evaluate(tmp_path / "kept", *arguments, "--keep_seen"))
    kept = table(tmp_path / "kept")
    assert {(row["n_seen_left_out"], row["n_seen_kept"]) for row in kept} == {("0", "1")}
    assert "1 document(s) are scored though" in result.stdout
    assert min(int(row["n"]) for row in kept) > max(int(row["n"]) for row in first)
    hashless = edit(other.path, tmp_path / "hashless.pth", document_hashes=None)
    assert hashless["metadata"]["document_hashes"] is None
    arguments = (*arguments[:3], tmp_path / "hashless.pth", *arguments[4:])
    assert "texts seen in training cannot be recognised" in assert_success(evaluate(tmp_path / "unknown", *arguments)).stdout
    assert {row["n_seen_left_out"] for row in table(tmp_path / "unknown")} == {""}


@pytest.mark.parametrize("split, hashes", [("train", True), ("val", True), ("train", False)])
def test_what_a_probe_was_trained_on_or_chosen_by_is_no_test(trained, data, tmp_path, split, hashes):
    path = data / f"{split}.pth"
    if not hashes:
        path = tmp_path / "hashless.pth"
        edit(data / f"{split}.pth", path, document_hashes=None)
    arguments = ("--probe_dir", trained / "models", "--data", path, "--layer", 0)
    assert_one_line_error(evaluate(tmp_path / "results", *arguments), "nothing is left to score", "--keep_seen")
    assert snapshot(tmp_path / "results") == {}
    assert_success(evaluate(tmp_path / "results", *arguments, "--keep_seen"))
    assert {row[name] for row in table(tmp_path / "results") for name in (*SEARCH, "probes_together")} == {""}
    probe = loaded(trained / "models" / "probe_layer0_next.pth")["metadata"]["metrics"][split]
    (row,) = [row for row in table(tmp_path / "results") if row["probe_file"].endswith("probe_layer0_next.pth")]
    assert float(row["auc"]) == pytest.approx(probe["auc"], abs=1e-9) and int(row["n_seen_kept"]) > 0


# The matrix, and what is kept


def pages_data(path):
    text = path.read_text(encoding="utf-8")
    return text, json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1))


def test_matrix_and_page_hold_the_best_layers_of_the_table(transferred, trained):
    folder, rows = transferred[0], table(transferred[0])
    matrix = {(row["probe"], row["lag"]): row for row in table(folder, "transfer_matrix")}
    assert len(matrix) == 12  # attention_features reads no layer that was asked for
    best = {}
    for row in rows:
        key = row["probe"], row["lag"], row["target"]
        if key not in best or float(row["probe_val_auc"]) > float(best[key]["probe_val_auc"]):
            best[key] = row
    for (kind, lag, target), row in best.items():
        metadata = loaded(row["probe_file"])["metadata"]
        assert float(row["probe_val_auc"]) == metadata["metrics"]["val"]["auc"]
        one = matrix[kind, lag]
        assert (one["layer_idx"], one[f"{row['data_file']}: {target}"]) == (row["layer_idx"], row["auc"])
    text, page = pages_data(folder / "transfer.html")
    assert ATTACK not in text and "<img" not in text and (folder / "plotly.min.js").stat().st_size > 10**6
    assert len(page["views"]) == 12
    for view in page["views"].values():
        kind, lag = re.match(r"AUROC of (.*) probes at lag .(\d)", view["title"]).groups()
        (trace,) = view["figure"]["data"]
        expected = [best[kind.replace(" ", "_"), f"-{lag}", target] for target in ("often", ATTACK)]
        assert trace["z"] == [[float(row["auc"]) for row in expected]]
        for hover, row in zip(trace["hovertext"][0], expected, strict=True):
            low, high = f"{float(row['auc_low']):.3f}", f"{float(row['auc_high']):.3f}"
            assert f"({low} to {high})" in hover and f"n {int(row['n']):,}" in hover and "<img" not in hover


def test_the_page_opens_in_a_browser_without_a_network(transferred, chromium):
    page, events = chromium.new_page(), []
    page.on("console", lambda message: events.append(message.text))
    page.on("pageerror", lambda error: events.append(str(error)))
    page.on("dialog", lambda dialog: (events.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: events.append(request.url) if not request.url.startswith("file:") else None)
    page.goto((transferred[0] / "transfer.html").as_uri())
    page.wait_for_selector(".main-svg")
    assert page.locator("#chart .heatmaplayer").count() and events == []
    assert ATTACK.replace(" ", "␣") in page.evaluate("document.getElementById('chart').textContent")
    page.close()


def test_rows_are_kept_until_a_file_holds_something_else(trained, data, other, tmp_path):
    models = shutil.copytree(trained / "models", tmp_path / "models")
    path = models / "probe_layer0_next.pth"
    arguments = ("--probe_dir", models, "--layer", 0, "--probe", "linear", "--data")
    assert_success(evaluate(tmp_path, *arguments, data / "test.pth"))
    assert_success(evaluate(tmp_path, *arguments, other.path, "--targets", "often"))
    before = table(tmp_path)
    assert len(before) == 4 and list(table(tmp_path, "transfer_matrix")[0])[-2:] == [
        f"{data / 'test.pth'}:  the",
        f"{other.path}: often",
    ]
    probe = loaded(path)
    probe["state_dict"]["weight"] *= -1
    torch.save(probe, path)
    assert_success(evaluate(tmp_path, *arguments, data / "test.pth", "--lag", -1))
    after = table(tmp_path)
    old, new = ([row for row in rows if row["probe_file"] == str(path)] for rows in (before, after))
    assert len(after) == 3 and len(new) == 1 and float(new[0]["auc"]) == pytest.approx(1 - float(old[0]["auc"]))
    assert {row["auc"] for row in after if row["lag"] == "-2"} == {row["auc"] for row in before if row["lag"] == "-2"}


# What is wrong is one line


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Another model with another tokenizer."""
    folder = tmp_path_factory.mktemp("stranger")
    make_model(folder, len(make_tokenizer(folder, [prose(7)], vocabulary=400)))
    return folder


@pytest.mark.parametrize(
    "arguments, needles, status",
    [
        (("--probe_dir", "{tmp}/none"), ("--probe_dir", "none does not exist"), 1),
        (("--probe_dir", "{tmp}"), ("--probe_dir", "holds no probe_*.pth"), 1),
        (("--probe_dir", "{tmp}/none.safetensors"), ("none.safetensors does not exist",), 1),
        (("--data", "{tmp}/none.pth"), ("none.pth does not exist",), 1),
        (("--data", "{data}/metadata.json"), ("metadata.json is", "not"), 1),
        (("--targets", "the,a"), ("--targets the,a", "test.pth has none of them", "' the'"), 1),
        (("--layers", "1"), ("--layers 1", "no probe is of it", "0, attention, final_norm"), 1),
        (("--lag", "-7"), ("--lag -7", "they are of -2, -1"), 1),
        (("--seed", "3"), ("--seed 3", "they are of 0"), 1),
        (("--layers", "0,first"), ("--layers 0,first", "'first' is no layer"), 2),
        (("--probe", "linear,mas_mean"), ("'mas_mean'", "did you mean mass_mean?"), 2),
        (("--lag", "near"), ("--lag", "'near'"), 2),
        (("--dat", "x"), ("unknown argument --dat", "did you mean --data?"), 2),
        (("--model_name", "{stranger}"), ("with the tokenizer of", "has another one"), 1),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(trained, data, stranger, tmp_path, arguments, needles, status):
    names = {"tmp": tmp_path, "data": data, "stranger": stranger}
    given = dict(zip(arguments[::2], (value.format(**names) for value in arguments[1::2]), strict=True))
    given = {"--probe_dir": trained / "models", "--data": data / "test.pth", **given}
    result = evaluate(tmp_path / "results", *(word for pair in given.items() for word in pair))
    assert_one_line_error(result, *needles, status=status)
    assert snapshot(tmp_path) == {} and "one pass over" not in result.stdout


def test_a_lag_that_no_token_has_is_named(trained, data, tmp_path):
    """Windows that end with the labelled token have nothing two tokens before the second."""
    payload = loaded(data / "test.pth")
    labels = torch.full_like(payload["labels"], -1)
    labels[:, 1] = torch.arange(len(labels)) % 2
    edit(data / "test.pth", tmp_path / "first.pth", labels=labels, dataset_fingerprint="x")
    arguments = ("--probe_dir", trained / "models", "--data", tmp_path / "first.pth")
    assert_one_line_error(evaluate(tmp_path, *arguments), "lag -2", "first.pth", "--lag")


def test_one_class_only_leaves_what_needs_both_empty_and_says_so(trained, data, tmp_path):
    labels = loaded(data / "test.pth")["labels"]
    edit(data / "test.pth", tmp_path / "one.pth", labels=torch.where(labels >= 0, 1, -1), dataset_fingerprint="x")
    result = assert_success(
        evaluate(tmp_path, "--probe_dir", trained / "models", "--data", tmp_path / "one.pth", "--layer", 0)
    )
    rows = table(tmp_path)
    assert f"{len(rows)} of {len(rows)} pairs" in result.stdout and "one class only" in result.stdout
    assert {(row["auc"], row["auprc"], row["balanced_accuracy"], row["tpr_at_1_fpr"], row["pos_ratio"]) for row in rows} == {
        ("", "", "", "", "1.0")
    }


def test_probes_data_and_results_of_another_model_are_refused_by_both_names(trained, data, tiny_model, stranger, tmp_path):
    models = shutil.copytree(trained / "models", tmp_path / "models")
    edit(
        data / "test.pth",
        tmp_path / "theirs.pth",
        tokenizer={**loaded(data / "test.pth")["metadata"]["tokenizer"], "fingerprint": "0123"},
        model_name="their/model",
    )
    assert_one_line_error(
        evaluate(tmp_path / "out", "--probe_dir", models, "--data", tmp_path / "theirs.pth"),
        "their/model",
        "0123",
        str(tiny_model),
        "theirs.pth",
    )
    assert_success(evaluate(tmp_path / "out", "--probe_dir", models, "--data", data / "test.pth", "--layer", 0))
    path = tmp_path / "out" / "transfer.csv"
    row = table(tmp_path / "out")[0]
    path.write_text(path.read_text(encoding="utf-8").replace(row["model_fingerprint"], "89ab"), encoding="utf-8")
    arguments = ("--probe_dir", models, "--data", data / "test.pth", "--layer", "final_norm")
    assert_one_line_error(evaluate(tmp_path / "out", *arguments), "transfer.csv is of model", "89ab", "--overwrite")
    assert_success(evaluate(tmp_path / "out", *arguments, "--overwrite"))
    assert {row["layer_idx"] for row in table(tmp_path / "out")} == {"final_norm"}
    before = snapshot(tmp_path / "out")
    for path in models.glob("*.pth"):
        probe = loaded(path)
        probe["metadata"] |= {"model": "their/model", "model_fingerprint": "4567"}
        torch.save(probe, path)
    result = evaluate(tmp_path / "out", "--probe_dir", models, "--data", data / "test.pth")
    assert_one_line_error(result, "transfer.csv is of model", str(tiny_model), "their/model", "4567", "--overwrite")
    assert_one_line_error(
        evaluate(tmp_path / "out", "--probe_dir", models, trained / "models", "--data", data / "test.pth"),
        "their/model",
        "4567",
        str(tiny_model),
    )
    result = evaluate(
        tmp_path / "out", "--probe_dir", models, "--model_name", tiny_model, "--data", data / "test.pth", "--overwrite"
    )
    assert_one_line_error(result, "their/model", "4567", f"{tiny_model} is another model")
    assert snapshot(tmp_path / "out") == before
