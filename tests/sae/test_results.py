"""The files and tables of an evaluation, and the published targets, with negative controls."""

import csv
import json
import math
from dataclasses import replace

import pytest
import torch

from evaluated_autoencoders import FOUND, evaluation
from utils.base.errors import UserError
from utils.sae.evaluation.results import EVALUATION_COLUMNS, evaluation_table, targets_table, write_evaluation


def test_the_files_hold_every_figure_and_agree(tmp_path):
    spoiled = evaluation(replace(FOUND, pca_fvu=0.0), cost=None, why="it has no language-model head", layer="embed")
    write_evaluation(tmp_path, [evaluation(), spoiled])
    with open(tmp_path / "sae_evaluation.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    saved = json.loads((tmp_path / "sae_evaluation.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert (saved["format"], saved["version"], len(rows)) == ("sae-evaluation", 1, 2)
    assert tuple(rows[0]) == EVALUATION_COLUMNS and "" not in rows[0].values()
    for row, entry in zip(rows, saved["autoencoders"], strict=True):
        for name in EVALUATION_COLUMNS:
            assert row[name] == ("" if entry.get(name) is None else str(entry[name])), name
    first, second = saved["autoencoders"]
    assert first["explained_variance"] == 0.8 and first["fvu_over_pca"] == 0.5 and first["dead"] == first["dense"] == 0.05
    assert first["recovered"] == (8 - 3.2) / 5 and first["recovered_over_mean"] == (7 - 3.2) / 4
    assert first["l0_deciles"] == list(FOUND.l0_deciles) and (first["l0_p10"], first["l0_p90"]) == (30, 90)
    assert sum(first["density_histogram"]["latents"]) == 19 and not first["few_tokens"]
    assert second["fvu_over_pca"] is None and "ce_clean" not in second and rows[1]["ce_clean"] == ""
    assert second["why_no_cost"] == "it has no language-model head" and rows[1]["layer"] == "embed"


def test_what_was_measured_of_other_layers_stays(tmp_path):
    def layers_and_scores():
        with open(tmp_path / "sae_evaluation.csv", encoding="utf-8", newline="") as file:
            rows = [(row["layer"], row["fvu"]) for row in csv.DictReader(file)]
        saved = json.loads((tmp_path / "sae_evaluation.json").read_text(encoding="utf-8"))["autoencoders"]
        assert rows == [(str(entry["layer"]), str(entry["fvu"])) for entry in saved]
        return rows

    write_evaluation(tmp_path, [evaluation(layer=2), evaluation(layer=7)])
    write_evaluation(tmp_path, [evaluation(replace(FOUND, fvu=0.5), layer=7), evaluation(layer="embed")])
    assert layers_and_scores() == [("embed", "0.2"), ("2", "0.2"), ("7", "0.5")]
    for damaged in ("[]", '{"autoencoders": 7}', '{"autoencoders": [7]}', '{"autoencoders": [{"layer": null}]}', "{"):
        (tmp_path / "sae_evaluation.json").write_text(damaged)
        with pytest.raises(UserError, match="sae_evaluation.json cannot be read .*; delete it, and run the same command"):
            write_evaluation(tmp_path, [evaluation(layer=7)])


@pytest.mark.parametrize(
    "changes, failed",
    [
        ({}, []),
        ({"squared_error": 0.01}, ["meets_squared_error"]),
        ({"squared_error": math.nan}, ["meets_squared_error"]),
        ({"l0": 49.9}, ["meets_l0"]),
        ({"l0": 100.1}, ["meets_l0"]),
        ({"density": torch.tensor([0.0, *[0.1] * 9])}, ["meets_dead"]),
        ({"l0": 16.0, "squared_error": 3.0, "density": torch.zeros(5)}, ["meets_squared_error", "meets_l0", "meets_dead"]),
    ],
)
def test_published_targets(changes, failed):
    found = evaluation(replace(FOUND, **changes))
    assert [name for name, met in found.targets.items() if not met] == failed
    line = targets_table([found]).splitlines()[1]
    assert line.count("FAILED") == len(failed) and line.count("passed") == 3 - len(failed)


def test_the_table_says_what_it_rests_on():
    lines = evaluation_table([evaluation(), evaluation(seed=1, target_l0=61.5)]).splitlines()
    assert lines[1].split() == ["layer5", "jumprelu", "0", "60", "60.4", "0.200", "0.50", "5.0%", "0.960"]
    assert lines[2].split()[2:4] == ["1", "61.5"]
    assert lines[3] == "dead: silent on all of 120,000 held-out tokens"
    assert "9,000 predictions (the model's own 3.000 nats)" in lines[4] and len(lines) == 5


def test_a_missed_target_is_said():
    lines = evaluation_table([evaluation(target_l0=58.0), evaluation(target_l0=59.0)]).splitlines()
    assert lines[-1] == "note: layer5, target 58: L0 is 60.40 here, +4.1% off, more than 3%"
    assert sum("off, more than" in line for line in lines) == 1


def test_the_table_says_what_is_missing():
    few = replace(FOUND, tokens=99_999, pca_fvu=0.0)
    text = evaluation_table([evaluation(few, cost=None, why="its tokens see later ones"), evaluation()])
    assert "on fewer than 100,000 a rare latent counts as dead too" in text
    assert text.endswith("recovered is not measured: its tokens see later ones")
    assert text.splitlines()[1].split()[-3:] == ["-", "5.0%", "-"]


def test_an_autoencoder_of_another_tool_has_its_place():
    """It may know neither a target nor a seed."""
    found = evaluation(architecture="jumprelu", seed=None, target_l0=None)
    assert evaluation_table([found]).splitlines()[1].split()[:4] == ["layer5", "jumprelu", "None", "-"]
