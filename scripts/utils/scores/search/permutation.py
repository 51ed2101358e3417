"""Compute permutation p-values of a sweep's AUROCs: of each probe alone, and corrected for its being the best of all.

The AUROC of every probe under every deal of labels is one product of ranks with labels. The p-value of one probe counts the
deals in which it ranks at least as well as with the true labels, (1 + those) / (1 + deals), which is valid for any number
of deals (Phipson and Smyth 2010). It is meant for a probe that was chosen without these labels, such as the one that
validation chose. The corrected one counts the deals in which any probe is as far above its own mean over the deals, in its
own standard deviations (max-T of Westfall and Young 1993). The smallest of these is the p-value of the sweep's maximum.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from utils.scores.search.nulls import Exchange, Shift

DEALS = 999
TIED = 2e-6, 1e-4  # AUROCs, and standardised ones, that differ by less are equal: float32 products are no better
RANKS_AT_ONCE, LABELS_AT_ONCE = 2**26, 2**23  # cells


@dataclass(frozen=True)
class PValues:
    """alone: [probes], of each probe by itself; in_sweep: [probes], as if it had been picked as the best of all."""

    alone: np.ndarray
    in_sweep: np.ndarray


def permutation_p_values(logits: ArrayLike, labels: ArrayLike, null: Exchange | Shift, deals: int = DEALS) -> PValues:
    """Compute the p-values of logits [probes, n] that rank labels [n] above chance; NaN where a class is absent."""
    logits, true = np.atleast_2d(np.asarray(logits)), np.asarray(labels) == 1
    if true.all() or not true.any():
        return PValues(*np.full((2, len(logits)), np.nan))
    return of_aurocs(dealt_aurocs(logits, true, null, deals))


def of_aurocs(aurocs: np.ndarray) -> PValues:
    """Compute the p-values from AUROCs [probes, 1 + deals], those of the true labels first."""
    deals = aurocs.shape[1] - 1
    alone = (1 + (aurocs[:, 1:] >= aurocs[:, :1] - TIED[0]).sum(1)) / (1 + deals)
    centred = aurocs - aurocs.mean(1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(1, keepdims=True))
    standard = np.where(deviation > TIED[0], centred / np.maximum(deviation, TIED[0]), 0)
    largest = np.sort(standard[:, 1:].max(0))
    return PValues(alone, (1 + deals - np.searchsorted(largest, standard[:, 0] - TIED[1])) / (1 + deals))


def dealt_aurocs(logits: np.ndarray, true: np.ndarray, null: Exchange | Shift, deals: int) -> np.ndarray:
    """Compute AUROCs with the true labels and with those of each deal: float64 [probes, 1 + deals].

    Every probe meets the same deals. One that leaves a class out ranks nothing: .5.
    """
    probes, n = logits.shape
    still = true.copy()
    still[null.moving] = False
    result = np.empty((probes, 1 + deals))
    size = max(1, RANKS_AT_ONCE // n)
    for start in range(0, probes, size):
        ranks = centred_ranks(logits[start : start + size])
        fixed, moving, column, random = ranks[:, still].sum(1, dtype=np.float64), ranks[:, null.moving], 0, start_of_deals()
        while column <= deals:
            count = min(max(1, LABELS_AT_ONCE // max(1, len(null.moving))), deals + 1 - column) if column else 1
            dealt = null.draw(random, count) if column else true[None, null.moving]
            won = fixed[:, None] + moving @ dealt.T.astype(np.float32)
            positives = still.sum() + dealt.sum(1)
            pairs = positives * (n - positives)
            result[start : start + size, column : column + count] = 0.5 + np.where(pairs, n * won / np.maximum(pairs, 1), 0)
            column += count
    return result


def start_of_deals() -> np.random.Generator:
    return np.random.default_rng([0, 0])


def centred_ranks(logits: np.ndarray) -> np.ndarray:
    """Rank each row, equal logits at their mean rank, as float32 within (-.5, .5): [.2, .1, .2] -> [.167, -.333, .167]."""
    n = logits.shape[1]
    return ((rankdata(logits, axis=1) - (n + 1) / 2) / n).astype(np.float32)
