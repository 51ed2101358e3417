"""Compute the difference of two probes' scores on the same examples, with its 95 % interval over groups."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from utils.scores.intervals import AUROC, BalancedAccuracy, Groups, standard_error, t_quantile
from utils.scores.ranking import Ranked
from utils.scores.rows import as_rows, probe_chunks

DIFFERENCES_OF = ("balanced_accuracy", "auc")


@dataclass(frozen=True)
class Difference:
    """The difference of two statistics (utils.scores.intervals), both over the same sample of groups."""

    one: BalancedAccuracy | AUROC
    other: BalancedAccuracy | AUROC

    @property
    def value(self) -> np.ndarray:
        return self.one.value - self.other.value

    @property
    def holders(self) -> np.ndarray:
        return self.one.holders

    def left_out(self) -> np.ndarray:
        return self.one.left_out() - self.other.left_out()

    def drawn(self, weights: np.ndarray) -> np.ndarray:
        return self.one.drawn(weights) - self.other.drawn(weights)


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

    Both are scored on the same groups, so that what makes a group easy for both cancels out. Standard error and degrees of
    freedom are as in utils.scores.intervals; the interval is symmetric about the difference and clipped to [-1, 1]. NaN
    where undefined; (0, 0, 0) for two probes that score the same in every sample of groups.
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
    grouped, truth = Groups(groups), np.asarray(labels)
    sides = [
        (np.atleast_2d(np.asarray(logits)), np.asarray(thresholds, dtype=np.float64))
        for logits, thresholds in ((logits_a, thresholds_a), (logits_b, thresholds_b))
    ]
    result = np.empty((3, len(sides[0][0])))
    for start, stop in probe_chunks(*sides[0][0].shape):
        of_chunk = truth if truth.ndim == 1 else truth[start:stop]
        difference = Difference(
            *(
                statistic(metric, logits[start:stop], of_chunk, grouped, thresholds[start:stop])
                for logits, thresholds in sides
            )
        )
        wide = t_quantile(difference.holders) * standard_error(difference, grouped.count)
        result[:, start:stop] = difference.value + np.stack([np.zeros_like(wide), -wide, wide])
    return result[0], *np.clip(result[1:], -1, 1)


def statistic(
    metric: str, logits: ArrayLike, labels: ArrayLike, groups: Groups, thresholds: np.ndarray
) -> BalancedAccuracy | AUROC:
    logits, true = as_rows(logits, labels)
    return AUROC(Ranked.of(logits, true), groups) if metric == "auc" else BalancedAccuracy(logits, true, groups, thresholds)
