"""Compute mass-mean probes: the direction from the negatives' mean to the positives', plain or tilted by the covariance.

    mass_mean(states, labels).weight                              # states [n, hidden_size]; weight [1, hidden_size]
    found = mass_mean(states, labels_of_7_tasks, tilted=True)     # found.weight [7, hidden_size], found.bias [7]

For two positives (3, 0), (3, 2) and two negatives (-1, 0), (-1, 2) the means are (3, 1) and (-1, 1). So weight = (4, 0), and
bias = -4, which makes the logit 0 midway, at (1, 1).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.linalg import get_lapack_funcs

from utils.base.errors import UserError
from utils.probes.labels import label_columns
from utils.probes.standardised import FLAT
from utils.states.matrices import Matrices

BLOCK_NUMBERS = 2**22  # numbers of the states that are handled at a time, in float64
COVARIANCE_BYTES = 2**29  # of the covariances that one visit of the states sums up
WORST_CONDITION = 1e-10  # reciprocal condition number of the correlations, below which they are shrunk
LEAST_WITHIN = 1e-6  # part of the variance along the direction that is within the classes, below which they are shrunk
LEAST_SHRINKAGE = 1e-3  # where the covariance is singular and Ledoit and Wolf's formula says 0


@dataclass(frozen=True)
class MassMeans:
    """One probe for each label column, on raw states: logits = states @ weight + bias.

    weight: float64 [columns, hidden_size]; bias: [columns]; shrinkage: [columns], 0 where none was needed.
    """

    weight: np.ndarray
    bias: np.ndarray
    shrinkage: np.ndarray


def mass_mean(
    states: ArrayLike | Matrices, labels: ArrayLike, row_weights: ArrayLike | None = None, tilted: bool = False
) -> MassMeans:
    """Take the difference of the classes' means, delta = mean+ - mean-, of each label column (Marks and Tegmark 2024).

    Plain: weight = delta. Tilted: weight = S^-1 delta, where S is the pooled covariance within the classes (divided by the
    sum of weights); this is linear discriminant analysis of equally frequent classes. The bias puts logit 0 midway between
    the means. The logit of a tilted probe is in nats where classes are normal with that covariance; that of a plain one has
    no scale.

    states: [n, hidden_size] of any float type, or Matrices of one layer.
    labels: 0 and 1, [n] or [n, columns].
    row_weights: >= 0, likewise (0: the row is not in that column).

    States are visited once in blocks for all columns, and if tilted again for every COVARIANCE_BYTES of covariances, one for
    each different column of weights. A constant feature has weight 0.

    A singular or ill-conditioned S becomes (1 - a) S + a D. D holds the variances of the features, both classes together; a
    is the shrinkage of Ledoit and Wolf (2004) for standardised states toward the identity, which costs one more visit.

    Raises UserError for states that are not finite, columns of one class, and labels or weights of a wrong kind.
    """
    blocks = Blocks(states)
    truth, weights = label_columns(labels, row_weights, len(blocks))
    means = class_means(blocks, truth, weights)
    delta = means.positive - means.negative
    weight, shrinkage = tilt(blocks, weights, means, delta) if tilted else (delta, np.zeros(len(delta)))
    bias = -(weight * (means.positive + means.negative)).sum(1) / 2 - weight @ blocks.origin.numpy()
    return MassMeans(weight, bias, shrinkage)


class Blocks:
    """States in float64, a block of rows at a time, less `origin`: a point near their mean, exact for constant features."""

    def __init__(self, states: ArrayLike | Matrices):
        held = states if isinstance(states, Matrices) else torch.as_tensor(states).detach()
        shape = [len(held), held.hidden_size] if isinstance(held, Matrices) else list(held.shape)
        if len(shape) != 2 or not shape[0]:
            raise UserError(f"states have shape {shape}; give [n, hidden_size] with n of at least 2")
        self.states, self.hidden_size = held, shape[1]
        self.size = max(1, BLOCK_NUMBERS // self.hidden_size)
        first = self.read(0)
        self.origin = torch.where(first.amin(0) == first.amax(0), first[0], first.mean(0))

    def __len__(self):
        return len(self.states)

    def read(self, start: int) -> torch.Tensor:
        """Read the block that begins at this row, as it is."""
        stop = min(start + self.size, len(self))
        if isinstance(self.states, Matrices):
            part = self.states.rows(np.arange(start, stop))[0]
        else:
            part = self.states[start:stop].cpu()
        if not part.isfinite().all():
            wrong = int((~part.isfinite()).any(1).sum())
            raise UserError(
                f"{wrong} of states {start} to {stop - 1} are not finite; drop them, or read them in bfloat16 or float32"
            )
        return part.double()

    def __iter__(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield the slice of rows of each block, and its states [rows, hidden_size]."""
        for start in range(0, len(self), self.size):
            part = self.read(start) - self.origin
            yield slice(start, start + len(part)), part


@dataclass(frozen=True)
class Means:
    """The means of each class, relative to the origin of the blocks.

    positive, negative: float64 [columns, hidden_size]; share: of positives in the weights, [columns].
    """

    positive: np.ndarray
    negative: np.ndarray
    share: np.ndarray

    @property
    def overall(self) -> np.ndarray:
        return self.share[:, None] * self.positive + (1 - self.share[:, None]) * self.negative


def class_means(states: Blocks, labels: torch.Tensor, weights: torch.Tensor) -> Means:
    """Average each class of each column."""
    sums, totals = torch.zeros(2, dtype=torch.float64)
    for rows, part in states:
        weight, label = weights[rows].double(), labels[rows].double()
        each = torch.stack([weight * label, weight * (1 - label)])
        sums, totals = sums + each.mT @ part, totals + each.sum(1)
    positive, negative = (sums / totals[..., None]).numpy()
    return Means(positive, negative, (totals[0] / totals.sum(0)).numpy())


def tilt(states: Blocks, weights: torch.Tensor, means: Means, delta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve for the tilted weight [columns, hidden_size] and the shrinkage [columns].

    Columns with the same weights share their total covariance T, and one factorisation does for all: S = T - spread delta
    delta^T with spread = share (1 - share), so that S^-1 delta = T^-1 delta / (1 - spread delta . T^-1 delta) (Sherman and
    Morrison 1950), and with shrinkage likewise.
    """
    distinct, owner = distinct_columns(weights)
    weight, shrinkage = np.zeros_like(delta), np.zeros(len(delta))
    at_once = max(1, COVARIANCE_BYTES // (8 * states.hidden_size**2))
    for start in range(0, len(distinct), at_once):
        kinds = np.arange(start, min(start + at_once, len(distinct)))
        moments = second_moments(states, weights[:, distinct[kinds]])
        for kind, moment in zip(kinds, moments, strict=True):
            columns = np.flatnonzero(owner == kind)
            centre = means.overall[columns[0]]
            spread = means.share[columns] * (1 - means.share[columns])
            total = Total.of(moment - np.outer(centre, centre), np.abs(centre + states.origin.numpy()), np.abs(centre))
            row_weights = weights[:, distinct[kind]]
            weight[columns], shrinkage[columns] = total.directions(
                delta[columns],
                spread,
                lambda total, row_weights=row_weights, centre=centre: ledoit_wolf(states, row_weights, centre, total),
            )
    return weight, shrinkage


def distinct_columns(weights: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Find which columns differ from all before, and for each column the number of the one that it equals."""
    if weights.stride(1) == 0:
        return np.zeros(1, dtype=int), np.zeros(weights.shape[1], dtype=int)
    _, first, owner = np.unique(weights.numpy(), axis=1, return_index=True, return_inverse=True)
    return first, owner.reshape(-1)


def second_moments(states: Blocks, weights: torch.Tensor) -> list[np.ndarray]:
    """Average the products of features, [hidden_size, hidden_size] for each column of weights.

    They are of the states less their origin.
    """
    sums, totals = [torch.tensor(0.0)] * weights.shape[1], weights.sum(0, dtype=torch.float64)
    for rows, part in states:
        for column, weight in enumerate(weights[rows].double().mT):
            there = weight > 0
            kept, weight = (part, weight) if there.all() else (part[there], weight[there])
            sums[column] = sums[column] + (kept * weight[:, None]).mT @ kept
    return [(each / total).numpy() for each, total in zip(sums, totals, strict=True)]


@dataclass(frozen=True)
class Total:
    """A covariance as correlations [k, k] of the k features that vary, their standard deviations [k], and which they are."""

    correlations: np.ndarray
    deviation: np.ndarray
    varies: np.ndarray

    @classmethod
    def of(cls, covariance: np.ndarray, *sizes: np.ndarray) -> "Total":
        """Split a covariance [hidden_size, hidden_size].

        sizes: [hidden_size] each, the numbers beside which a deviation may be rounding alone.
        """
        deviation = np.sqrt(np.diag(covariance).clip(min=0))
        varies = np.flatnonzero(deviation > FLAT * np.maximum(*sizes).clip(min=1e-30))
        deviation = deviation[varies]
        return cls(covariance[np.ix_(varies, varies)] / np.outer(deviation, deviation), deviation, varies)

    def directions(
        self, delta: np.ndarray, spread: np.ndarray, shrinkage_of: Callable[["Total"], float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Solve for S^-1 delta [columns, hidden_size] and the shrinkage [columns].

        shrinkage_of(self) gives the shrinkage where some is needed.
        """
        weight, shrinkage = np.zeros_like(delta), np.zeros(len(delta))
        if not len(self.varies):
            return weight, shrinkage
        scaled = (delta[:, self.varies] / self.deviation).T
        found, within = self.solved(scaled, spread, 0.0)
        poor = ~(within > LEAST_WITHIN)
        if poor.any():
            shrinkage[poor] = shrinkage_of(self)
            found[:, poor], within[poor] = self.solved(scaled[:, poor], spread[poor], shrinkage[poor][0])
        weight[:, self.varies] = (found / within).T / self.deviation
        return weight, shrinkage

    def solved(self, scaled: np.ndarray, spread: np.ndarray, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
        """Solve for x = ((1 - shrinkage) correlations + shrinkage)^-1 scaled, [k, columns].

        Also returns 1 - spread (1 - shrinkage) (scaled . x), [columns]. NaN where the matrix is ill-conditioned.
        """
        matrix = (1 - shrinkage) * self.correlations
        np.fill_diagonal(matrix, 1.0)
        potrf, pocon, potrs = get_lapack_funcs(("potrf", "pocon", "potrs"), (matrix,))
        factor, failed = potrf(matrix, lower=1)
        condition = 0.0 if failed else pocon(factor, np.abs(matrix).sum(0).max(), uplo="L")[0]
        if condition < WORST_CONDITION:
            return np.full_like(scaled, np.nan), np.full(len(spread), np.nan)
        found = potrs(factor, scaled, lower=1)[0]
        return found, 1 - (1 - shrinkage) * spread * (scaled * found).sum(0)


def ledoit_wolf(states: Blocks, weights: torch.Tensor, centre: np.ndarray, total: Total) -> float:
    """Choose the shrinkage of standardised states toward the identity (Ledoit and Wolf 2004, section 3).

    n is the effective number of rows, (sum of weights)^2 / sum of their squares.
    """
    fourth, share = 0.0, weights.double() / weights.sum(dtype=torch.float64)
    for rows, part in states:
        standard = (part.numpy() - centre)[:, total.varies] / total.deviation
        fourth += float(share[rows].numpy() @ (standard**2).sum(1) ** 2)
    squares = (total.correlations**2).sum()
    noise = (fourth - squares) * float(share.square().sum())
    distance = squares - len(total.varies)
    return max(min(noise / distance, 1.0), LEAST_SHRINKAGE) if distance > 0 else 1.0
