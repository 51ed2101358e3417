"""Permutation p-values: against brute force and scipy, valid under the null, and able to find what is there."""

from itertools import permutations

import numpy as np
import pytest
from scipy.ndimage import uniform_filter1d
from scipy.stats import permutation_test
from sklearn.metrics import roc_auc_score

from utils.scores.intervals import Groups
from utils.scores.search import permutation
from utils.scores.search.nulls import Exchange, Shift
from utils.scores.search.permutation import dealt_aurocs, holm, of_aurocs
from utils.scores.search.places import in_places


def ranks_of(logits, labels):
    return in_places(np.atleast_2d(logits), labels == 1, Groups(np.arange(len(labels)))).ranks


def permutation_p_values(logits, labels, null, deals=999):
    return of_aurocs(dealt_aurocs(ranks_of(logits, labels), labels == 1, null, deals))


def made(seed, probes=6, n=80, signal=0.0):
    random = np.random.default_rng(seed)
    labels = np.repeat(random.integers(0, 2, n // 4), 4)
    return np.round(random.normal(size=(probes, n)) + signal * labels, 1), labels, np.arange(n) // 4


@pytest.mark.parametrize("shift", [False, True])
def test_aurocs_of_deals_are_scikit_learns(shift, monkeypatch):
    logits, labels, groups = made(0)
    null = Shift.of(labels, groups // 5, np.arange(80)) if shift else Exchange.of(labels, groups)
    ranks = ranks_of(logits, labels)
    found = dealt_aurocs(ranks, labels == 1, null, 30)
    dealt = np.tile(labels, (30, 1))
    dealt[:, null.moving] = null.draw(permutation.start_of_deals(), 30)
    wanted = [[roc_auc_score(each, row) for each in (labels, *dealt)] for row in logits]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert len({tuple(row) for row in dealt}) > 20
    monkeypatch.setattr(permutation, "LABELS_AT_ONCE", 200)
    by_pieces = dealt_aurocs(ranks, labels == 1, null, 30)
    np.testing.assert_allclose(by_pieces[:, 0], found[:, 0], atol=1e-6)


def test_the_p_value_is_scipys_and_that_of_all_permutations():
    random = np.random.default_rng(3)
    labels, logits = np.array([1, 1, 1, 0, 0, 0, 0]), random.normal(size=7) + np.array([1, 1, 1, 0, 0, 0, 0])
    every = [roc_auc_score(each, logits) for each in map(np.array, set(permutations(labels)))]
    exact = np.mean(np.array(every) >= roc_auc_score(labels, logits) - 1e-9)
    found = permutation_p_values(logits, labels, Exchange.of(labels, np.arange(7)), deals=9999).alone[0]
    assert found == pytest.approx(exact, abs=0.02)
    by_scipy = permutation_test(
        (logits[labels == 1], logits[labels == 0]),
        lambda one, other: roc_auc_score(np.repeat([1, 0], [len(one), len(other)]), np.concatenate([one, other])),
        alternative="greater",
        n_resamples=np.inf,
    )
    assert by_scipy.pvalue == pytest.approx(exact) and found == pytest.approx(by_scipy.pvalue, abs=0.02)


def test_counts_by_hand():
    found = of_aurocs(np.array([[0.9, 0.4, 0.5, 0.6], [0.5, 0.5, 0.5, 0.5], [0.6, 0.6, 0.7, 0.3]]))
    assert found.alone.tolist() == [1 / 4, 1, 3 / 4]
    assert found.in_sweep[0] == 1 / 4 and found.in_sweep[1] == 1, "a probe that no deal moves is worth nothing"


def test_p_values_are_valid_alone_and_for_the_best_and_single_ones_are_not_for_the_best():
    alone, best, naive = [], [], []
    for seed in range(300):
        random = np.random.default_rng(seed)
        labels, groups = np.repeat(random.integers(0, 2, 24), 3), np.repeat(np.arange(24), 3)
        logits = random.normal(size=(30, 24)).repeat(3, axis=1) + random.normal(size=(30, 72))
        found = permutation_p_values(logits, labels, Exchange.of(labels, groups), deals=199)
        alone.append(found.alone[0])
        best.append(found.in_sweep.min())
        naive.append(found.alone.min())
    for level in (0.05, 0.1, 0.5):
        most = level + 2.5 * np.sqrt(level * (1 - level) / 300)
        assert np.mean(np.array(alone) <= level) <= most and np.mean(np.array(best) <= level) <= most
    assert np.mean(np.array(naive) <= 0.05) > 0.5
    labels, groups = labels, groups
    ungrouped = permutation_p_values(logits, labels, Exchange.of(labels, np.arange(72)), deals=199)
    assert not np.allclose(ungrouped.alone, found.alone)


def test_shifts_keep_neighbours_alike_where_single_labels_would_not():
    """Labels and logits that are alike in neighbours, and have nothing to do with one another."""
    shifted, scattered = [], []
    for seed in range(120):
        random = np.random.default_rng(seed)
        smooth = uniform_filter1d(random.normal(size=(2, 10, 60)), 20, axis=2, mode="wrap")
        labels, logits = (smooth[0] > 0).ravel(), smooth[1].ravel()
        documents = np.repeat(np.arange(10), 60)
        shifted.append(permutation_p_values(logits, labels, Shift.of(labels, documents, np.arange(600)), 99).alone[0])
        scattered.append(permutation_p_values(logits, labels, Exchange.of(labels, np.arange(600)), 99).alone[0])
    assert np.mean(np.array(shifted) <= 0.05) <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 120)
    assert np.mean(np.array(scattered) <= 0.05) > 0.2


def test_a_signal_is_found():
    logits, labels, groups = made(5, signal=1.0)
    found = permutation_p_values(logits, labels, Exchange.of(labels, groups))
    assert (found.alone < 0.01).all() and (found.in_sweep <= 0.02).all() and (found.in_sweep >= found.alone).all()


def test_ranks_and_wins_of_ties_are_counted_half():
    found = in_places(np.array([[0.2, 0.1, 0.2]]), np.array([True, False, False]), Groups([0, 1, 2]))
    np.testing.assert_allclose(found.ranks, [[0.5 / 3, -1 / 3, 0.5 / 3]], rtol=1e-6)
    assert found.wins.tolist() == [[1.5, 1, 0.5]]
    found = in_places(np.array([[0.2, 0.1, 0.3]]), np.array([True, False, False]), Groups([0, 1, 2]))
    np.testing.assert_allclose(found.ranks, [[0, -1 / 3, 1 / 3]], atol=1e-7)
    assert found.wins.tolist() == [[1, 1, 0]]


def test_holm_is_by_hand_and_keeps_the_level_over_questions():
    assert holm([0.01, 0.04, 0.03, 0.6]).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.6])
    corrected = holm([0.02, np.nan, 0.5])
    assert corrected[[0, 2]].tolist() == pytest.approx([0.06, 1]) and np.isnan(corrected[1]), "it counts, and has none"
    p = np.random.default_rng(0).random((4000, 12))
    found = np.mean([holm(row).min() <= 0.05 for row in p])
    assert found <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 4000) and np.mean(p.min(1) <= 0.05) > 0.4
