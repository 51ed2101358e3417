"""Rank rows of logits, and compute what follows from the order alone: AUROC, average precision, rates at fixed rates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from utils.scores.rows import divide

LOW_FPR, HIGH_TPR = 0.01, 0.95


@dataclass(frozen=True)
class Ranked:
    """Rows of logits in rising order. All arrays are [probes, n]; column k holds the k-th smallest logit of the row."""

    order: np.ndarray  # which example it is
    logits: np.ndarray
    positive: np.ndarray  # bool
    negatives_below: np.ndarray  # how many negatives have a smaller logit
    negatives_through: np.ndarray  # a logit no greater
    first: np.ndarray  # the first column of the run of equal logits that the column is in
    last: np.ndarray  # the last

    @classmethod
    def of(cls, logits: np.ndarray, true: np.ndarray) -> "Ranked":
        order = np.argsort(logits, axis=1)
        values, positive = (np.take_along_axis(matrix, order, axis=1) for matrix in (logits, true))
        return cls(order, values, positive, *counted(positive, values[:, 1:] > values[:, :-1]))

    def wins(self) -> np.ndarray:
        """Count the examples of the other class on the right side of each: float64 [probes, n]; ties count half."""
        negatives = (self.negatives_below + self.negatives_through) / 2
        positives = (self.first + self.last + 1) / 2 - negatives
        return np.where(self.positive, negatives, self.positive.sum(1, keepdims=True) - positives)


def counted(positive: np.ndarray, rises: np.ndarray) -> tuple[np.ndarray, ...]:
    """Count negatives around the run of equal values that each column is in.

    Returns (negatives before the run, negatives to its end, its first column, its last), each [probes, n]. rises: bool
    [probes, n - 1], where the next column begins another run.
    """
    probes, n = positive.shape
    columns = np.broadcast_to(np.arange(n), (probes, n))
    negatives = np.zeros((probes, n + 1), dtype=np.int64)
    np.cumsum(~positive, axis=1, out=negatives[:, 1:])
    if rises.all():
        return negatives[:, :-1], negatives[:, 1:], columns, columns
    edge = np.ones((probes, 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.hstack([edge, rises]), columns, 0), axis=1)
    last = np.minimum.accumulate(np.where(np.hstack([rises, edge]), columns, n)[:, ::-1], axis=1)[:, ::-1]
    return (np.take_along_axis(negatives, first, axis=1), np.take_along_axis(negatives, last + 1, axis=1), first, last)


def ranking(ranked: Ranked) -> dict[str, np.ndarray]:
    """Compute the scores of a ranking, each [probes]; NaN where a class is absent.

    auprc: average precision, the sum over thresholds of (recall - recall at the threshold above) x precision, without
    interpolation (as in scikit-learn). tpr_at_1_fpr: the largest true positive rate of a threshold whose false positive rate
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


def auroc(logits: ArrayLike, labels: ArrayLike) -> float:
    """Compute the area under the ROC curve from logits, ties counted half; NaN where a class is absent."""
    logits, true = np.asarray(logits), np.asarray(labels) == 1
    if true.all() or not true.any():
        return float("nan")
    return float(wins(logits[true], logits[~true]).mean() / (~true).sum())


def wins(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Count the negatives that each positive ranks above: [positives]; a tie counts half."""
    ordered = np.sort(negatives)
    return (np.searchsorted(ordered, positives, "left") + np.searchsorted(ordered, positives, "right")) / 2
