"""Widen the intervals of a sweep's probes until all of them hold together: a band by max-t over weightings of the groups.

Each probe's deviation under a random weighting is the weighted sum of what the groups add to its score, over its standard
error. The largest of all probes shows how many independent comparisons the sweep amounts to: layers that read much the same
count little. Under 5 % of the weightings some probe is off by more than c. The share of weightings under which single probes
are, on average, is the level to which each interval is widened from its 5 % (Westfall and Young 1993, chapter 2).

One probe alone keeps its interval. Of 200 that are never off together each is off under .05 / 200, as Bonferroni has it.
A probe at a score of 0 or 1 does not vary under any weighting. So nothing is known of what it has in common with others,
and it counts as one that is never off together with another.

All weightings have the same length, as in a rotation test (Langsrud 2005). Resamples have not: under the longest of them
independent probes are off together, and with few groups the band would be too narrow.
"""

from bisect import bisect_right
from functools import lru_cache

import numpy as np
from scipy.stats import t

from utils.scores.intervals import LEVEL, Groups

OFF = round(1 - LEVEL, 9)  # how often some interval may be off
DRAWS = 1000  # weightings of the groups
MOST_GROUPS = 1000  # with more, they are pooled at random: that keeps sums of influences what they are
ROUNDING = 1e-9  # a sum of deviations that is rounding


@lru_cache(maxsize=2)
def weightings(groups: int) -> np.ndarray:
    """Draw weights of groups: float32 [draws, groups], normal ones brought to a sum of 0 and a length of 1."""
    drawn = np.random.default_rng([0, 1]).normal(size=(DRAWS, groups))
    drawn -= drawn.mean(1, keepdims=True)
    drawn = (drawn / np.sqrt((drawn**2).sum(1, keepdims=True))).astype(np.float32)
    drawn.flags.writeable = False
    return drawn


def auroc_influences(wins: np.ndarray, true: np.ndarray, groups: Groups) -> np.ndarray:
    """Compute what each group adds to each probe's AUROC, in standard errors: float32 [probes, at most MOST_GROUPS].

    wins: as in `Places`, [probes, groups]; true: bool [n]. By the placements of DeLong, DeLong and Clarke-Pearson (1988): an
    example adds its share of wins, less the AUROC, over the number of its class.
    """
    pairs = int(true.sum()) * int((~true).sum())
    value = wins.sum(1, keepdims=True) / 2 / pairs  # each pair is won by both of its examples
    return standardised(wins / pairs - value * sum(groups.sums(each[None]) / each.sum() for each in (true, ~true)))


def accuracy_influences(logits: np.ndarray, true: np.ndarray, groups: Groups, thresholds: np.ndarray) -> np.ndarray:
    """Compute the same of balanced accuracy at thresholds [probes], from logits [probes, n]."""
    cell = 2 * groups.index.astype(np.int64) + true  # negatives and positives of each group
    sizes = np.bincount(cell, minlength=2 * groups.count).reshape(-1, 2)
    right = np.stack(
        [np.bincount(cell, (row > far) == true, 2 * groups.count) for row, far in zip(logits, thresholds, strict=True)]
    ).reshape(-1, groups.count, 2)
    rates = right.sum(1, keepdims=True) / sizes.sum(0)
    return standardised(((right - rates * sizes) / sizes.sum(0)).sum(2))


def standardised(deviations: np.ndarray) -> np.ndarray:
    """Pool groups beyond MOST_GROUPS, and bring the squares of each row to a sum of 1; rows that do not vary are 0."""
    if deviations.shape[1] > MOST_GROUPS:
        pool = np.random.default_rng(0).permutation(deviations.shape[1]) % MOST_GROUPS
        order = np.argsort(pool, kind="stable")
        deviations = np.add.reduceat(deviations[:, order], np.searchsorted(pool[order], np.arange(MOST_GROUPS)), axis=1)
    size = np.sqrt((deviations**2).sum(1, keepdims=True))
    return np.where(size > ROUNDING, deviations / np.maximum(size, ROUNDING), 0).astype(np.float32)


def joint_level(influences: np.ndarray) -> float:
    """Compute the level of a single interval at which all probes' intervals hold together with LEVEL.

    influences: float32 [probes, groups], of all probes that have an interval. The share of weightings under which some probe
    is off, and the level for each probe that does not vary, add up to at most OFF. So it lies between OFF / probes, which is
    Bonferroni's, and OFF, which one probe has.
    """
    varying = influences[influences.any(1)]
    least, still = OFF / max(1, len(influences)), len(influences) - len(varying)
    if not len(varying):
        return least
    deviations = np.abs(varying @ weightings(varying.shape[1]).T)
    largest = np.sort(deviations.max(0))[::-1]

    def level(draws: int) -> float:
        """Give the share of single deviations that are at least as large as the largest of so many draws."""
        return float((deviations >= largest[draws - 1]).mean())

    draws = range(1, 1 + round(OFF * DRAWS))
    held = bisect_right(draws, OFF, key=lambda count: count / DRAWS + still * level(count))
    return max(least, level(draws[held - 1]) if held else 0)


def widened(
    value: np.ndarray, low: np.ndarray, high: np.ndarray, degrees: float, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Widen 95 % intervals of scores within [0, 1] to a smaller level: (low, high), each [probes].

    degrees: of freedom. A distance on the logit scale grows as Student's t does; an end beside a score of 0 or 1,
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
