"""Average precision (AUPRC) with its interval over groups (intervals.py), also at another prevalence than the sample's.

Measured coverage of the population's value (.552), groups of 20 to 60 examples with shifts and shares of positives of their
own (1000 samples, standard error .007): .942, .947, .946, .954, .935 of 5, 10, 20, 29, 50 groups. Of few groups the score
itself lies high: on average .563 of 5 groups, .558 of 10.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from utils.scores.intervals import Groups, holders, share_bounds
from utils.scores.rows import as_rows, divide

CELLS = 2**22  # of a matrix of draws or groups by distinct logits of positives; some eight are held


class AveragePrecision:
    """Of one row of logits [n], as a function of which groups are in the sample; a statistic as in intervals.py, whose
    rows are the prevalences.

    The sum over the positives, in falling order of their logits, of the precision among all that rank as high, over the
    number of positives; ties count as ranking as high (scikit-learn's average_precision_score). With a prevalence p the
    precision is p TPR / (p TPR + (1 - p) FPR), what it would be where p of the examples are positive; None: the sample's
    own. NaN where a class is absent.
    """

    def __init__(
        self, logits: ArrayLike, labels: ArrayLike, groups: Groups, prevalences: Sequence[float | None] = (None,)
    ) -> None:
        rows, truth = as_rows(logits, labels)
        ordered, true = rows[0], truth[0]
        self.prevalences, self.group_count = prevalences, groups.count
        distinct = np.unique(ordered[true])
        self.size = len(distinct)
        place = self.size - np.searchsorted(distinct, ordered, "right")  # how many of the positives' logits are greater
        order = np.argsort(place, kind="stable")
        self.place, self.true, self.group = place[order], true[order], groups.index[order].astype(np.int64)
        self.positives, self.negatives = groups.sums(np.stack([true, ~true]))
        self.holders = holders(self.positives[None], self.negatives[None]).repeat(len(prevalences))
        self.value = self.of(lambda by_group: by_group.sum(0, keepdims=True), 1)[:, 0]

    def left_out(self) -> np.ndarray:
        """[prevalences, groups]"""
        return self.of(lambda by_group: by_group.sum(0, keepdims=True) - by_group, self.group_count)

    def drawn(self, weights: np.ndarray) -> np.ndarray:
        """weights [draws, groups] -> [prevalences, draws]; sums in float32, which counts below 2^24 exactly."""
        weights = weights.astype(np.float32)
        return self.of(lambda by_group: weights @ by_group.astype(np.float32), len(weights))

    def of(self, sampled: Callable[[np.ndarray], np.ndarray], rows: int) -> np.ndarray:
        """[prevalences, rows]: the score in each of the samples that `sampled` makes, [groups, k] to sums over the groups
        [rows, k].
        """
        positives, negatives = (sampled(part[:, None]) for part in (self.positives, self.negatives))
        ratios = [1.0 if p is None else (1 - p) / p * divide(positives, negatives) for p in self.prevalences]
        total, tp, fp = np.zeros((len(ratios), rows)), np.zeros((rows, 1)), np.zeros((rows, 1))
        for start, stop in self.blocks(max(rows, self.group_count)):
            new, more = (sampled(part) for part in self.counts(start, stop))
            tp_here, fp_here = tp + np.cumsum(new, axis=1), fp + np.cumsum(more, axis=1)
            for index, ratio in enumerate(ratios):  # what a negative counts of a positive
                total[index] += (new * np.nan_to_num(divide(tp_here, tp_here + ratio * fp_here))).sum(1)
            tp, fp = tp_here[:, -1:], fp_here[:, -1:]
        return np.where(negatives[:, 0] > 0, divide(total, positives[:, 0]), np.nan)

    def blocks(self, rows: int) -> list[tuple[int, int]]:
        step = max(1, CELLS // rows)
        return [(start, min(start + step, self.size)) for start in range(0, self.size, step)]

    def counts(self, start: int, stop: int) -> list[np.ndarray]:
        """Positives, and negatives, of each group at the places from start to stop - 1: two of [groups, stop - start]."""
        first, last = np.searchsorted(self.place, [start, stop])
        cell = self.group[first:last] * (stop - start) + self.place[first:last] - start
        true, shape = self.true[first:last], (self.group_count, stop - start)
        return [np.bincount(cell[mask], minlength=shape[0] * shape[1]).reshape(shape) * 1.0 for mask in (true, ~true)]


def average_precisions(
    logits: np.ndarray, labels: ArrayLike, groups: ArrayLike, prevalences: Sequence[float | None] = (None,)
) -> np.ndarray:
    """float64 [probes, prevalences, 3]: score, low and high end, of logits [probes, n] on the same labels and groups [n]."""
    grouped, result = Groups(groups), np.full((len(logits), len(prevalences), 3), np.nan)
    for row, values in enumerate(logits):
        statistic = AveragePrecision(values, labels, grouped, prevalences)
        result[row] = np.stack([statistic.value, *share_bounds(statistic, grouped.count)], axis=1)
    return result
