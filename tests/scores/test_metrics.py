"""Every score against scikit-learn, ties included; calibration at the natural prevalence; many probes as one by one."""

import numpy as np
import pytest
from sklearn import metrics as sk

from utils.base.errors import UserError
from utils.scores import metrics
from utils.scores.calibration import at_prevalence
from utils.scores.metrics import all_scores, scores
from utils.scores.thresholds import choose_threshold, choose_thresholds


def sweep(seed, probes=7, n=400, groups=9, decimals=1):
    """Logits [probes, n] with many ties, labels [n], groups [n]."""
    random = np.random.default_rng(seed)
    labels = (random.random(n) < 0.3).astype(np.int8)
    quality = np.linspace(0, 4, probes)[:, None]
    return np.round(random.normal(size=(probes, n)) + quality * labels - 1, decimals), labels, random.integers(0, groups, n)


def reference(logits, labels, threshold):
    """The same scores from scikit-learn."""
    said, (fpr, tpr, _) = logits > threshold, sk.roc_curve(labels, logits, drop_intermediate=False)
    tn, fp, fn, tp = sk.confusion_matrix(labels, said).ravel()
    return {
        "n": len(labels),
        "pos_ratio": labels.mean(),
        "threshold": threshold,
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
        "balanced_accuracy": sk.balanced_accuracy_score(labels, said),
        "acc": sk.accuracy_score(labels, said),
        "pos_accuracy": sk.recall_score(labels, said),
        "recall": sk.recall_score(labels, said),
        "neg_accuracy": sk.recall_score(labels, said, pos_label=0),
        "precision": sk.precision_score(labels, said),
        "f1": sk.f1_score(labels, said),
        "auc": sk.roc_auc_score(labels, logits),
        "auprc": sk.average_precision_score(labels, logits),
        "tpr_at_1_fpr": tpr[fpr <= 0.01].max(),
        "fpr_at_95_tpr": fpr[tpr >= 0.95].min(),
        "balanced_accuracy_at_0": sk.balanced_accuracy_score(labels, logits > 0),
    }


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_all_scores_are_scikit_learns_ties_included(decimals):
    for seed in range(3):
        logits, labels, groups = sweep(seed, n=500, decimals=decimals)
        thresholds = choose_thresholds(logits, labels)
        for row, found in enumerate(all_scores(logits, labels, groups, thresholds)):
            for name, theirs in reference(logits[row], labels, thresholds[row]).items():
                assert found[name] == pytest.approx(theirs, abs=1e-12), name
            assert found["groups"] == len(set(groups)) and found["auc_low"] < found["auc"] < found["auc_high"]


@pytest.mark.parametrize("groups", [9, 40])
def test_many_probes_are_scored_as_one_by_one_whatever_the_chunk(groups, monkeypatch):
    logits, labels, group = sweep(0, groups=groups)
    thresholds = choose_thresholds(logits, labels)
    alone = [scores(row, labels, group, threshold, 0.05, 0.4) for row, threshold in zip(logits, thresholds, strict=True)]
    own_labels = np.stack([labels] * len(logits))
    calls = [all_scores(logits, labels, group, thresholds, 0.05, trained_prevalence=0.4)]
    monkeypatch.setattr(metrics, "CHUNK_CELLS", 3 * metrics.DRAWS)
    calls += [
        all_scores(logits, labels, group, thresholds, 0.05, trained_prevalence=0.4),
        all_scores(logits, own_labels, group, thresholds, 0.05, trained_prevalence=0.4),
    ]
    for found in calls:
        assert [list(row) for row in found] == [list(row) for row in alone]
        np.testing.assert_allclose([list(row.values()) for row in found], [list(row.values()) for row in alone], rtol=1e-12)
    assert all(type(value) in (int, float) for value in calls[0][0].values())
    ends = ("balanced_accuracy_low", "balanced_accuracy_high", "auc_low", "auc_high")
    for found, whole in zip(all_scores(logits, labels, group, thresholds, intervals=False), alone, strict=True):
        assert np.isnan([found[name] for name in (*ends, "brier", "ece")]).all()
        assert found["auc"] == pytest.approx(whole["auc"]) and list(found) == list(whole)


def test_one_class_or_no_example_leaves_nan_and_no_warning():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for label, defined in ((1, "pos_accuracy"), (0, "neg_accuracy")):
            found = scores([0.5, -1.0, 2.0, 2.0], [label] * 4, [0, 1, 2, 3], 0.0, prevalence=0.1)
            undefined = [
                "balanced_accuracy",
                "auc",
                "auprc",
                "brier",
                "ece",
                "tpr_at_1_fpr",
                "fpr_at_95_tpr",
                "auc_low",
                "balanced_accuracy_low",
                {"pos_accuracy": "neg_accuracy", "neg_accuracy": "recall"}[defined],
            ]
            assert np.isnan([found[name] for name in undefined]).all()
            assert found[defined] == {1: 0.75, 0: 0.25}[label] and found["acc"] == found[defined]
            many = scores(np.arange(80.0), [label] * 80, np.arange(80) % 40, 0.0, prevalence=0.1)  # a bootstrap's groups
            assert np.isnan([many[name] for name in undefined]).all()
        assert scores([0.5], [1], [0], 0.0)["acc"] == 1 and np.isnan(scores([], [], [], 0.0, 0.1)["acc"])


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
