"""Thresholds chosen on validation and fitted to a false positive rate."""

import numpy as np
import pytest
from sklearn import metrics as sk

from many_probes import sweep
from utils.scores.thresholds import choose_threshold, choose_thresholds, fitted_thresholds


def test_threshold_by_hand():
    assert choose_threshold([-3.0, -1.0, 2.0, 5.0], [0, 0, 1, 1]) == 0.5
    assert choose_threshold([1.0, 1.0, 1.0], [0, 1, 1]) == 0.0
    # cutting at -1.5 and at 2.5 is equally good (3 of 4 right in all): the one nearer 0 is taken
    assert choose_threshold([-2.0, -1.0, 2.0, 3.0], [0, 1, 0, 1]) == -1.5


@pytest.mark.slow
def test_thresholds_of_many_rows_are_those_of_each():
    logits, labels, _ = sweep(5, probes=30, n=60)
    logits[3], logits[4] = 1.0, -logits[5]
    found = choose_thresholds(logits, labels)
    for row, threshold in zip(logits, found, strict=True):
        cuts = np.unique(row)
        balanced = [sk.balanced_accuracy_score(labels, row > cut) for cut in (cuts[:-1] + cuts[1:]) / 2]
        if len(cuts) > 1:
            assert sk.balanced_accuracy_score(labels, row > threshold) == pytest.approx(max(balanced), abs=1e-12)
            best = ((cuts[:-1] + cuts[1:]) / 2)[np.array(balanced) >= max(balanced) - 1e-12]
            assert abs(threshold) == pytest.approx(np.abs(best).min(), abs=1e-12)
        assert choose_threshold(row, labels) == threshold
    assert found[3] == 0 and (choose_thresholds(logits, np.ones(60)) == 0).all()


def test_the_fitted_threshold_by_hand():
    labels = np.array([0] * 200 + [1, 1, 1])
    logits = np.concatenate([np.arange(200.0), [150.0, 198.5, 300.0]])  # 1 % of 200 may be called positive: 198 and 199
    thresholds, fpr = fitted_thresholds(logits[None], labels)
    assert (thresholds[0], fpr[0]) == (198.25, 1 / 200)
    thresholds, fpr = fitted_thresholds(np.stack([-logits, np.zeros(203)]), labels)
    assert (thresholds.tolist(), fpr.tolist()) == ([0.0, 0.0], [0.0, 0.0])  # nothing can be called positive
    assert np.isnan(fitted_thresholds(logits[None], np.ones(203))).all()
