"""95 % intervals over groups, for whole groups are what is independent; many probes at once.

The standard error is, from 3 groups on, that of the delete-one-group jackknife; from 30 to 300 groups that of a bootstrap
over groups, times sqrt(G / (G - 1)); above, the jackknife's again, which the bootstrap's tends to and which needs no draws
(Efron and Tibshirani 1993, chapters 6, 11 and 20). The interval is the score plus and minus Student's t times that error,
taken on the logit scale by the delta method: a score near 1 is skewed, and no end leaves [0, 1]. The degrees of freedom
are one less than the number of groups, of those that hold the class which fewer groups hold. Below 3 such groups, none: NaN.

Measured coverage of the population's value, groups of 20 to 60 examples with shifts, slopes and shares of positives of their
own (tests/scores/test_intervals.py measures it again; 4000 samples, standard error .003; of 200 groups 2000, .005):

    groups                            3     5    10    20    50   200
    balanced accuracy (.715)       .953  .948  .957  .947  .948  .942
    AUROC (.789)                   .951  .952  .954  .946  .949  .940
    difference of the former       .951  .961  .943  .953  .946  .947
    difference of the latter       .958  .964  .948  .953  .948  .947

There percentile bootstraps cover .91 of 20 groups (AUROC .89, where groups differ in their shift alone), BCa no more. Where
the sizes of groups are very unequal (log-normal, sigma .8) these cover .92 to .96, where a group holds one class .94 to .98.
"""

from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from utils.scores.ranking import Ranked, counted, pair_wins
from utils.scores.rows import DRAWS, divide

LEVEL = 0.95
FEWEST, FEWEST_FOR_BOOTSTRAP, MOST_FOR_BOOTSTRAP = 3, 30, 300


class Statistic(Protocol):
    """A score of each of some probes, as a function of which groups are in the sample."""

    @property
    def value(self) -> np.ndarray:
        """[probes]: of all groups."""
        ...

    @property
    def holders(self) -> np.ndarray:
        """[probes]: how many groups hold the class that fewer groups hold."""
        ...

    def left_out(self) -> np.ndarray:
        """[probes, groups]: without each group."""
        ...

    def drawn(self, weights: np.ndarray) -> np.ndarray:
        """[probes, draws] of weights [draws, groups]: how often each group is in the sample."""
        ...


@lru_cache(maxsize=4)
def draw_weights(groups: int) -> np.ndarray:
    """float64 [draws, groups]: how often each group is in a sample of as many groups, drawn with replacement."""
    weights = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), size=DRAWS).astype(float)
    weights.flags.writeable = False
    return weights


def jackknife_error(left_out: np.ndarray) -> np.ndarray:
    """[..., groups], the score without each group, to [...]; NaN where one of them is undefined."""
    groups = left_out.shape[-1]
    spread = left_out - left_out.mean(-1, keepdims=True)
    return np.sqrt((groups - 1) / groups * (spread**2).sum(-1))


def bootstrap_error(drawn: np.ndarray, groups: int) -> np.ndarray:
    """[..., draws] to [...]; draws without one of the classes are left out."""
    defined = ~np.isnan(drawn)
    count = defined.sum(-1)
    mean = divide(np.where(defined, drawn, 0).sum(-1), count)
    squares = np.where(defined, drawn - mean[..., None], 0) ** 2
    return np.sqrt(divide(squares.sum(-1), count - 1) * groups / (groups - 1))


def standard_error(statistic: Statistic, groups: int) -> np.ndarray:
    """float64 [probes]; NaN where there is none. statistic: `left_out` () -> [probes, groups], `drawn` (weights [draws,
    groups]) -> [probes, draws].
    """
    if groups < FEWEST:
        return np.full(len(statistic.value), np.nan)
    if not FEWEST_FOR_BOOTSTRAP <= groups <= MOST_FOR_BOOTSTRAP:
        return jackknife_error(statistic.left_out())
    with blas_threads().limit(limits=1, user_api="blas"):
        return bootstrap_error(statistic.drawn(draw_weights(groups)), groups)


@lru_cache(maxsize=1)
def blas_threads() -> Any:
    """Products of small matrices take ten times as long where threads share them on a busy machine."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def t_quantile(holders: np.ndarray) -> np.ndarray:
    """Student's t for as many groups; NaN below FEWEST."""
    from scipy.stats import t

    return np.where(holders < FEWEST, np.nan, t.ppf((1 + LEVEL) / 2, np.maximum(holders - 1, 1)))


def share_bounds(statistic: Statistic, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """(low, high), each [probes], of scores within [0, 1].

    A score of 0 or 1 has no spread to measure; its other end is Clopper and Pearson's for as many groups of as many.
    """
    value, far = statistic.value, t_quantile(statistic.holders)
    with np.errstate(invalid="ignore", divide="ignore"):
        logit = np.log(value / (1 - value))
        wide = far * standard_error(statistic, groups) / (value * (1 - value))
        low, high = 1 / (1 + np.exp(wide - logit)), 1 / (1 + np.exp(-wide - logit))
    alone = np.where(np.isnan(far), np.nan, ((1 - LEVEL) / 2) ** (1 / np.maximum(statistic.holders, 1)))
    perfect, none = value == 1, value == 0
    low = np.where(perfect, alone, np.where(none & ~np.isnan(far), 0.0, low))
    high = np.where(none, 1 - alone, np.where(perfect & ~np.isnan(far), 1.0, high))
    return low, high


class Groups:
    """Which group each of n examples is in; sums over groups of [probes, n] go through one fixed order of the examples."""

    def __init__(self, groups: ArrayLike) -> None:
        names, self.index = np.unique(groups, return_inverse=True)
        self.count = len(names)
        self.index = self.index.astype(np.uint16 if self.count < 2**16 else np.int64)  # NumPy sorts 16 bits by radix
        self.order = np.argsort(self.index, kind="stable")
        self.starts = np.searchsorted(self.index[self.order], np.arange(self.count))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """[probes, n] in the examples' own order to float64 [probes, groups]."""
        return self.sums_in_order(values[:, self.order])

    def sums_in_order(self, values: np.ndarray) -> np.ndarray:
        """The same of values whose columns are in group order already."""
        return np.add.reduceat(values, self.starts, axis=1, dtype=np.float64)


def holders(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """[probes]: groups that hold the class which fewer groups hold."""
    return np.minimum((positives > 0).sum(1), (negatives > 0).sum(1))


class BalancedAccuracy:
    """Of logits [probes, n] at thresholds [probes], as a function of which groups are in the sample; true: bool."""

    def __init__(self, logits: np.ndarray, true: np.ndarray, groups: Groups, thresholds: np.ndarray) -> None:
        said = logits > thresholds[:, None]
        self.parts = [groups.sums(mask) for mask in (said & true, true, ~said & ~true, ~true)]
        self.holders = holders(self.parts[1], self.parts[3])
        self.value = self._of(*(part.sum(1) for part in self.parts))

    @staticmethod
    def _of(tp, positives, tn, negatives) -> np.ndarray:
        return (divide(tp, positives) + divide(tn, negatives)) / 2

    def left_out(self) -> np.ndarray:
        return self._of(*(part.sum(1, keepdims=True) - part for part in self.parts))

    def drawn(self, weights: np.ndarray) -> np.ndarray:
        return self._of(*(part @ weights.T for part in self.parts))


class AUROC:
    """Of ranked logits, as a function of which groups are in the sample: wins of the pairs (positive, negative) over pairs.

    Without group g the wins are all wins, less those of g's examples, plus those within g (which were taken off twice): n
    log n whatever the number of groups. A weighted sample's are a quadratic form in the weights.
    """

    def __init__(self, ranked: Ranked, groups: Groups) -> None:
        self.ranked, self.groups = ranked, groups
        by_group = np.argsort(groups.index[ranked.order], axis=1, kind="stable")
        self.positive, self.wins, self.logits = (
            np.take_along_axis(matrix, by_group, axis=1) for matrix in (ranked.positive, ranked.wins(), ranked.logits)
        )
        self.positives, self.negatives = (groups.sums_in_order(mask) for mask in (self.positive, ~self.positive))
        self.holders = holders(self.positives, self.negatives)
        self.total = (self.wins * self.positive).sum(1)
        self.value = divide(self.total, self.positives.sum(1) * self.negatives.sum(1))

    def left_out(self) -> np.ndarray:
        rises = self.logits[:, 1:] != self.logits[:, :-1]
        rises[:, self.groups.starts[1:] - 1] = True
        below, through, _, _ = counted(self.positive, rises)
        before = np.cumsum(self.negatives, axis=1) - self.negatives  # negatives of earlier groups
        within = self.groups.sums_in_order((below + through) / 2 * self.positive) - self.positives * before
        wins = self.total[:, None] - self.groups.sums_in_order(self.wins) + within
        positives, negatives = (part.sum(1, keepdims=True) - part for part in (self.positives, self.negatives))
        return divide(wins, positives * negatives)

    def drawn(self, weights: np.ndarray) -> np.ndarray:
        """In float32, but of the deviations from the value: exact to 1e-6 of them."""
        result = np.full((len(self.value), len(weights)), np.nan, dtype=np.float32)
        single_weights, ranked, groups = weights.astype(np.float32), self.ranked, self.groups
        for row in np.flatnonzero(~np.isnan(self.value)):
            won = pair_wins(ranked.logits[row], ranked.positive[row], groups.index[ranked.order[row]], groups.count)
            above = won - self.value[row] * np.outer(self.positives[row], self.negatives[row])
            result[row] = np.einsum("dg,dg->d", single_weights @ above.astype(np.float32), single_weights)
        return self.value[:, None] + divide(result, (self.positives @ weights.T) * (self.negatives @ weights.T))
