"""Choose the logit above which a probe says "positive".

`choose_threshold` does it on validation; `operating_points` lists what others would do there; `fitted_thresholds` fits it to
the scored examples, at 1 % false positives.
"""

import numpy as np
from numpy.typing import ArrayLike

from utils.scores.ranking import LOW_FPR, Ranked
from utils.scores.rows import as_rows, divide, probe_chunks

MOST_POINTS = 40  # of a curve that is stored: enough to keep any promise nearly


def choose_threshold(logits: ArrayLike, labels: ArrayLike) -> float:
    """Choose the threshold of the greatest balanced accuracy: midway between two logits.

    Of equally good ones the nearest to 0; 0 where no threshold separates the logits or a class is absent.

        choose_threshold([-3., -1., 2., 5.], [0, 0, 1, 1]) -> 0.5
    """
    return float(choose_thresholds(np.asarray(logits)[None], labels)[0])


def choose_thresholds(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Choose the thresholds of many probes, float64 [probes]. logits: [probes, n]; labels: [n] or [probes, n]."""
    logits, true = as_rows(logits, labels)
    result = np.zeros(len(logits))
    if logits.shape[1] < 2:
        return result
    for start, stop in probe_chunks(*logits.shape):
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


def operating_points(logits: ArrayLike, labels: ArrayLike, most: int = MOST_POINTS) -> dict[str, list[float]] | None:
    """List thresholds with the shares of negatives and positives above them; None where a class is absent.

    Thresholds rise, each midway between two logits, the last above all. Of many examples some thresholds are left out:
    those that stay are evenly spaced in the logarithm of the false alarms, and in the positives found, some `most` of each.

        operating_points([-1., 2., 3.], [0, 0, 1])
            -> thresholds [-2, .5, 2.5, 4], false_alarms [1, .5, 0, 0], found [1, 1, 1, 0]
    """
    values, positive = np.asarray(logits, dtype=np.float64), np.asarray(labels) == 1
    kept = np.isfinite(values) & (np.asarray(labels) >= 0)
    values, positive = values[kept], positive[kept]
    if positive.all() or not positive.any():
        return None
    order = np.argsort(values, kind="stable")
    values, positive = values[order], positive[order]
    edges = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1, [len(values)]])  # examples below each threshold
    middle = np.concatenate([[values[0] - 1], (values[edges[1:-1] - 1] + values[edges[1:-1]]) / 2, [values[-1] + 1]])
    below = np.concatenate([[0], np.cumsum(positive)])[edges]
    found, alarms = positive.sum() - below, (~positive).sum() - (edges - below)
    wanted = np.unique(
        np.concatenate(
            [
                np.searchsorted(-alarms, -np.concatenate([[0], np.geomspace(1, alarms[0], most).round()])),
                np.searchsorted(-found, -np.linspace(0, found[0], most).round(), side="right") - 1,
                [0, len(edges) - 1],
            ]
        )
    )
    return {
        "thresholds": [float(f"{value:.7g}") for value in middle[wanted]],
        "false_alarms": [round(float(share), 7) for share in alarms[wanted] / alarms[0]],
        "found": [round(float(share), 7) for share in found[wanted] / found[0]],
    }


def fitted_thresholds(logits: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Fit thresholds at 1 % false positives on these very examples: (thresholds, false positive rates), float64 [probes].

    Each reaches the greatest true positive rate that 1 % of false positives allow, tpr_at_1_fpr, with the fewest of them,
    midway between two logits. NaN where a class is absent; the greatest logit, which nothing is above, where no positive
    comes before 1 % of the negatives.

        fitted_thresholds([[-1., 2., 3.]], [0, 0, 1]) -> [2.5], [0.0]
    """
    rows, true = as_rows(logits, labels)
    ranked, n = Ranked.of(rows, true), rows.shape[1]
    negatives = (~true).sum(1, keepdims=True)
    fp = negatives - ranked.negatives_below
    tp = np.where(divide(fp, negatives) <= LOW_FPR, n - ranked.first - fp, 0)
    best = tp.max(1, keepdims=True)
    at = n - 1 - (tp == best)[:, ::-1].argmax(1)  # of equally good ones the one with the greatest logit
    first = np.take_along_axis(ranked.first, at[:, None], axis=1)
    here, below = (np.take_along_axis(ranked.logits, column, axis=1) for column in (first, np.maximum(first - 1, 0)))
    none, both = best[:, 0] == 0, (true.any(1) & ~true.all(1))
    middle = np.where(none, ranked.logits[:, -1], (here / 2 + below / 2)[:, 0])
    fpr = np.where(none, 0.0, divide(np.take_along_axis(fp, first, axis=1), negatives)[:, 0])
    return np.where(both, middle, np.nan), np.where(both, fpr, np.nan)
