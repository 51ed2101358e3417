"""Scores of logits against labels: a threshold chosen on validation, counts at it, the ranking, and the calibration.

`scores` of one probe and `all_scores` of many give the same; all of them come from one sort of each row of logits.
"""

import numpy as np

from utils.scores.calibration import calibration
from utils.scores.intervals import AUROC, DRAWS, BalancedAccuracy, Groups, Ranked, as_rows, divide, share_bounds, wins

CHUNK_CELLS = 2**19  # logits that are scored at a time; some twenty matrices of this size (4 MiB) are held
LOW_FPR, HIGH_TPR = 0.01, 0.95


def ratio(part, whole) -> float:
    return float(part / whole) if whole else float("nan")


def counts(logits, labels, threshold) -> dict[str, int]:
    said, true = np.asarray(logits, dtype=np.float64) > threshold, np.asarray(labels) == 1
    return {
        "tp": int((said & true).sum()),
        "fp": int((said & ~true).sum()),
        "tn": int((~said & ~true).sum()),
        "fn": int((~said & true).sum()),
    }


def at_threshold(logits, labels, threshold) -> dict[str, float]:
    """Counts, and the rates that follow from them; a rate of an absent class is NaN."""
    logits, true = as_rows(logits, labels)
    return plain(rates(logits, true, np.array([threshold])), 0)


def rates(logits, true, thresholds) -> dict[str, np.ndarray]:
    """The same for many probes, each [probes]: logits and true (bool) [probes, n], thresholds [probes]."""
    said = logits > thresholds[:, None]
    tp, fp, positives = (said & true).sum(1), (said & ~true).sum(1), true.sum(1)
    negatives = true.shape[1] - positives
    tn, fn = negatives - fp, positives - tp
    recall, specificity = divide(tp, positives), divide(tn, negatives)
    return {
        "balanced_accuracy": (recall + specificity) / 2,
        "pos_accuracy": recall,
        "neg_accuracy": specificity,
        "acc": divide(tp + tn, positives + negatives),
        "precision": divide(tp, tp + fp),
        "recall": recall,
        "f1": divide(2 * tp, 2 * tp + fp + fn),
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
    }


def auroc(logits, labels) -> float:
    """Area under the ROC curve from logits, ties half; NaN where a class is absent."""
    logits, true = np.asarray(logits), np.asarray(labels) == 1
    if true.all() or not true.any():
        return float("nan")
    return float(wins(logits[true], logits[~true]).mean() / (~true).sum())


def ranking(ranked) -> dict[str, np.ndarray]:
    """Each [probes]; NaN where a class is absent.

    auprc: average precision, the sum over thresholds of (recall - recall at the threshold above) x precision, no
    interpolation (scikit-learn's). tpr_at_1_fpr: the largest true positive rate of a threshold whose false positive rate
    is at most 0.01; fpr_at_95_tpr: the smallest false positive rate of one whose true positive rate is at least 0.95.
    """
    n, totals = ranked.positive.shape[1], ranked.positive.sum(1, keepdims=True)
    fp = (n - totals) - ranked.negatives_below  # where the run of each column is the lowest that is called positive
    tp = n - ranked.first - fp
    tpr, fpr = divide(tp, totals), divide(fp, n - totals)
    precise = (ranked.positive * (tp / (tp + fp))).sum(1)
    found = {
        "auprc": divide(precise, totals[:, 0]),
        "tpr_at_1_fpr": np.where(fpr <= LOW_FPR, tpr, 0).max(1, initial=0),
        "fpr_at_95_tpr": np.where(tpr >= HIGH_TPR, fpr, 1).min(1, initial=1),
    }
    both = ((totals > 0) & (totals < n))[:, 0]
    return {name: np.where(both, values, np.nan) for name, values in found.items()}


def scores(logits, labels, groups, threshold, prevalence=None, trained_prevalence=0.5) -> dict[str, float]:
    """All scores of one probe or baseline on one split, intervals over groups included. A flat dict, as in the tables.

    logits, labels (1 positive) and groups [n]; prevalence: the positives' natural share, without which Brier score and
    ECE are NaN; trained_prevalence: their share in training, weights counted (see utils.scores.calibration).
    """
    return all_scores([logits], labels, groups, [threshold], prevalence, trained_prevalence=trained_prevalence)[0]


def all_scores(logits, labels, groups, thresholds, prevalence=None, intervals=True, trained_prevalence=0.5) -> list[dict]:
    """`scores` of many probes on the same examples, one dict a probe; without `intervals` their ends are NaN.

    logits [probes, n], labels [n] or [probes, n], groups [n], thresholds [probes]; a chunk of probes at a time.
    """
    logits, labels = np.atleast_2d(np.asarray(logits)), np.asarray(labels)
    thresholds, groups, result = np.asarray(thresholds, dtype=np.float64), Groups(groups), []
    for start, stop in chunks(*logits.shape):
        rows = as_rows(logits[start:stop], labels if labels.ndim == 1 else labels[start:stop])
        found = score_rows(*rows, groups, thresholds[start:stop], (prevalence, trained_prevalence), intervals)
        result += [plain(found, row) for row in range(stop - start)]
    return result


def score_rows(logits, true, groups, thresholds, prevalences, intervals) -> dict[str, np.ndarray]:
    """logits float64 and true bool [probes, n] -> {name: [probes]}."""
    probes, n = logits.shape
    ranked = Ranked.of(logits, true)
    auc = AUROC(ranked, groups)
    absent = (np.full(probes, np.nan),) * 2
    low, high = share_bounds(BalancedAccuracy(logits, true, groups, thresholds), groups.count) if intervals else absent
    auc_low, auc_high = share_bounds(auc, groups.count) if intervals else absent
    return {
        "n": np.full(probes, n),
        "pos_ratio": divide(true.sum(1), n),
        "threshold": thresholds,
        **rates(logits, true, thresholds),
        "balanced_accuracy_low": low,
        "balanced_accuracy_high": high,
        "auc": auc.value,
        "auc_low": auc_low,
        "auc_high": auc_high,
        **ranking(ranked),
        **calibration(logits, true, *prevalences),
        "balanced_accuracy_at_0": rates(logits, true, np.zeros(probes))["balanced_accuracy"],
        "groups": np.full(probes, groups.count),
    }


def plain(found, row) -> dict[str, float]:
    """One row of {name: [probes]} as Python's own numbers."""
    return {name: values[row].item() for name, values in found.items()}


def chunks(probes, n):
    """(start, stop) of so many probes at a time that neither their logits nor their scores by draw pass CHUNK_CELLS."""
    size = max(1, CHUNK_CELLS // max(n, DRAWS))
    return [(start, min(start + size, probes)) for start in range(0, probes, size)]
