"""Say what a difference that was not found means: how large a true one would have had to be for these data to show it."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from utils.scores.intervals import LEVEL, Classes, Groups

POWER = 0.8


def degrees_of_freedom(labels: ArrayLike, groups: ArrayLike) -> float:
    """Compute the degrees of freedom of intervals of these examples, labels [n] in groups [n]; NaN where there are none."""
    grouped, true = Groups(groups), np.atleast_2d(np.asarray(labels)) == 1
    return float(Classes(grouped.sums(true), grouped.sums(~true)).degrees[0])


def smallest_shown(low: np.ndarray, high: np.ndarray, degrees: float) -> np.ndarray:
    """Compute the smallest true difference whose interval would lie off 0 in POWER of such samples: [differences].

    low, high: ends of the 95 % intervals, whose half width shows the standard error s; degrees: of freedom. It is
    (t_.975 + t_.8) s (Bloom 1995). NaN where the interval does not hold 0, or there is none.
    """
    error = (np.asarray(high) - low) / 2 / t.ppf((1 + LEVEL) / 2, degrees)
    return np.where((low <= 0) & (high >= 0), (t.ppf((1 + LEVEL) / 2, degrees) + t.ppf(POWER, degrees)) * error, np.nan)
