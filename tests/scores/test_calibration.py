"""Brier score and calibration error at the natural prevalence, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics as sk

from many_probes import sweep
from utils.base.errors import UserError
from utils.scores.calibration import at_prevalence
from utils.scores.metrics import scores


def test_calibration_is_scikit_learns_brier_score_and_bins_by_hand():
    logits, labels, groups = sweep(1)
    p, q = 0.03, 0.4
    positives = labels.sum()
    weights = np.where(labels == 1, p / positives, (1 - p) / (len(labels) - positives))
    for row in logits:
        found = scores(row, labels, groups, 0.0, p, q)
        odds = np.exp(row) / (q / (1 - q)) * (p / (1 - p))
        probabilities = odds / (1 + odds)
        assert found["brier"] == pytest.approx(sk.brier_score_loss(labels, probabilities, sample_weight=weights), abs=1e-12)
        gap = 0.0
        for tenth in range(10):
            inside = np.floor(probabilities * 10) == tenth
            if inside.any():
                mean, share = (np.average(values[inside], weights=weights[inside]) for values in (probabilities, labels))
                gap += weights[inside].sum() * abs(mean - share)
        assert found["ece"] == pytest.approx(gap, abs=1e-12)
    # at a prevalence of 1/2 on both sides: .9 twice (one right), .2 (right), .2 (wrong), each example of weight 1/4
    certain, doubtful = np.log(9), np.log(0.25)
    found = scores([certain, certain, doubtful, doubtful], [1, 0, 0, 1], [0, 1, 2, 3], 0.0, 0.5, 0.5)
    assert found["brier"] == pytest.approx((0.01 + 0.81 + 0.04 + 0.64) / 4)
    assert found["ece"] == pytest.approx(0.5 * 0.4 + 0.5 * 0.3)
    assert scores([800.0, -800.0], [1, 0], [0, 1], 0.0, 0.1)["brier"] == 0


def test_the_true_model_of_a_balanced_sample_is_calibrated_in_the_wild_only_when_shifted():
    random, n, prevalence = np.random.default_rng(0), 200_000, 0.1
    labels = random.integers(0, 2, n)  # a balanced sample ...
    logits = 2 * random.normal(2.0 * labels - 1, 1)  # ... and its log-odds: of normals about -1 and 1, 2 x
    found = scores(logits, labels, np.zeros(n), 0.0, prevalence, 0.5)
    assert found["ece"] < 0.005
    unshifted = scores(logits, labels, np.zeros(n), 0.0, prevalence, prevalence)
    assert unshifted["ece"] > 0.1 and unshifted["brier"] > 1.5 * found["brier"]
    wild = (random.random(n) < prevalence).astype(int)
    shifted = at_prevalence(2 * random.normal(2.0 * wild - 1, 1), prevalence, 0.5)
    assert found["brier"] == pytest.approx(sk.brier_score_loss(wild, 1 / (1 + np.exp(-shifted))), abs=0.001)


def test_a_prevalence_that_is_none_is_refused_and_0_or_1_has_no_odds():
    logits, labels, groups = sweep(0, probes=1)
    for value in (None, float("nan"), 0, 1):
        assert np.isnan(scores(logits[0], labels, groups, 0.0, value)["ece"])
    with pytest.raises(UserError, match=r"the prevalence is 3\.0, .* from 0 to 1"):
        scores(logits[0], labels, groups, 0.0, 3.0)
