"""Compute average precision (AUPRC) and its interval over groups, also at a prevalence other than the sample's.

The intervals are those of intervals.py. Measured coverage of the population's value with 8, 30 and 100 groups (4,000 samples
a cell, standard error .004; `bench/coverage.py --average_precision`): .950, .950 and .949 with groups of 20 examples; .961,
.946 and .939 with log-normal sizes; .944, .915 and .925 with 1 % positives in groups of 100. Most intervals that miss lie
above: with few positives average precision is biased upwards.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from utils.scores.intervals import Classes, Groups, effective_number, interval, share_bounds
from utils.scores.rows import as_rows, divide

CELLS = 2**22  # of a matrix of draws or groups by distinct logits of positives; some eight are held


class AveragePrecision:
    """Average precision of one row of logits [n], as a function of which groups are in the sample.

    This is a statistic as in intervals.py, whose rows are the prevalences. It is the mean, over the positives, of the
    precision among all examples that rank at least as high; ties count as ranking as high (scikit-learn's
    average_precision_score). With a prevalence p the precision is p TPR / (p TPR + (1 - p) FPR), as it would be if a share p
    of the examples were positive; with None it is the sample's own. NaN where a class is absent.
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
        classes = Classes(self.positives[None], self.negatives[None])
        self.weights = classes.weights
        self.holders, self.degrees = (values.repeat(len(prevalences)) for values in (classes.holders, classes.degrees))
        self.value = self.of(lambda by_group: by_group.sum(0, keepdims=True), 1)[:, 0]
        self.without = self.left_out()
        self.erring = effective_number(self._lost())

    def influence(self) -> np.ndarray:
        """Compute how far each group moves the score, by leaving it out: [prevalences, groups]."""
        return (self.value[:, None] - self.without) * (1 - self.weights)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return share_bounds(self)

    def _lost(self) -> np.ndarray:
        """Compute how much of the missing precision goes with each group, or of the precision where that is below .5."""
        missing = np.where(self.value > 0.5, 1 - self.value, self.value)[:, None] * self.positives.sum()
        without = np.where(self.value[:, None] > 0.5, 1 - self.without, self.without)
        return np.maximum(missing - without * (self.positives.sum() - self.positives), 0)

    def left_out(self) -> np.ndarray:
        """Compute the score without each group: [prevalences, groups]."""
        return self.of(lambda by_group: by_group.sum(0, keepdims=True) - by_group, self.group_count)

    def of(self, sampled: Callable[[np.ndarray], np.ndarray], rows: int) -> np.ndarray:
        """Compute the score of each sample that `sampled` makes: [prevalences, rows].

        sampled: turns [groups, k] into sums over the groups, [rows, k].
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
        """Count each group's positives and negatives at the places start to stop - 1: two of [groups, stop - start]."""
        first, last = np.searchsorted(self.place, [start, stop])
        cell = self.group[first:last] * (stop - start) + self.place[first:last] - start
        true, shape = self.true[first:last], (self.group_count, stop - start)
        return [np.bincount(cell[mask], minlength=shape[0] * shape[1]).reshape(shape) * 1.0 for mask in (true, ~true)]


def average_precisions(
    logits: np.ndarray, labels: ArrayLike, groups: ArrayLike, prevalences: Sequence[float | None] = (None,)
) -> np.ndarray:
    """Compute the score and the ends of its interval: float64 [probes, prevalences, 3].

    logits: [probes, n]; labels, groups: [n], the same for all probes.
    """
    grouped, result = Groups(groups), np.full((len(logits), len(prevalences), 3), np.nan)
    for row, values in enumerate(logits):
        statistic = AveragePrecision(values, labels, grouped, prevalences)
        result[row] = np.stack([statistic.value, *interval(statistic)], axis=1)
    return result
