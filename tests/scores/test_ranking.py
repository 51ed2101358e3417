"""Ranked rows, wins and AUROC by brute force over all pairs, ties included."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from many_probes import sweep
from utils.scores.ranking import Ranked, auroc, ranking


def all_pairs(logits, true):
    """[positives, negatives]: 1 where the positive ranks above the negative, half for a tie."""
    gaps = logits[true][:, None] - logits[~true]
    return (gaps > 0) + (gaps == 0) / 2


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_the_wins_of_each_example_are_those_of_all_its_pairs(decimals):
    logits, labels, _ = sweep(3, n=150, decimals=decimals)
    true = np.broadcast_to(labels == 1, logits.shape)
    ranked = Ranked.of(logits, true)
    for row, won in enumerate(ranked.wins()):
        in_order = np.empty(len(won))
        in_order[ranked.order[row]] = won
        pairs = all_pairs(logits[row], true[row])
        np.testing.assert_array_equal(in_order[true[row]], pairs.sum(1))
        np.testing.assert_array_equal(in_order[~true[row]], pairs.sum(0))


@pytest.mark.parametrize("decimals", [0, 12])
def test_auroc_and_average_precision_are_scikit_learns(decimals):
    logits, labels, _ = sweep(4, n=150, decimals=decimals)
    found = ranking(Ranked.of(logits, np.broadcast_to(labels == 1, logits.shape)))
    for row, values in enumerate(logits):
        assert auroc(values, labels) == pytest.approx(roc_auc_score(labels, values), abs=1e-12)
        assert found["auprc"][row] == pytest.approx(average_precision_score(labels, values), abs=1e-12)
    assert np.isnan(auroc(logits[0], np.ones(150))) and np.isnan(auroc(logits[0], np.zeros(150)))
