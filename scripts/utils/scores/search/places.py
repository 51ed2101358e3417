"""Rank rows of logits with one sort each, as both the bands and the permutations need it."""

from dataclasses import dataclass

import numpy as np

from utils.scores.intervals import Groups
from utils.scores.ranking import Ranked


@dataclass(frozen=True)
class Places:
    """Where examples stand in the order of each probe's logits.

    ranks: float32 [probes, n], in the examples' own order, centred and divided by n, of equal logits the mean:
        [.2, .1, .2] -> [.167, -.333, .167].
    wins: float64 [probes, groups], the examples of the other class on the right side of each, summed over the group's; ties
        count half.
    """

    ranks: np.ndarray
    wins: np.ndarray


def in_places(logits: np.ndarray, true: np.ndarray, groups: Groups) -> Places:
    """Rank logits [probes, n] of examples whose labels are bool [n], row by row: a row stays in the cache."""
    n, counts = len(true), np.arange(1, len(true) + 1, dtype=np.float64)
    evenly, positives = ((counts - (n + 1) / 2) / n).astype(np.float32), int(true.sum())
    found = Places(np.empty(logits.shape, dtype=np.float32), np.empty((len(logits), groups.count)))
    for row, values in enumerate(logits):
        order = np.argsort(values)
        values, positive, ranks = values[order], true[order], evenly
        if (values[1:] == values[:-1]).any():
            ranked = Ranked.of(logits[row : row + 1], true[None])
            order, wins = ranked.order[0], ranked.wins()[0]
            ranks = ((ranked.first[0] + ranked.last[0]) / 2 - (n - 1) / 2) / n
        else:
            below = np.cumsum(positive)
            wins = np.where(positive, counts - below, positives - below)
        found.ranks[row, order] = ranks
        found.wins[row] = np.bincount(groups.index[order], wins, groups.count)
    return found
