"""Score logits against labels: counts at a threshold chosen on validation, the ranking, and the calibration.

`scores` of one probe and `all_scores` of many agree; all of them come from one sort of each row of logits.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from utils.scores.calibration import calibration
from utils.scores.intervals import AUROC, BalancedAccuracy, Groups, interval
from utils.scores.ranking import Ranked, ranking
from utils.scores.rows import as_rows, divide, probe_chunks


def at_threshold(logits: ArrayLike, labels: ArrayLike, threshold: float) -> dict[str, float]:
    """Count, and compute the rates that follow from the counts; a rate of an absent class is NaN."""
    logits, true = as_rows(logits, labels)
    return one_row(rates(logits, true, np.array([threshold])), 0)


def rates(logits: np.ndarray, true: np.ndarray, thresholds: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the same for many probes, each [probes]. logits: [probes, n]; true: bool [probes, n]; thresholds: [probes]."""
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


def scores(
    logits: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    threshold: float,
    prevalence: float | None = None,
    trained_prevalence: float = 0.5,
) -> dict[str, float]:
    """Compute all scores of one probe or baseline on one split, with intervals over groups: a flat dict, as in the tables.

    logits, labels (1 positive) and groups: [n]; prevalence: the positives' natural share, without which Brier score and ECE
    are NaN; trained_prevalence: their share in training, weights included (see utils.scores.calibration).
    """
    return all_scores(
        np.asarray(logits)[None], labels, groups, [threshold], prevalence, trained_prevalence=trained_prevalence
    )[0]


def all_scores(
    logits: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    thresholds: ArrayLike,
    prevalence: float | None = None,
    intervals: bool = True,
    trained_prevalence: float = 0.5,
) -> list[dict]:
    """Compute `scores` of many probes on the same examples: one dict per probe; without `intervals` their ends are NaN.

    logits: [probes, n]; labels: [n] or [probes, n]; groups: [n]; thresholds: [probes]. Probes are scored in chunks.
    """
    logits, labels = np.atleast_2d(np.asarray(logits)), np.asarray(labels)
    grouped, result = Groups(groups), []
    thresholds = np.asarray(thresholds, dtype=np.float64)
    for start, stop in probe_chunks(*logits.shape):
        rows = as_rows(logits[start:stop], labels if labels.ndim == 1 else labels[start:stop])
        found = score_rows(*rows, grouped, thresholds[start:stop], (prevalence, trained_prevalence), intervals)
        result += [one_row(found, row) for row in range(stop - start)]
    return result


def score_rows(
    logits: np.ndarray,
    true: np.ndarray,
    groups: Groups,
    thresholds: np.ndarray,
    prevalences: tuple[float | None, float],
    intervals: bool,
) -> dict[str, np.ndarray]:
    """Compute the scores of one chunk, {name: [probes]}, from logits float64 and true bool, both [probes, n]."""
    probes, n = logits.shape
    ranked = Ranked.of(logits, true)
    auc = AUROC(ranked, groups)
    absent = (np.full(probes, np.nan),) * 2
    low, high = interval(BalancedAccuracy(logits, true, groups, thresholds)) if intervals else absent
    auc_low, auc_high = interval(auc) if intervals else absent
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


def one_row(found: Mapping[str, np.ndarray], row: int) -> dict[str, float]:
    """Give one row of {name: [probes]} as Python's own numbers."""
    return {name: values[row].item() for name, values in found.items()}
