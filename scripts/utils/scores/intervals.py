"""Compute 95 % intervals over groups, since whole groups are what is independent; for many probes at once.

A score's standard error is that of the jackknife over groups, from each group's linear influence on the score (Efron and
Tibshirani 1993, chapters 11 and 21): what a group differs from all counts more where it holds many of the examples. The
interval is the score plus and minus Student's t times that error, on the logit scale by the delta method: a score near 1 is
skewed, and no end leaves [0, 1].

- Degrees of freedom are the effective number of groups, 1 / sum(w^2) (Kish 1965), less 1: G - 1 for groups of one size. They
  are fewer where errors lie in few of the groups, since the spread is then little known (see `known_spread`).
- A score of 1 shows no spread, and nor does one whose errors lie in one group: the lower end is at most Clopper and
  Pearson's of a perfect score, with one trial for each group that holds the rarer class. So .9999 has no narrower
  interval than 1 where one group errs. Once two do, their spread is believed, and the interval may be much narrower than
  that of a perfect score. Scores near 0 are treated alike.
- Balanced accuracy may lie far from 1 while one of its rates is 1 or 0. Then the ends of both rates are combined.
- With fewer than FEWEST groups that hold the rarer class, or fewer than FEWEST_EFFECTIVE effective ones, there is no
  interval: NaN, and `reasons` says why. An interval of width 0 is none either.

`bench/coverage.py` measures how often the intervals hold the population's value (docs/measured.md).
"""

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from utils.scores.ranking import Ranked
from utils.scores.rows import divide

LEVEL = 0.95
FEWEST, FEWEST_EFFECTIVE = 3, 2.5
ONE_GROUP = 1.5  # below, the effective number of groups that err amounts to one
PER_ERRING = 4  # degrees of freedom of a spread that is known from one group's errors alone


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
        return np.add.reduceat(values[:, self.order], self.starts, axis=1, dtype=np.float64)


class Classes:
    """How many positives and negatives each group holds, both [probes, groups], and what follows from it.

    weights: the share that each group has in the variance of a score of both classes, had all examples the same; they sum
    to 1. holders: how many groups hold the class which fewer groups hold. effective: 1 / sum(weights^2). degrees: of
    freedom, NaN for no interval. All three [probes].
    """

    def __init__(self, positives: np.ndarray, negatives: np.ndarray) -> None:
        self.positives, self.negatives = positives, negatives
        parts = [divide(counts, counts.sum(1, keepdims=True) ** 2) for counts in (positives, negatives)]
        self.weights = portions(parts[0] + parts[1])
        self.holders = np.minimum((positives > 0).sum(1), (negatives > 0).sum(1))
        self.effective = effective_number(self.weights)
        enough = (self.holders >= FEWEST) & (self.effective >= FEWEST_EFFECTIVE)
        self.degrees = np.where(enough, self.effective - 1, np.nan)


class Score(Protocol):
    """A score of each of several probes, with its interval, and how far each group moves it."""

    @property
    def value(self) -> np.ndarray:
        """[probes]"""
        ...

    @property
    def weights(self) -> np.ndarray:
        """The share of each group, [probes, groups], or [1, groups] where it is that of all probes"""
        ...

    def influence(self) -> np.ndarray:
        """Compute how far each group moves the score: [probes, groups], with sums of 0."""
        ...

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Compute the ends of the interval, each [probes]; equal where the score cannot vary."""
        ...


class Statistic(Score, Protocol):
    """A score as a function of which groups are in the sample."""

    holders: np.ndarray  # how many groups hold the class which fewer groups hold, [probes]
    degrees: np.ndarray  # of freedom, NaN for no interval, [probes]
    erring: np.ndarray  # the effective number of groups in which the errors lie, or the successes below .5, [probes]


def portions(parts: np.ndarray) -> np.ndarray:
    """Divide by the sum over the last axis."""
    return divide(parts, parts.sum(-1, keepdims=True))


def effective_number(parts: np.ndarray) -> np.ndarray:
    """Compute how many equal parts vary as much: (sum)^2 / sum of squares, over the last axis; 0 where all are 0."""
    return np.nan_to_num(divide(parts.sum(-1) ** 2, (parts**2).sum(-1)))


def reasons(classes: Classes) -> list[str]:
    """Say of each probe why its scores have no interval; "" where they have one."""
    return [
        f"{few} group{' holds' if few == 1 else 's hold'} the rarer class, an interval needs {FEWEST}"
        if few < FEWEST
        else f"the groups differ so much in size that they count as {effective:.1f}, an interval needs {FEWEST_EFFECTIVE}"
        if effective < FEWEST_EFFECTIVE
        else ""
        for few, effective in zip(classes.holders, classes.effective, strict=True)
    ]


def no_interval(labels: ArrayLike, groups: ArrayLike) -> str:
    """Say why no score of these examples, labels [n] in groups [n], has an interval; "" where scores have one."""
    grouped, true = Groups(groups), np.atleast_2d(np.asarray(labels)) == 1
    return reasons(Classes(grouped.sums(true), grouped.sums(~true)))[0]


def scaled_influence(statistic: Score) -> np.ndarray:
    """Scale influences so that the sum of their squares is the squared standard error: [probes, groups].

    Without the group of the share w the score would differ by 1 / (1 - w) of its influence. For groups of one size the sum
    is the delete-one-group jackknife's, which has the factor 1 - 1 / G; here G is the effective number of groups.
    """
    fewer = 1 - divide(1, effective_number(statistic.weights))
    return divide(statistic.influence(), 1 - statistic.weights) * np.sqrt(fewer)[:, None]


def standard_error(statistic: Score) -> np.ndarray:
    """Compute the standard error of a statistic: float64 [probes]."""
    return np.sqrt((scaled_influence(statistic) ** 2).sum(-1))


def correlation(one: Score, other: Score) -> np.ndarray:
    """Compute how two scores of the same groups correlate, [probes]; 0 where one does not vary."""
    influences = scaled_influence(one), scaled_influence(other)
    lengths = [np.sqrt((influence**2).sum(-1)) for influence in influences]
    return np.nan_to_num(divide((influences[0] * influences[1]).sum(-1), lengths[0] * lengths[1])).clip(-1, 1)


def t_quantile(degrees: np.ndarray) -> np.ndarray:
    """Compute Student's t for so many degrees of freedom, at least 1; NaN stays NaN."""
    from scipy.special import stdtrit

    return np.where(np.isnan(degrees), np.nan, stdtrit(np.fmax(degrees, 1), (1 + LEVEL) / 2))


def perfect_low(holders: np.ndarray) -> np.ndarray:
    """Compute Clopper and Pearson's lower end after so many trials without a failure."""
    return ((1 - LEVEL) / 2) ** (1 / np.maximum(holders, 1))


def known_spread(statistic: Statistic) -> np.ndarray:
    """Compute the degrees of freedom d of a score's spread, [probes]: 1 / d = 1 / degrees + (1 / erring - 1 / groups) / 4.

    Relative variances 2 / d of an estimated variance add up: one is due to the number of groups, the other to the number
    of them in which errors lie. Where all groups err alike, or one group alone, d is what the groups give.
    """
    groups = effective_number(statistic.weights)
    fewer = np.maximum(divide(1, statistic.erring) - divide(1, groups), 0) / PER_ERRING
    return np.where(statistic.erring < ONE_GROUP, statistic.degrees, 1 / (1 / statistic.degrees + fewer))


def logit_bounds(statistic: Statistic) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ends of the interval of a score within (0, 1) by its spread alone, on the logit scale."""
    value, far = statistic.value, t_quantile(known_spread(statistic))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        logit, wide = np.log(value / (1 - value)), far * standard_error(statistic) / (value * (1 - value))
        return 1 / (1 + np.exp(wide - logit)), 1 / (1 + np.exp(-wide - logit))


def share_bounds(statistic: Statistic) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ends of the interval of a score within [0, 1]: (low, high), each [probes]."""
    value, edge = statistic.value, perfect_low(statistic.holders)
    low, high = logit_bounds(statistic)
    alone, none = statistic.erring < ONE_GROUP, np.isnan(statistic.degrees)
    low = np.where(value == 0, 0.0, np.where(alone & (value > 0.5), np.fmin(low, edge), low))
    high = np.where(value == 1, 1.0, np.where(alone & (value < 0.5), np.fmax(high, 1 - edge), high))
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def combined(one: np.ndarray, other: np.ndarray, correlated: np.ndarray) -> np.ndarray:
    """Combine the distances of two scores from their ends into that of their sum (Zou and Donner 2008)."""
    return np.sqrt(np.maximum(one**2 + other**2 + 2 * correlated * one * other, 0))


def interval(statistic: Statistic) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ends of a 95 % interval, each [probes]; NaN where there is none."""
    low, high = statistic.bounds()
    none = ~(low < high)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


class Rate:
    """The share of right answers among the examples of a class. right, whole: how many in each group, [probes, groups]."""

    def __init__(self, right: np.ndarray, whole: np.ndarray) -> None:
        self.right, self.whole, self.weights = right, whole, portions(whole)
        self.value = divide(right.sum(1), whole.sum(1))
        self.holders = (whole > 0).sum(1)
        self.degrees = np.where(self.holders < FEWEST, np.nan, effective_number(self.weights) - 1)
        self.erring = effective_number(np.where(self.value[:, None] > 0.5, whole - right, right))

    def influence(self) -> np.ndarray:
        return divide(self.right - self.value[:, None] * self.whole, self.whole.sum(1, keepdims=True))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return share_bounds(self)


class BalancedAccuracy:
    """Balanced accuracy of logits [probes, n] at thresholds [probes], as a function of which groups are in the sample.

    true: bool [probes, n].
    """

    def __init__(self, logits: np.ndarray, true: np.ndarray, groups: Groups, thresholds: np.ndarray) -> None:
        said = logits > thresholds[:, None]
        tp, positives, tn, negatives = (groups.sums(mask) for mask in (said & true, true, ~said & ~true, ~true))
        self.rates = Rate(tp, positives), Rate(tn, negatives)
        self.classes = Classes(positives, negatives)
        self.weights, self.holders, self.degrees = self.classes.weights, self.classes.holders, self.classes.degrees
        self.value = (self.rates[0].value + self.rates[1].value) / 2
        losses = sum(divide(rate.whole - rate.right, rate.whole.sum(1, keepdims=True)) for rate in self.rates)
        wins = sum(divide(rate.right, rate.whole.sum(1, keepdims=True)) for rate in self.rates)
        self.erring = effective_number(np.where(self.value[:, None] > 0.5, losses, wins))

    def influence(self) -> np.ndarray:
        return (self.rates[0].influence() + self.rates[1].influence()) / 2

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = share_bounds(self)
        recall, specificity = self.rates
        (recall_low, recall_high), (specificity_low, specificity_high) = (rate.bounds() for rate in self.rates)
        correlated = correlation(recall, specificity)
        down = combined(recall.value - recall_low, specificity.value - specificity_low, correlated) / 2
        up = combined(recall_high - recall.value, specificity_high - specificity.value, correlated) / 2
        top, bottom = (np.any([rate.value == end for rate in self.rates], axis=0) for end in (1, 0))
        low = np.where(top & (self.value < 1), np.fmin(low, self.value - down), low)
        high = np.where(bottom & (self.value > 0), np.fmax(high, self.value + up), high)
        one_answer = (recall.value == 1 - specificity.value) & np.isin(recall.value, (0, 1))  # .5 whatever the groups
        alike = one_answer & ~np.isnan(self.degrees)
        return np.where(alike, self.value, low), np.where(alike, self.value, high)


class AUROC:
    """AUROC of ranked logits, as a function of which groups are in the sample: the share of pairs that rank right.

    A group's influence follows from the wins of its examples over all of the other class: n log n, whatever the groups.
    """

    def __init__(self, ranked: Ranked, groups: Groups) -> None:
        wins, positive = np.empty(ranked.order.shape), np.empty(ranked.order.shape, dtype=bool)
        np.put_along_axis(wins, ranked.order, ranked.wins(), axis=1)
        np.put_along_axis(positive, ranked.order, ranked.positive, axis=1)
        self.classes = Classes(groups.sums(positive), groups.sums(~positive))
        self.weights, self.holders, self.degrees = self.classes.weights, self.classes.holders, self.classes.degrees
        self.won = groups.sums(wins * positive), groups.sums(wins * ~positive)
        self.counts = self.classes.positives, self.classes.negatives
        positives, negatives = (counts.sum(1, keepdims=True) for counts in self.counts)
        self.value = divide(self.won[0].sum(1), (positives * negatives)[:, 0])
        self.opponents = negatives, positives
        numbers = [
            effective_number(np.where(self.value[:, None] > 0.5, counts * others - won, won))
            for counts, others, won in zip(self.counts, self.opponents, self.won, strict=True)
        ]
        self.erring = np.nan_to_num(divide(2 * numbers[0] * numbers[1], numbers[0] + numbers[1]))

    def influence(self) -> np.ndarray:
        negatives, positives = self.opponents
        shares = divide(self.counts[0], positives) + divide(self.counts[1], negatives)
        return divide(self.won[0] + self.won[1], positives * negatives) - self.value[:, None] * shares

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return share_bounds(self)
