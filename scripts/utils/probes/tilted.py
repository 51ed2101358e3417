"""Divide the difference of the classes' means by the covariance within the classes, shrunk where it is ill-conditioned.

Columns with the same weights share their total covariance T. One factorisation does for all of them, since the covariance
within the classes is S = T - spread delta delta^T, and so S^-1 delta = T^-1 delta / (1 - spread delta . T^-1 delta) (Sherman
and Morrison 1950). A column that is shrunk toward its own variances needs its own, of its rows where they are few.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve, get_lapack_funcs

from utils.probes.class_means import Blocks, Means
from utils.probes.shrinkage import LEAST_WITHIN, few_rows_direction, ledoit_wolf
from utils.probes.standardised import FLAT

COVARIANCE_BYTES = 2**29  # of the covariances that one visit of the states sums up
FEATURES_PER_ROW = 2  # from which on the rows are factorised in place of the features
WORST_CONDITION = 1e-10  # reciprocal condition number of the correlations, below which they are shrunk


def tilt(states: Blocks, labels: torch.Tensor, weights: torch.Tensor, means: Means) -> tuple[np.ndarray, np.ndarray]:
    """Solve for the tilted weight [columns, hidden_size] and the shrinkage [columns]: see `mass_mean.mass_mean`.

    labels, weights: [n, columns].
    """
    delta, spread = means.delta, means.spread
    weight, shrinkage, solved = np.zeros_like(delta), np.zeros(len(delta)), np.zeros(len(delta), dtype=bool)
    if FEATURES_PER_ROW * len(states) <= states.hidden_size:
        for column, direction, amount in few_rows(states, labels, weights, means):
            weight[column], shrinkage[column], solved[column] = direction, amount, True
    distinct, owner = distinct_columns(weights)
    kinds = np.unique(owner[~solved])
    at_once = max(1, COVARIANCE_BYTES // (8 * states.hidden_size**2))
    for start in range(0, len(kinds), at_once):
        now, poor = kinds[start : start + at_once], []
        for kind, total in zip(now, totals(states, weights, means, distinct[now]), strict=True):
            columns = np.flatnonzero((owner == kind) & ~solved)
            weight[columns], within = total.directions(delta[columns], spread[columns])
            poor += [
                Within.of(total, column, delta[column], float(spread[column]))
                for column in columns[~(within > LEAST_WITHIN)]
            ]
        if poor:
            columns = [within.column for within in poor]
            fourth = fourth_moments(states, labels[:, columns], weights[:, columns], means.of(columns), poor)
            for within, moment in zip(poor, fourth, strict=True):
                own = weights[:, within.column].double()
                rows = float(own.sum() ** 2 / own.square().sum())
                weight[within.column, within.total.varies], shrinkage[within.column] = within.direction(moment, rows)
    return weight, shrinkage


def few_rows(
    states: Blocks, labels: torch.Tensor, weights: torch.Tensor, means: Means
) -> Iterator[tuple[int, np.ndarray, float]]:
    """Yield columns with their weight [hidden_size] and shrinkage, where no more rows than features vary."""
    every, size = torch.cat([part for _, part in states]).numpy(), states.magnitude(means)
    for column, own in enumerate(weights.double().mT.numpy()):
        rows = np.flatnonzero(own)
        positive = labels[rows, column].bool().numpy()[:, None]
        residuals = every[rows] - np.where(positive, means.positive[column], means.negative[column])
        share = own[rows] / own.sum()
        found = few_rows_direction(residuals, share, means.delta[column], means.spread[column], size[column])
        if found is not None:
            yield column, *found


def distinct_columns(weights: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Find which columns differ from all before, and for each column the number of the one that it equals."""
    if weights.stride(1) == 0:
        return np.zeros(1, dtype=int), np.zeros(weights.shape[1], dtype=int)
    _, first, owner = np.unique(weights.numpy(), axis=1, return_index=True, return_inverse=True)
    return first, owner.reshape(-1)


def second_moments(states: Blocks, weights: torch.Tensor) -> Iterator[np.ndarray]:
    """Average the products of features, [hidden_size, hidden_size] for each column of weights.

    They are of the states less their origin. Each is forgotten once it has been given.
    """
    sums, whole = [torch.tensor(0.0)] * weights.shape[1], weights.sum(0, dtype=torch.float64).tolist()
    for rows, part in states:
        for column, weight in enumerate(weights[rows].double().mT):
            there = weight > 0
            kept, weight = (part, weight) if there.all() else (part[there], weight[there])
            sums[column] = sums[column] + (kept * weight[:, None]).mT @ kept
    for total in whole:
        yield (sums.pop(0) / total).numpy()


@dataclass(frozen=True)
class Total:
    """A covariance as correlations [k, k] of the k features that vary, their standard deviations [k], and which they are."""

    correlations: np.ndarray
    deviation: np.ndarray
    varies: np.ndarray

    @classmethod
    def of(cls, covariance: np.ndarray, size: np.ndarray) -> "Total":
        """Split a covariance [hidden_size, hidden_size]. size: see `Blocks.magnitude`, of one column."""
        deviation = np.sqrt(np.diag(covariance).clip(min=0))
        varies = np.flatnonzero(deviation > FLAT * size)
        deviation = deviation[varies]
        return cls(covariance[np.ix_(varies, varies)] / np.outer(deviation, deviation), deviation, varies)

    def directions(self, delta: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Solve for S^-1 delta [columns, hidden_size] and the part of the variance along it that is within the classes.

        That part is 1 - spread delta . T^-1 delta, [columns]; NaN where T is ill-conditioned.
        """
        weight = np.zeros_like(delta)
        if not len(self.varies):
            return weight, np.ones(len(delta))
        scaled = (delta[:, self.varies] / self.deviation).T
        matrix = self.correlations.copy()
        np.fill_diagonal(matrix, 1.0)
        potrf, pocon, potrs = get_lapack_funcs(("potrf", "pocon", "potrs"), (matrix,))
        factor, failed = potrf(matrix, lower=1)
        condition = 0.0 if failed else pocon(factor, np.abs(matrix).sum(0).max(), uplo="L")[0]
        if condition < WORST_CONDITION:
            return weight, np.full(len(spread), np.nan)
        found = potrs(factor, scaled, lower=1)[0]
        within = 1 - spread * (scaled * found).sum(0)
        found /= np.where(within > LEAST_WITHIN, within, 1.0)
        weight[:, self.varies] = found.T / self.deviation
        return weight, within


def totals(states: Blocks, weights: torch.Tensor, means: Means, columns: np.ndarray) -> list[Total]:
    """Measure the total covariance of each of these columns of weights, in one visit of the states."""
    moments = second_moments(states, weights[:, columns])
    centres, sizes = means.overall[columns], states.magnitude(means.of(columns))
    return [
        Total.of(moment - np.outer(centre, centre), size)
        for moment, centre, size in zip(moments, centres, sizes, strict=True)
    ]


@dataclass(frozen=True)
class Within:
    """What a label column that is shrunk knows of its k features that vary, beside their total covariance.

    scaled: delta in units of the total deviations, [k].
    variance: within the classes, in units of the total ones and at least LEAST_WITHIN, [k].
    measured: whether it is more than that, [k].
    """

    total: Total
    column: int
    spread: float
    scaled: np.ndarray
    variance: np.ndarray
    measured: np.ndarray

    @classmethod
    def of(cls, total: Total, column: int, delta: np.ndarray, spread: float) -> "Within":
        """Take the separation of the classes, delta [hidden_size], off the total variances."""
        scaled = delta[total.varies] / total.deviation
        variance = 1 - spread * scaled**2
        return cls(total, column, spread, scaled, variance.clip(min=LEAST_WITHIN), variance > LEAST_WITHIN)

    @property
    def precision(self) -> np.ndarray:
        """1 / variance within the classes, of raw states, [k]; 0 where that was not measured."""
        return self.measured / (self.variance * self.total.deviation**2)

    def direction(self, fourth: float, rows: float) -> tuple[np.ndarray, float]:
        """Solve for ((1 - a) S + a D)^-1 delta, [k], and the shrinkage a.

        fourth: see `fourth_moments`; rows: their effective number.
        """
        deviation = np.sqrt(self.variance)
        matrix = self.total.correlations - np.outer(self.spread * self.scaled, self.scaled)
        matrix /= deviation
        matrix /= deviation[:, None]
        matrix[~self.measured] = matrix[:, ~self.measured] = 0.0
        np.fill_diagonal(matrix, self.measured)
        shrinkage = ledoit_wolf(float(np.vdot(matrix, matrix)), np.trace(matrix), fourth, rows)
        matrix *= 1 - shrinkage
        np.fill_diagonal(matrix, 1.0)
        factor = cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)
        found = cho_solve(factor, self.scaled / deviation, check_finite=False)
        return found / (deviation * self.total.deviation), shrinkage


def fourth_moments(
    states: Blocks, labels: torch.Tensor, weights: torch.Tensor, means: Means, withins: list[Within]
) -> np.ndarray:
    """Average |z|^4 of each column in one visit of the states, [columns].

    z is a state less the mean of its class, each measured feature divided by its deviation within the classes.
    """
    precision = torch.zeros(len(withins), states.hidden_size, dtype=torch.float64)
    for each, within in zip(precision, withins, strict=True):
        each[torch.from_numpy(within.total.varies)] = torch.from_numpy(within.precision)
    positive, negative = torch.from_numpy(means.positive), torch.from_numpy(means.negative)
    along, toward = (2 * precision * negative).T, (2 * precision * (positive - negative)).T
    behind, between = (precision * negative.square()).sum(1), (precision * (positive.square() - negative.square())).sum(1)
    fourth = torch.zeros(len(withins), dtype=torch.float64)
    for rows, part in states:
        squares = part.square() @ precision.T - part @ along + behind
        squares += labels[rows] * (between - part @ toward)  # to the mean of the positives instead
        fourth += (weights[rows] * squares.square()).sum(0)
    return (fourth / weights.sum(0, dtype=torch.float64)).numpy()
