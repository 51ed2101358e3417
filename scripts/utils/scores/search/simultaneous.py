"""Widen the intervals of a sweep's probes until all of them hold together: a band by max-t over resamples of the groups.

Each probe's deviation in a resample is taken from its jackknife influences and divided by its standard error. The largest
of all probes in each resample shows how many independent comparisons the sweep amounts to: layers that read much the same
count little. The 95th percentile c of these maxima gives the level at which a single probe is off by more, 2 (1 - Phi(c)),
and each probe's own interval is widened from its 5 % to this level (Westfall and Young 1993, chapter 2, for the maximum).

One probe alone has c = 1.96, and its own interval. For 200 independent probes c is 3.65 and the level .00026.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from scipy.stats import norm, t

from utils.scores.intervals import LEVEL, Statistic
from utils.scores.rows import DRAWS, divide

MOST_GROUPS = 1000  # with more, they are pooled at random for the resamples: that keeps sums of influences what they are


@lru_cache(maxsize=2)
def multiplicities(groups: int) -> np.ndarray:
    """Draw resamples of groups: float32 [draws, groups], how often each group is in it, less 1."""
    drawn = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), size=DRAWS).astype(np.float32) - 1
    drawn.flags.writeable = False
    return drawn


def influences(statistic: Statistic) -> np.ndarray:
    """Compute what each group adds to each probe's score, in standard errors: float32 [probes, at most MOST_GROUPS].

    The squares of a probe's influences sum to 1. A row is 0 where the score does not vary, or leaving out a group undoes it.
    """
    left_out = statistic.left_out()
    deviations = left_out.mean(1, keepdims=True) - left_out
    if deviations.shape[1] > MOST_GROUPS:
        pool = np.random.default_rng(0).permutation(deviations.shape[1]) % MOST_GROUPS
        order = np.argsort(pool, kind="stable")
        deviations = np.add.reduceat(deviations[:, order], np.searchsorted(pool[order], np.arange(MOST_GROUPS)), axis=1)
    return np.nan_to_num(divide(deviations, np.sqrt((deviations**2).sum(1, keepdims=True)))).astype(np.float32)


def joint_level(influences_of_all: np.ndarray) -> float:
    """Compute the level of a single interval at which all probes' intervals hold together in LEVEL of the resamples.

    influences_of_all: float32 [probes, groups], as `influences` gives them; at most 1 - LEVEL, which one probe has.
    """
    largest = np.abs(influences_of_all @ multiplicities(influences_of_all.shape[1]).T).max(0, initial=0)
    return float(min(2 * norm.sf(np.quantile(largest, LEVEL)), 1 - LEVEL))


def widened(
    value: np.ndarray, low: np.ndarray, high: np.ndarray, degrees: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Widen 95 % intervals of scores within [0, 1] to a smaller level: (low, high), each [probes].

    degrees: of freedom, [probes]. A distance on the logit scale grows as Student's t does; an end beside a score of 0 or 1,
    which is (level / 2) ** (1 / trials), keeps its number of trials. NaN stays NaN.
    """
    growth = t.isf(level / 2, degrees) / t.isf((1 - LEVEL) / 2, degrees)
    with np.errstate(invalid="ignore", divide="ignore"):
        logits = [np.log(part) - np.log1p(-part) for part in (low, value, high)]
        ends = [1 / (1 + np.exp(-(logits[1] + growth * (end - logits[1])))) for end in (logits[0], logits[2])]
        trials = np.log(level / 2) / np.log((1 - LEVEL) / 2)
        ends[0] = np.where(value == 1, low**trials, np.where(low == 0, 0, ends[0]))
        ends[1] = np.where(value == 0, 1 - (1 - high) ** trials, np.where(high == 1, 1, ends[1]))
    return ends[0], ends[1]


def bands(statistics: Iterable[Statistic], low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the band of all probes together, (low, high), each [probes], from their own intervals.

    statistics: of the probes in order, each of a chunk of them, over the same groups.
    """
    parts = [(influences(each), each.value, each.holders - 1) for each in statistics]
    of_all, values, degrees = (np.concatenate(each) for each in zip(*parts, strict=True))
    return widened(values, low, high, np.maximum(degrees, 1), joint_level(of_all))
