"""Compute permutation p-values of a sweep's AUROCs: of each probe alone, and corrected for its being the best of all.

The AUROC of every probe under every deal of labels is one product of ranks with labels. The p-value of one probe counts the
deals in which it ranks at least as well as with the true labels, (1 + those) / (1 + deals), which is valid for any number
of deals (Phipson and Smyth 2010). It is meant for a probe that was chosen without these labels, such as the one that
validation chose. The corrected one counts the deals in which any probe is as far above its own mean over the deals, in its
own standard deviations (max-T of Westfall and Young 1993). The smallest of these is the p-value of the sweep's maximum.
A sweep is of one question; `holm` corrects for several.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from utils.scores.search.nulls import Exchange, Shift

DEALS = 999
TIED = 2e-6, 1e-4  # AUROCs, and standardised ones, that differ by less are equal: float32 products are no better
LABELS_AT_ONCE = 2**19  # labels that are dealt at a time: they stay in the cache


@dataclass(frozen=True)
class PValues:
    """alone: [probes], of each probe by itself; in_sweep: [probes], as if it had been picked as the best of all."""

    alone: np.ndarray
    in_sweep: np.ndarray


def of_aurocs(aurocs: np.ndarray) -> PValues:
    """Compute the p-values from AUROCs [probes, 1 + deals], those of the true labels first."""
    deals = aurocs.shape[1] - 1
    alone = (1 + (aurocs[:, 1:] >= aurocs[:, :1] - TIED[0]).sum(1)) / (1 + deals)
    centred = aurocs - aurocs.mean(1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(1, keepdims=True))
    standard = np.where(deviation > TIED[0], centred / np.maximum(deviation, TIED[0]), 0)
    largest = np.sort(standard[:, 1:].max(0))
    return PValues(alone, (1 + deals - np.searchsorted(largest, standard[:, 0] - TIED[1])) / (1 + deals))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Correct p-values [questions] for a pick among the questions (Holm 1979); the smallest is Bonferroni's.

    A NaN stays, and counts as a question of which nothing was found.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)  # NaN last
    corrected = np.minimum(np.maximum.accumulate(np.nan_to_num(p[order], nan=1) * np.arange(len(p), 0, -1)), 1)
    result = np.empty(len(p))
    result[order] = corrected
    return np.where(np.isnan(p), np.nan, result)


def dealt_aurocs(ranks: np.ndarray, true: np.ndarray, null: Exchange | Shift, deals: int = DEALS) -> np.ndarray:
    """Compute AUROCs with the true labels and with those of each deal: float64 [probes, 1 + deals].

    ranks: as `in_places` gives them; true: bool [n]. Every call meets the same deals. One that leaves a class out ranks
    nothing: .5.
    """
    probes, n = ranks.shape
    still = true.copy()
    still[null.moving] = False
    fixed, moving = ranks[:, still].sum(1, dtype=np.float64), ranks[:, null.moving]
    result, column, random = np.empty((probes, 1 + deals)), 0, start_of_deals()
    while column <= deals:
        count = min(max(1, LABELS_AT_ONCE // max(1, len(null.moving))), deals + 1 - column) if column else 1
        dealt = null.draw(random, count) if column else true[None, null.moving]
        won = fixed[:, None] + moving @ dealt.T.astype(np.float32)
        positives = still.sum() + dealt.sum(1)
        pairs = positives * (n - positives)
        result[:, column : column + count] = 0.5 + np.where(pairs, n * won / np.maximum(pairs, 1), 0)
        column += count
    return result


def start_of_deals() -> np.random.Generator:
    return np.random.default_rng([0, 0])
