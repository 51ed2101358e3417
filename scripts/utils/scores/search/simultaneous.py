"""Widen the intervals of a sweep's probes until all of them hold together: a band by max-t over resamples of the groups.

Each probe's deviation in a resample is the sum of what the drawn groups add to its score, over its standard error. The
largest of all probes in each resample shows how many independent comparisons the sweep amounts to: layers that read much the
same count little. The 95th percentile c of these maxima gives the level at which a single probe is off by more,
2 (1 - Phi(c)), and each probe's own interval is widened from its 5 % to this level (Westfall and Young 1993, chapter 2).

One probe alone has c = 1.96, and its own interval. For 200 independent probes c is 3.65 and the level .00026.
"""

from functools import lru_cache

import numpy as np
from scipy.stats import norm, t

from utils.scores.intervals import LEVEL, Groups

DRAWS = 1000  # resamples of the groups
MOST_GROUPS = 1000  # with more, they are pooled at random for the resamples: that keeps sums of influences what they are
ROUNDING = 1e-9  # a sum of deviations that is rounding


@lru_cache(maxsize=2)
def multiplicities(groups: int) -> np.ndarray:
    """Draw resamples of groups: float32 [draws, groups], how often each group is in it, less 1."""
    drawn = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), size=DRAWS).astype(np.float32) - 1
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
    """Compute the level of a single interval at which all probes' intervals hold together in LEVEL of the resamples.

    influences: float32 [probes, groups], of all probes; at most 1 - LEVEL, which one probe has.
    """
    largest = np.abs(influences @ multiplicities(influences.shape[1]).T).max(0, initial=0)
    return float(min(2 * norm.sf(np.quantile(largest, LEVEL)), 1 - LEVEL))


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
