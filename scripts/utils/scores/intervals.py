"""Compute 95 % intervals over groups, since whole groups are what is independent; for many probes at once.

The standard error is that of the delete-one-group jackknife from 3 groups on; from 30 to 300 groups that of a bootstrap over
groups, times sqrt(G / (G - 1)); above, the jackknife's again, which the bootstrap's tends to and which needs no draws (Efron
and Tibshirani 1993, chapters 6, 11 and 20). The interval is the score plus and minus Student's t times that error, taken on
the logit scale by the delta method: a score near 1 is skewed, and no end leaves [0, 1]. The degrees of freedom are one less
than the number of groups that hold the rarer class, the one that fewer groups hold. With fewer than 3 such groups there is
no interval: NaN.

Measured coverage of the population's value, for groups of 20 to 60 examples that differ in shift, slope and share of
positives (tests/scores/test_intervals.py measures it again; 4000 samples, standard error .003; 2000 for 200 groups, .005):

    groups                            3     5    10    20    50   200
    balanced accuracy (.715)       .953  .948  .957  .947  .948  .942
    AUROC (.789)                   .951  .952  .954  .946  .949  .940
    difference of the former       .951  .961  .943  .953  .946  .947
    difference of the latter       .958  .964  .948  .953  .948  .947

In that simulation percentile bootstraps over 20 groups cover .91 (AUROC .89 where groups differ in their shift alone), and
BCa no more. The intervals here cover .92 to .96 where group sizes are very unequal (log-normal, sigma .8), and .94 to .98
where each group holds one class.
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
    """A score of each of several probes, as a function of which groups are in the sample."""

    @property
    def value(self) -> np.ndarray:
        """Give the score of all groups: [probes]."""
        ...

    @property
    def holders(self) -> np.ndarray:
        """Count the groups that hold the class which fewer groups hold: [probes]."""
        ...

    def left_out(self) -> np.ndarray:
        """Compute the score without each group: [probes, groups]."""
        ...

    def drawn(self, weights: np.ndarray) -> np.ndarray:
        """Compute the score of each draw, [probes, draws], from weights [draws, groups]: how often each group is in it."""
        ...


@lru_cache(maxsize=4)
def draw_weights(groups: int) -> np.ndarray:
    """Draw samples of groups with replacement; count how often each group is in each: float64 [draws, groups]."""
    weights = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), size=DRAWS).astype(float)
    weights.flags.writeable = False
    return weights


def jackknife_error(left_out: np.ndarray) -> np.ndarray:
    """Compute the standard error [...] from the scores without each group [..., groups]; NaN where one is undefined."""
    groups = left_out.shape[-1]
    spread = left_out - left_out.mean(-1, keepdims=True)
    return np.sqrt((groups - 1) / groups * (spread**2).sum(-1))


def bootstrap_error(drawn: np.ndarray, groups: int) -> np.ndarray:
    """Compute the standard error [...] from the scores of the draws [..., draws], leaving out draws that lack a class."""
    defined = ~np.isnan(drawn)
    count = defined.sum(-1)
    mean = divide(np.where(defined, drawn, 0).sum(-1), count)
    squares = np.where(defined, drawn - mean[..., None], 0) ** 2
    return np.sqrt(divide(squares.sum(-1), count - 1) * groups / (groups - 1))


def standard_error(statistic: Statistic, groups: int) -> np.ndarray:
    """Compute the standard error of a statistic: float64 [probes]; NaN where there is none."""
    if groups < FEWEST:
        return np.full(len(statistic.value), np.nan)
    if not FEWEST_FOR_BOOTSTRAP <= groups <= MOST_FOR_BOOTSTRAP:
        return jackknife_error(statistic.left_out())
    with blas_threads().limit(limits=1, user_api="blas"):
        return bootstrap_error(statistic.drawn(draw_weights(groups)), groups)


@lru_cache(maxsize=1)
def blas_threads() -> Any:
    """Give the control of BLAS threads: on a busy machine small products take ten times as long when threads share them."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def t_quantile(holders: np.ndarray) -> np.ndarray:
    """Compute Student's t for so many groups; NaN below FEWEST."""
    from scipy.stats import t

    return np.where(holders < FEWEST, np.nan, t.ppf((1 + LEVEL) / 2, np.maximum(holders - 1, 1)))


def share_bounds(statistic: Statistic, groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ends of the interval of scores within [0, 1]: (low, high), each [probes].

    A score of 0 or 1 shows no spread. Its other end is Clopper and Pearson's, with one trial for each of `holders`.
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
    """The group of each of n examples. Sums over groups of [probes, n] go through one fixed order of the examples."""

    def __init__(self, groups: ArrayLike) -> None:
        names, self.index = np.unique(groups, return_inverse=True)
        self.count = len(names)
        self.index = self.index.astype(np.uint16 if self.count < 2**16 else np.int64)  # NumPy sorts 16 bits by radix
        self.order = np.argsort(self.index, kind="stable")
        self.starts = np.searchsorted(self.index[self.order], np.arange(self.count))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over each group: float64 [probes, groups], from [probes, n] in the examples' own order."""
        return self.sums_in_order(values[:, self.order])

    def sums_in_order(self, values: np.ndarray) -> np.ndarray:
        """Sum the same from values whose columns are in group order already."""
        return np.add.reduceat(values, self.starts, axis=1, dtype=np.float64)


def holders(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """Count the groups that hold the class which fewer groups hold: [probes]."""
    return np.minimum((positives > 0).sum(1), (negatives > 0).sum(1))


class BalancedAccuracy:
    """Balanced accuracy of logits [probes, n] at thresholds [probes], as a function of which groups are in the sample.

    true: bool [probes, n].
    """

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
    """AUROC of ranked logits, as a function of which groups are in the sample: the share of pairs that rank right.

    Without group g, the wins are all wins, less those of g's examples, plus those within g (which were subtracted twice).
    That takes n log n, whatever the number of groups. The wins of a weighted sample are a quadratic form in the weights.
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
        """Compute the score of each draw in float32, but of deviations from the value: exact to 1e-6 of them."""
        result = np.full((len(self.value), len(weights)), np.nan, dtype=np.float32)
        single_weights, ranked, groups = weights.astype(np.float32), self.ranked, self.groups
        for row in np.flatnonzero(~np.isnan(self.value)):
            won = pair_wins(ranked.logits[row], ranked.positive[row], groups.index[ranked.order[row]], groups.count)
            above = won - self.value[row] * np.outer(self.positives[row], self.negatives[row])
            result[row] = np.einsum("dg,dg->d", single_weights @ above.astype(np.float32), single_weights)
        return self.value[:, None] + divide(result, (self.positives @ weights.T) * (self.negatives @ weights.T))
