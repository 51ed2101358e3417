"""Say what a difference that was not found means: how large a true one would have had to be for these data to show it."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

from utils.scores.intervals import LEVEL

POWER = 0.8


def fewest_holders(labels: ArrayLike, groups: ArrayLike) -> int:
    """Count the groups that hold the class which fewer groups hold."""
    labels, groups = np.asarray(labels), np.asarray(groups)
    return min(len(np.unique(groups[labels == label])) for label in (0, 1))


def smallest_shown(low: np.ndarray, high: np.ndarray, degrees: int) -> np.ndarray:
    """Compute the smallest true difference whose interval would lie off 0 in POWER of such samples: [differences].

    low, high: ends of the 95 % intervals; degrees: of freedom. With s the standard error it is (t_.975 + t_.8) s (Bloom
    1995). NaN where the interval does not hold 0, or there is none.
    """
    degrees = max(degrees, 1)
    error = (np.asarray(high) - low) / 2 / t.ppf((1 + LEVEL) / 2, degrees)
    return np.where((low <= 0) & (high >= 0), (t.ppf((1 + LEVEL) / 2, degrees) + t.ppf(POWER, degrees)) * error, np.nan)
