"""Thresholds chosen on validation and fitted to a false positive rate."""

import numpy as np
import pytest
from sklearn import metrics as sk

from many_probes import sweep
from utils.scores.thresholds import choose_threshold, choose_thresholds, fitted_thresholds, operating_points


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


def test_operating_points_by_hand():
    found = operating_points([-1.0, 2.0, 3.0], [0, 0, 1])
    assert found == {"thresholds": [-2, 0.5, 2.5, 4], "false_alarms": [1, 0.5, 0, 0], "found": [1, 1, 1, 0]}
    of_three = operating_points([-1.0, np.nan, 2.0, 7.0, 3.0], [0, 1, 0, -1, 1])  # what is not known does not count
    assert of_three == found
    assert operating_points([1.0, 2.0], [1, 1]) is None and operating_points([1.0], [0]) is None


@pytest.mark.parametrize("digits", [1, 6])
def test_operating_points_are_what_the_examples_say_and_miss_little(digits):
    """Each threshold does what stands beside it, with many equal logits too; among them is one close to any promise."""
    logits, labels, _ = sweep(2, probes=1, n=5000)
    values = np.round(logits[0], digits)
    found = operating_points(values, labels)
    thresholds, alarms, hits = (np.array(found[name]) for name in ("thresholds", "false_alarms", "found"))
    assert len(thresholds) <= 84 and (np.diff(thresholds) > 0).all()
    negatives, positives = np.sort(values[labels == 0]), np.sort(values[labels == 1])
    for threshold, alarm, hit in zip(thresholds, alarms, hits, strict=True):
        assert alarm == pytest.approx((negatives > threshold).mean(), abs=1e-6)
        assert hit == pytest.approx((positives > threshold).mean(), abs=1e-6)
    every = (np.unique(values)[:-1] + np.unique(values)[1:]) / 2
    for share in (0.01, 0.05, 0.2):
        best = max((positives > cut).mean() for cut in every if (negatives > cut).mean() <= share)
        assert best - hits[alarms <= share].max() < 0.05
    for share in (0.5, 0.9):
        fewest = min((negatives > cut).mean() for cut in every if (positives > cut).mean() >= share)
        assert alarms[hits >= share].min() - fewest < 0.05
