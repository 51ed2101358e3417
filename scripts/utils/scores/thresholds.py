"""The logit above which a probe says "positive", chosen on validation."""

import numpy as np

from utils.scores.intervals import as_rows
from utils.scores.metrics import chunks


def choose_threshold(logits, labels) -> float:
    """The logit above which "positive" is said so that balanced accuracy is greatest: midway between two logits.

    Among equally good ones the nearest to 0; 0 where no threshold parts the logits or a class is absent.

        choose_threshold([-3., -1., 2., 5.], [0, 0, 1, 1]) -> 0.5
    """
    return float(choose_thresholds([logits], labels)[0])


def choose_thresholds(logits, labels) -> np.ndarray:
    """The same for many probes: logits [probes, n], labels [n] or [probes, n], to float64 [probes]."""
    logits, true = as_rows(logits, labels)
    result = np.zeros(len(logits))
    if logits.shape[1] < 2:
        return result
    for start, stop in chunks(*logits.shape):
        order = np.argsort(logits[start:stop], axis=1, kind="stable")
        values, positive = (np.take_along_axis(matrix[start:stop], order, axis=1) for matrix in (logits, true))
        positives = positive.sum(1, keepdims=True)
        negatives = values.shape[1] - positives
        below = np.cumsum(positive, axis=1)[:, :-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            balanced = (positives - below) / positives + (np.arange(1, values.shape[1]) - below) / negatives
        middle = values[:, :-1] / 2 + values[:, 1:] / 2
        balanced[(values[:, 1:] <= values[:, :-1]) | np.isnan(balanced)] = -np.inf
        best = balanced >= balanced.max(1, keepdims=True) - 1e-12
        nearest = np.where(best, np.abs(middle), np.inf).argmin(1)[:, None]
        found = np.isfinite(np.take_along_axis(balanced, nearest, axis=1))
        result[start:stop] = np.where(found, np.take_along_axis(middle, nearest, axis=1), 0.0)[:, 0]
    return result
