"""Compute the difference of two probes' scores on the same examples, with its 95 % interval over groups."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from utils.scores.intervals import AUROC, BalancedAccuracy, Classes, Groups, Score, combined, correlation
from utils.scores.ranking import Ranked
from utils.scores.rows import as_rows, probe_chunks

DIFFERENCES_OF = ("balanced_accuracy", "auc")
Side = tuple[ArrayLike, ArrayLike]  # logits [pairs, n] and thresholds [pairs] of the same probes
NO_DIFFERENCE = 1e-12  # influences closer than this differ by rounding


def difference_bounds(one: Score, other: Score) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ends of the interval of one score minus another over the same groups, each [pairs]; NaN for none.

    The ends of the two scores' own intervals are combined by the square root of the sum of squared distances, less what
    correlates (MOVER: Zou and Donner 2008). So the interval is wide where one score lies at its bound and shows no spread.
    There is none for two scores that the same groups move alike, since they do not differ in any sample.
    """
    correlated = -correlation(one, other)
    (low, high), (other_low, other_high) = one.bounds(), other.bounds()
    down = combined(one.value - low, other_high - other.value, correlated)
    up = combined(high - one.value, other.value - other_low, correlated)
    difference, at_bound = one.value - other.value, (one.value == other.value) & np.isin(one.value, (0, 1))
    alike = np.abs(one.influence() - other.influence()).max(1, initial=0) < NO_DIFFERENCE
    none = alike & ~at_bound & (difference == 0) | ~(down + up > 0)
    return np.where(none, np.nan, difference - down), np.where(none, np.nan, difference + up)


def paired_difference(
    logits_a: ArrayLike,
    logits_b: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    threshold_a: float,
    threshold_b: float,
    metric: str,
) -> tuple[float, float, float]:
    """Compute probe a's score minus probe b's, with its interval: (difference, low, high).

    logits, labels and groups: [n]; metric: one of DIFFERENCES_OF. "auc" ignores the thresholds.

    Both are scored on the same groups, so that what makes a group easy for both cancels out. The ends are NaN where one of
    the scores has no interval (see utils.scores.intervals), and for two probes that score alike in every sample of groups.
    """
    found = paired_differences(logits_a, logits_b, labels, groups, [threshold_a], [threshold_b], metric)
    difference, low, high = (float(values[0]) for values in found)
    return difference, low, high


def paired_differences(
    logits_a: ArrayLike,
    logits_b: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    thresholds_a: ArrayLike,
    thresholds_b: ArrayLike,
    metric: str,
) -> tuple[np.ndarray, ...]:
    """Compute many paired differences at once: (differences, lows, highs), each [pairs].

    logits: [pairs, n]; labels: [n] or [pairs, n]; groups: [n]; thresholds: [pairs]. Raises ValueError for another metric.
    """
    if metric not in DIFFERENCES_OF:
        raise ValueError(f"no paired difference of {metric!r}: the metrics are {', '.join(DIFFERENCES_OF)}")
    sides = (logits_a, thresholds_a), (logits_b, thresholds_b)
    pairs = statistics_of_pairs(sides, labels, groups, metric)
    found = [(one.value - other.value, *difference_bounds(one, other)) for one, other in pairs]
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))


def statistics_of_pairs(
    sides: tuple[Side, Side], labels: ArrayLike, groups: ArrayLike, metric: str
) -> Iterator[tuple[BalancedAccuracy | AUROC, BalancedAccuracy | AUROC]]:
    """Yield both sides' scores of a chunk of pairs after the other: (logits, thresholds) of each; the rest as in
    `paired_differences`.
    """
    grouped, truth = Groups(groups), np.asarray(labels)
    rows = [(np.atleast_2d(np.asarray(logits)), np.asarray(thresholds, dtype=float)) for logits, thresholds in sides]
    for start, stop in probe_chunks(*rows[0][0].shape):
        of_chunk = truth if truth.ndim == 1 else truth[start:stop]
        one, other = (
            statistic(metric, logits[start:stop], of_chunk, grouped, thresholds[start:stop]) for logits, thresholds in rows
        )
        yield one, other


def statistic(
    metric: str, logits: ArrayLike, labels: ArrayLike, groups: Groups, thresholds: np.ndarray
) -> BalancedAccuracy | AUROC:
    logits, true = as_rows(logits, labels)
    return AUROC(Ranked.of(logits, true), groups) if metric == "auc" else BalancedAccuracy(logits, true, groups, thresholds)


@dataclass(frozen=True)
class ByGroup:
    """A score of several probes on the same examples: all that a paired difference needs, once logits are let go.

    values                float64 [probes, 3]: the score and the ends of its interval, NaN for none
    influences            float64 [probes, groups]: each group's linear influence on the score
    positives, negatives  [groups]: how many examples of each class a group holds
    """

    values: np.ndarray
    influences: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    @classmethod
    def of(cls, metric: str, logits: np.ndarray, labels: ArrayLike, groups: ArrayLike, thresholds: np.ndarray) -> "ByGroup":
        """Score logits [probes, n] at thresholds [probes]; labels, groups: [n]; metric: "auc" or "balanced_accuracy"."""
        grouped, true = Groups(groups), np.asarray(labels) == 1
        values, influences = [], []
        for start, stop in probe_chunks(*logits.shape):
            found = statistic(metric, logits[start:stop], labels, grouped, thresholds[start:stop])
            values.append(np.stack([found.value, *found.bounds()], axis=1))
            influences.append(found.influence())
        counts = (grouped.sums(mask[None])[0] for mask in (true, ~true))
        return cls(np.concatenate(values), np.concatenate(influences), *counts)

    def __getitem__(self, rows: list[int]) -> "ByGroup":
        """Select probes by their numbers."""
        return ByGroup(self.values[rows], self.influences[rows], self.positives, self.negatives)

    @property
    def value(self) -> np.ndarray:
        return self.values[:, 0]

    @property
    def weights(self) -> np.ndarray:
        """Give the share of each group, [1, groups]: it is that of all probes."""
        return Classes(self.positives[None], self.negatives[None]).weights

    def influence(self) -> np.ndarray:
        return self.influences

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.values[:, 1], self.values[:, 2]

    def is_like(self, other: "ByGroup") -> bool:
        """Say whether the scores are equal and every group moves them alike, so that they differ in no sample of groups."""
        moved = np.abs(self.influences - other.influences).max(initial=0)
        return bool(moved < NO_DIFFERENCE and np.abs(self.value - other.value).max(initial=0) < NO_DIFFERENCE)

    def minus(self, other: "ByGroup") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute paired differences from the same number of probes: (differences, lows, highs), each [probes].

        other: on the same examples. The ends are those of `paired_differences`.
        """
        return self.value - other.value, *difference_bounds(self, other)
