"""Read states as matrices [examples, hidden_size], one per layer: all that probes see of models and texts."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

CHUNK_BYTES = 2**26  # of float32 states handled at a time where all rows are visited


class Table(Protocol):
    """Anything that matrices can read from, such as a StateTable."""

    def rows(self, index: Any) -> torch.Tensor:
        """Read float32 [layers, len(index), hidden_size]."""
        ...

    @property
    def hidden_size(self) -> int: ...


@dataclass(frozen=True)
class Matrices:
    """n examples in every layer, by rows.

    table: what they are read from; index: int64 [n], the row of each example.

        Matrices.of(torch.randn(5, 100, 64)).rows([0, 1])  ->  [5, 2, 64]
    """

    table: Table
    index: np.ndarray

    @classmethod
    def of(cls, states: np.ndarray | torch.Tensor) -> "Matrices":
        """Wrap one tensor or array [layers, n, hidden_size]."""
        return cls(_Tensor(torch.as_tensor(states)), np.arange(states.shape[1]))

    def rows(self, which: Any) -> torch.Tensor:
        """Read some of the examples: float32 [layers, len(which), hidden_size]."""
        return self.table.rows(self.index[which])

    @property
    def hidden_size(self) -> int:
        return self.table.hidden_size

    def __len__(self):
        return len(self.index)


@dataclass(frozen=True)
class _Tensor:
    states: torch.Tensor

    def rows(self, index: Any) -> torch.Tensor:
        return self.states[:, index].float()

    @property
    def hidden_size(self) -> int:
        return self.states.shape[2]


def chunks(matrices: Matrices, layers: int | None, columns: int = 1) -> Iterator[np.ndarray]:
    """Yield index arrays of consecutive rows, each small enough to be handled at once, with `columns` results a row."""
    if layers is None:
        layers = matrices.rows(np.arange(1)).shape[0]
    size = max(1, CHUNK_BYTES // (4 * layers * max(columns, matrices.hidden_size)))
    for start in range(0, len(matrices), size):
        yield np.arange(start, min(start + size, len(matrices)))
