"""Every score against scikit-learn, ties included; many probes as one by one."""

import numpy as np
import pytest
from sklearn import metrics as sk

from many_probes import sweep
from utils.scores import rows
from utils.scores.metrics import all_scores, scores
from utils.scores.thresholds import choose_threshold, choose_thresholds


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
    monkeypatch.setattr(rows, "CHUNK_CELLS", 3 * logits.shape[1])
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


def test_scores_equal_scikit_learn_ties_included():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 500)
    logits = np.round(random.normal(size=500) + labels, 1)
    groups = random.integers(0, 8, 500)
    threshold = choose_threshold(logits, labels)
    found, said = scores(logits, labels, groups, threshold), logits > threshold
    tn, fp, fn, tp = sk.confusion_matrix(labels, said).ravel()
    assert (found["tn"], found["fp"], found["fn"], found["tp"]) == (tn, fp, fn, tp)
    for name, theirs in (
        ("balanced_accuracy", sk.balanced_accuracy_score(labels, said)),
        ("acc", sk.accuracy_score(labels, said)),
        ("f1", sk.f1_score(labels, said)),
        ("precision", sk.precision_score(labels, said)),
        ("pos_accuracy", sk.recall_score(labels, said)),
        ("auc", sk.roc_auc_score(labels, logits)),
    ):
        assert found[name] == pytest.approx(theirs, abs=1e-12), name
    best = max(sk.balanced_accuracy_score(labels, logits > cut) for cut in np.unique(logits))
    assert found["balanced_accuracy"] == pytest.approx(best)


def test_an_undefined_score_is_nan_and_not_zero():
    found = scores([1.0, 2.0], [1, 1], [0, 1], 0.0)
    assert all(np.isnan(found[name]) for name in ("auc", "neg_accuracy", "balanced_accuracy", "balanced_accuracy_low"))


def test_a_logit_that_is_no_number_is_refused_and_infinite_ones_rank():
    with pytest.raises(ValueError, match="1 of 4 logits are NaN"):
        scores(np.array([0.1, np.nan, 0.3, 0.4]), np.array([0, 1, 0, 1]), np.arange(4), 0.2)
    assert scores(np.array([-np.inf, 1, 0, np.inf]), np.array([0, 1, 0, 1]), np.arange(4), 0.5)["auc"] == 1
