"""Scores of logits against labels: a threshold chosen on validation, counts at it, and the ranking."""

import numpy as np

from utils.intervals import auroc_interval, balanced_accuracy_interval, wins


def choose_threshold(logits, labels) -> float:
    """The logit above which "positive" is said so that balanced accuracy is greatest: midway between two logits.

    Among equally good ones the nearest to 0; 0 where no threshold parts the logits or a class is absent.

        choose_threshold([-3., -1., 2., 5.], [0, 0, 1, 1]) -> 0.5
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    order = np.argsort(logits, kind="stable")
    values, positive = logits[order], labels[order] == 1
    positives = positive.sum()
    negatives = len(values) - positives
    cuts = np.flatnonzero(values[1:] > values[:-1])
    if not len(cuts) or not positives or not negatives:
        return 0.0
    below = np.cumsum(positive)[cuts]
    balanced = (positives - below) / positives + (cuts + 1 - below) / negatives
    middle = values[cuts] / 2 + values[cuts + 1] / 2
    best = balanced >= balanced.max() - 1e-12
    return float(middle[best][np.argmin(np.abs(middle[best]))])


def ratio(part, whole) -> float:
    return float(part / whole) if whole else float("nan")


def counts(logits, labels, threshold) -> dict[str, int]:
    said, true = np.asarray(logits, dtype=np.float64) > threshold, np.asarray(labels) == 1
    return {"tp": int((said & true).sum()), "fp": int((said & ~true).sum()),
            "tn": int((~said & ~true).sum()), "fn": int((~said & true).sum())}


def at_threshold(logits, labels, threshold) -> dict[str, float]:
    """Counts, and the rates that follow from them; a rate of an absent class is NaN."""
    count = counts(logits, labels, threshold)
    tp, fp, tn, fn = count.values()
    pos_accuracy, neg_accuracy = ratio(tp, tp + fn), ratio(tn, tn + fp)
    return {"balanced_accuracy": (pos_accuracy + neg_accuracy) / 2, "pos_accuracy": pos_accuracy,
            "neg_accuracy": neg_accuracy, "acc": ratio(tp + tn, tp + fp + tn + fn), "precision": ratio(tp, tp + fp),
            "f1": ratio(2 * tp, 2 * tp + fp + fn), **count}


def auroc(logits, labels) -> float:
    """Area under the ROC curve from logits, ties half; NaN where a class is absent."""
    logits, true = np.asarray(logits), np.asarray(labels) == 1
    if true.all() or not true.any():
        return float("nan")
    return float(wins(logits[true], logits[~true]).mean() / (~true).sum())


def scores(logits, labels, groups, threshold) -> dict[str, float]:
    """All scores of one probe or baseline on one split, intervals over groups included. A flat dict, as in the tables."""
    logits = np.asarray(logits, dtype=np.float64)
    low, high = balanced_accuracy_interval(logits, labels, groups, threshold)
    auc_low, auc_high = auroc_interval(logits, labels, groups)
    return {"n": len(labels), "pos_ratio": float(np.mean(np.asarray(labels) == 1)), "threshold": threshold,
            **at_threshold(logits, labels, threshold), "balanced_accuracy_low": low, "balanced_accuracy_high": high,
            "auc": auroc(logits, labels), "auc_low": auc_low, "auc_high": auc_high,
            "balanced_accuracy_at_0": at_threshold(logits, labels, 0.0)["balanced_accuracy"],
            "groups": len(set(np.asarray(groups).tolist()))}
