"""Say what a difference that was not found means: how large a true one would have had to be for these data to show it.

A difference is shown where it exceeds the lower arm of its interval. Where the true one is this arm plus t_.8 standard
errors, four of five samples show it; far from a bound that is t_.975 + t_.8 standard errors (Bloom 1995). Beside a bound
the arms change with the difference that is asked about. So arm and error are those of a probe that is so much better than
the baseline: its variance goes with a (1 - a), a its AUROC. The baseline and the correlation of both stay as they are.

A probe can gain no more than the baseline leaves up to 1. Where no such gain would show, a perfect probe decides: if its
interval would lie above the baseline's, all that is left is the smallest that shows, else none does.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, stdtrit

from utils.scores.differences import difference_bounds, statistics_of_pairs
from utils.scores.intervals import (
    AUROC,
    LEVEL,
    BalancedAccuracy,
    Classes,
    Groups,
    combined,
    correlation,
    known_spread,
    perfect_low,
)

Scored = BalancedAccuracy | AUROC
POWER = 0.8
GAINS = 400  # that are tried, from none to all that is left, the small ones closer together


def degrees_of_freedom(labels: ArrayLike, groups: ArrayLike) -> float:
    """Compute the degrees of freedom of intervals of these examples, labels [n] in groups [n]; NaN where there are none."""
    grouped, true = Groups(groups), np.atleast_2d(np.asarray(labels)) == 1
    return float(Classes(grouped.sums(true), grouped.sums(~true)).degrees[0])


def differences_and_shown(
    logits: ArrayLike, baseline: ArrayLike, labels: ArrayLike, groups: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Compute paired differences in AUROC, their 95 % intervals and the smallest ones that would show, each [pairs].

    logits, baseline: [pairs, n]; labels, groups: [n].
    """
    nowhere = np.zeros(len(np.atleast_2d(logits)))
    found = []
    for one, other in statistics_of_pairs(((logits, nowhere), (baseline, nowhere)), labels, groups, "auc"):
        low, high = difference_bounds(one, other)
        found.append((one.value - other.value, low, high, smallest_shown(one, other, low, high)))
    difference, low, high, shown = (np.concatenate(column) for column in zip(*found, strict=True))
    return difference, low, high, shown


def smallest_shown(one: Scored, other: Scored, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Compute the smallest true difference whose interval would lie above 0 in POWER of such samples: [pairs].

    low, high: ends of the intervals of one score minus the other. NaN where the interval does not hold 0, or there is none;
    infinite where no difference would have shown.
    """
    room, correlated = 1 - other.value, -correlation(one, other)
    gains = np.linspace(0, 1, GAINS, endpoint=False)[1:, None] ** 2 * room
    value, (lows, highs) = other.value + gains, (one.bounds()[0], other.bounds()[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        wide = (logit(one.value) - logit(lows)) * np.sqrt(one.value * (1 - one.value) / (value * (1 - value)))
        arm, other_wide = value - expit(logit(value) - wide), logit(highs) - logit(other.value)
        both = zip((one, other), (wide * value * (1 - value), other_wide * other.value * room), strict=True)
        errors = [far / stdtrit(np.fmax(known_spread(score), 1), (1 + LEVEL) / 2) for score, far in both]
    degrees = np.fmax(np.fmin(known_spread(one), known_spread(other)), 1)
    error = combined(errors[0], errors[1], correlated)
    shows = gains >= combined(arm, highs - other.value, correlated) + stdtrit(degrees, POWER) * error
    perfect = room > combined(1 - perfect_low(one.holders), highs - other.value, np.zeros(len(room)))
    smallest = np.where(shows.any(0), gains[shows.argmax(0), np.arange(len(room))], np.where(perfect, room, np.inf))
    return np.where((low <= 0) & (high >= 0), smallest, np.nan)
