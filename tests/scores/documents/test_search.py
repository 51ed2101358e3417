"""Pairs of a probe and an aggregate are a search: its band and p-values against enumerations, on noise, and as printed."""

import math
from itertools import combinations

import numpy as np
import pytest

from many_documents import named, planted
from utils.scores.documents.aggregates import AGGREGATES, aggregated
from utils.scores.documents.layout import Documents
from utils.scores.documents.scoring import score_documents
from utils.scores.search.searched import SEARCH
from utils.sweep.report.documents import document_table

EXACT = 2.5 * np.sqrt(0.25 / 999)  # how far a share of 999 deals may lie from that of all


def of_test(found):
    return [row for row in found.rows if row["split"] == "test" and row["bucket"] == "all" and not row["baseline"]]


def regrouped(documents, groups):
    return Documents(**{**vars(documents), "groups": groups})


def auroc_of(labels, values):
    """The share of pairs that rank right, ties half."""
    differences = values[labels == 1][:, None] - values[labels == 0]
    return np.mean((differences > 0) + 0.5 * (differences == 0))


@pytest.mark.parametrize("strength", [0, 9])
def test_p_values_are_those_of_every_deal(strength):
    """Each document is a group, so that any other choice of as many positives is a deal."""
    documents, logits = planted(3, {"val": [strength] * 2, "test": [strength] * 2}, documents=10)
    documents = {split: regrouped(those, np.arange(10)) for split, those in documents.items()}
    labels, values = documents["test"].labels, aggregated(logits["test"], documents["test"]).reshape(-1, 10)
    dealt = [np.isin(np.arange(10), each) for each in combinations(range(10), labels.sum())]
    every = np.array([[auroc_of(each, row) for each in dealt] for row in values])
    true = np.array([auroc_of(labels, row) for row in values])
    found = score_documents(documents, logits, named(2), "x", 0)
    names = [(layer, aggregate) for layer in range(2) for aggregate in AGGREGATES]
    rows = {(row["layer_idx"], row["aggregate"]): row for row in of_test(found)}
    wanted = (every >= true[:, None] - 1e-6).mean(1)
    np.testing.assert_allclose([rows[name]["permutation_p"] for name in names], wanted, atol=EXACT)
    centre, spread = every.mean(1), every.std(1)
    largest = ((every - centre[:, None]) / spread[:, None]).max(0)
    best = np.mean(largest >= ((true - centre) / spread).max() - 1e-4)
    assert min(row["permutation_p_in_sweep"] for row in rows.values()) == pytest.approx(best, abs=EXACT)
    assert (best < 0.05) == (strength > 0) and best >= wanted.min() - 1e-9, "not both are here, noise and signal"


@pytest.mark.slow
def test_the_band_and_the_p_of_the_maximum_hold_on_noise_where_single_ones_do_not():
    single, band, naive, best, chosen, times = 0, 0, 0, 0, 0, 60
    for seed in range(times):
        documents, logits = planted(300 + seed, {"val": [0] * 4, "test": [0] * 4}, documents=60, groups=20)
        found = score_documents(documents, logits, named(4), "x", 0)
        rows = of_test(found)
        assert len(rows) == 4 * len(AGGREGATES)
        single += any(not row["auc_low"] <= 0.5 <= row["auc_high"] for row in rows)
        band += any(not row["auc_band_low"] <= 0.5 <= row["auc_band_high"] for row in rows)
        naive += min(row["permutation_p"] for row in rows) <= 0.05
        best += min(row["permutation_p_in_sweep"] for row in rows) <= 0.05
        chosen += found.winner.scores["test"]["all"]["permutation_p"] <= 0.05
    most = times * (0.05 + 2.5 * np.sqrt(0.05 * 0.95 / times))
    assert band <= most and best <= most and chosen <= most
    assert single > most and naive > most, "one interval or p of many would do as well"


def test_what_was_chosen_has_the_columns_of_its_row_and_baselines_have_none():
    documents, logits = planted(5, {"val": [0, 4], "test": [0, 4]})
    found = score_documents(documents, logits, named(2), "x", 0, {"read token": {s: v[0] for s, v in logits.items()}})
    scores = found.winner.scores["test"]["all"]
    (row,) = [row for row in of_test(found) if row["chosen"]]
    assert {name: scores[name] for name in SEARCH} == {name: row[name] for name in SEARCH}
    assert scores["auc_band_low"] < scores["auc_low"] and scores["auc_band_high"] > scores["auc_high"]
    assert scores["permutation_p"] <= scores["permutation_p_in_sweep"] <= 0.01
    others = [row for row in found.rows if row["baseline"] or row["split"] != "test" or row["bucket"] != "all"]
    assert len(others) > 30 and not any(set(SEARCH) & set(row) for row in others)


def test_too_few_groups_and_scores_that_are_not_finite_have_none():
    documents, logits = planted(11, {"val": [3, 3], "test": [3, 3]}, documents=20)
    two = {split: regrouped(those, np.arange(20) // 10) for split, those in documents.items()}
    three = {split: regrouped(those, np.arange(20) % 3) for split, those in documents.items()}
    for those, given in ((two, False), (three, True)):
        rows = of_test(score_documents(those, logits, named(2), "x", 0))
        assert {math.isfinite(row["permutation_p"]) for row in rows} == {given}
    broken = {split: np.concatenate([np.full_like(values[:1], np.nan), values[1:]]) for split, values in logits.items()}
    found, alone = (
        score_documents(documents, those, named(count), "x", 0)
        for those, count in ((broken, 2), ({split: values[1:] for split, values in logits.items()}, 1))
    )
    sound = [row for row in of_test(found) if row["layer_idx"] == 1]
    assert not any(set(SEARCH) & set(row) for row in of_test(found) if row["layer_idx"] == 0)
    for one, other in zip(sound, of_test(alone), strict=True):
        assert {name: one[name] for name in SEARCH} == {name: other[name] for name in SEARCH}


def test_the_console_says_how_the_choice_stands_among_all():
    documents, logits = planted(5, {"val": [0, 4], "test": [0, 4]})
    found = score_documents(documents, logits, named(2), "x", 0)
    scores, text = found.winner.scores["test"]["all"], document_table(found)
    assert f"of 22 pairs of a probe and an aggregate: permutation p {scores['permutation_p']:.3f}" in text
    assert f"at once {scores['auc_band_low']:.3f} to {scores['auc_band_high']:.3f}" in text and "who picks among all" in text
    few = {split: regrouped(those, np.zeros(len(those), dtype=int)) for split, those in documents.items()}
    assert "pairs of a probe" not in document_table(score_documents(few, logits, named(2), "x", 0))
