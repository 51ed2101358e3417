"""Average the states of each class of each label column, a block of rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from utils.base.errors import UserError
from utils.states.matrices import Matrices

BLOCK_NUMBERS = 2**22  # numbers of the states that are handled at a time, in float64


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

    def magnitude(self, means: "Means") -> np.ndarray:
        """Give the numbers beside which a deviation may be rounding alone, [columns, hidden_size]."""
        overall = means.overall
        return np.maximum(np.abs(overall + self.origin.numpy()), np.abs(overall)).clip(min=1e-30)

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

    def of(self, columns: Sequence[int] | np.ndarray) -> "Means":
        return Means(self.positive[columns], self.negative[columns], self.share[columns])

    @property
    def delta(self) -> np.ndarray:
        return self.positive - self.negative

    @property
    def spread(self) -> np.ndarray:
        """The part of delta delta^T that the separation of the classes adds to the covariance: share (1 - share)."""
        return self.share * (1 - self.share)

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
