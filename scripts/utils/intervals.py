"""95 % intervals over groups, for whole groups are what is independent.

From 30 groups on a percentile bootstrap over groups; from 3 to 29 a delete-one-group jackknife with Student's t of G - 1
degrees (Efron and Tibshirani 1993, chapters 11 and 13; percentile bootstraps of so few groups cover far less than they
claim); below 3 groups, or where a group alone holds a class, none: NaN.
"""

from collections.abc import Callable

import numpy as np

LEVEL = 0.95
FEWEST_FOR_BOOTSTRAP = 30
DRAWS = 2000


def interval(statistic: Callable[[np.ndarray], np.ndarray], groups: int) -> tuple[float, float]:
    """statistic: weights [draws, groups] -> values [draws]; the weight says how often a group is in the sample."""
    if groups < 3:
        return float("nan"), float("nan")
    if groups >= FEWEST_FOR_BOOTSTRAP:
        weights = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), size=DRAWS)
        low, high = np.nanquantile(statistic(weights), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    else:
        from scipy.stats import t

        left_out = statistic(1 - np.eye(groups, dtype=int))
        centre = statistic(np.ones((1, groups), dtype=int))[0]
        error = np.sqrt((groups - 1) / groups * np.sum((left_out - left_out.mean()) ** 2))
        reach = t.ppf((1 + LEVEL) / 2, groups - 1) * error
        low, high = centre - reach, centre + reach
    return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))


def balanced_accuracy_interval(logits, labels, groups, threshold) -> tuple[float, float]:
    names, group = np.unique(groups, return_inverse=True)
    said, true = np.asarray(logits) > threshold, np.asarray(labels) == 1
    tp, positives, tn, negatives = (np.bincount(group[mask], minlength=len(names)) for mask in
                                    (said & true, true, ~said & ~true, ~true))

    def statistic(weights):
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ tp / (weights @ positives) + weights @ tn / (weights @ negatives)) / 2

    return interval(statistic, len(names))


def auroc_interval(logits, labels, groups) -> tuple[float, float]:
    """AUROC of a weighted sample of groups is a ratio of two forms in the weights, so the data are sorted only once."""
    names, group = np.unique(groups, return_inverse=True)
    true = np.asarray(labels) == 1
    won = pair_wins(np.asarray(logits), true, group, len(names))
    positives, negatives = (np.bincount(group[mask], minlength=len(names)) for mask in (true, ~true))

    def statistic(weights):
        with np.errstate(invalid="ignore", divide="ignore"):
            return ((weights @ won) * weights).sum(1) / ((weights @ positives) * (weights @ negatives))

    return interval(statistic, len(names))


def pair_wins(logits, true, group, count) -> np.ndarray:
    """[groups, groups]: of the pairs (positive of group g, negative of group h), how many rank right; ties half."""
    result = np.zeros((count, count))
    positives, owners = logits[true], group[true]
    for other in range(count):
        won = wins(positives, logits[~true & (group == other)])
        result[:, other] = np.bincount(owners, won, minlength=count)
    return result


def wins(positives, negatives) -> np.ndarray:
    """[positives]: over how many of the negatives each positive ranks; a tie counts half."""
    ordered = np.sort(negatives)
    return (np.searchsorted(ordered, positives, "left") + np.searchsorted(ordered, positives, "right")) / 2
