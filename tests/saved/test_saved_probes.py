"""Saved probes applied to transformers' own states, with nothing of the suite in between, give the reported scores."""

import csv
import json

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from helpers import assert_success, call


@pytest.fixture(scope="module", params=["next", "current"])
def trained(request, prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    flags = ["--predict_current"] if request.param == "current" else []
    assert_success(
        call(
            "train_probe",
            "--train_data",
            prepared / "train.pth",
            "--layer_sweep",
            "all",
            "--no_wandb",
            "--output_dir",
            folder / "models",
            "--results_dir",
            folder / "results",
            *flags,
        )
    )
    return request.param, folder


def test_reported_scores_follow_from_the_saved_weights(trained, prepared, tiny_model):
    from transformers import AutoModelForCausalLM

    name, folder = trained
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    paths = sorted((folder / "models").glob(f"probe_*_{name}.pth"))
    assert len(paths) == 5  # embed, three layers, final_norm
    for split in ("val", "test"):
        data = torch.load(prepared / f"{split}.pth", weights_only=True)
        labels = (data["labels"][:, -1] == 1).numpy()
        with torch.no_grad():
            output = model.model(data["input_ids"].long(), output_hidden_states=True)
        at = -1 if name == "current" else -2
        for path in paths:
            probe = torch.load(path, weights_only=True)
            layer = probe["metadata"]["layer"]
            if layer == 2:  # the last layer, before the last norm: transformers does not show it
                continue
            states = output.hidden_states[{"embed": 0, "final_norm": -1}.get(layer, layer + 1 if layer in (0, 1) else 0)]
            logits = states[:, at] @ probe["state_dict"]["weight"] + probe["state_dict"]["bias"]
            reported = probe["metadata"]["metrics"][split]
            said = (logits.double() > probe["metadata"]["threshold"]).numpy()
            assert reported["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, said), abs=1e-9)
            assert reported["auc"] == pytest.approx(roc_auc_score(labels, logits.numpy()), abs=1e-4)


def test_the_tables_say_what_the_probe_files_say(trained, prepared):
    name, folder = trained
    with open(folder / "results" / "probe_metrics.csv", newline="", encoding="utf-8") as file:
        metrics = {(row["layer_idx"], row["split"]): row for row in csv.DictReader(file)}
    with open(folder / "results" / "probe_results.csv", newline="", encoding="utf-8") as file:
        summary = {row["layer"]: row for row in csv.DictReader(file)}
    assert len(metrics) == 15 and list(summary) == ["embed", "0", "1", "2", "final_norm"]
    for path in (folder / "models").glob("*.pth"):
        metadata = torch.load(path, weights_only=True)["metadata"]
        layer = str(metadata["layer"])
        for split, reported in metadata["metrics"].items():
            assert float(metrics[layer, split]["auc"]) == reported["auc"]
            assert float(summary[layer][f"{split}_auc"]) == reported["auc"]
            assert int(summary[layer][f"n_{split}"]) == reported["n"]
    record = json.loads((folder / "results" / "run_record.json").read_text(encoding="utf-8"))
    best = max(
        (row for (layer, split), row in metrics.items() if split == "val"), key=lambda row: float(row["balanced_accuracy"])
    )
    lag = {"next": "-1", "current": "0"}[name]
    chosen = str(record["selected_on_validation"][" the"][lag]["layer"])
    assert metrics[chosen, "val"]["balanced_accuracy"] == best["balanced_accuracy"]


def test_the_current_token_is_trivial_at_embed_and_the_next_token_is_not(trained):
    name, folder = trained
    probe = torch.load(folder / "models" / f"probe_embed_{name}.pth", weights_only=True)["metadata"]
    score = probe["metrics"]["test"]["balanced_accuracy"]
    assert score == 1.0 if name == "current" else score < 0.95


def test_baselines_stand_in_their_table_and_own_probability_only_where_it_means_something(trained):
    name, folder = trained
    with open(folder / "results" / "baselines.csv", newline="", encoding="utf-8") as file:
        rows = {(row["baseline"], row["split"]): row for row in csv.DictReader(file)}
    assert float(rows["majority", "test"]["balanced_accuracy"]) == 0.5
    assert ("own probability", "test") in rows if name == "next" else ("own probability", "test") not in rows
    if name == "current":
        assert float(rows["read token", "test"]["auc"]) == 1.0
