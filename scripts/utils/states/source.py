"""Find the states of one question: the tables of the pass, and which of their rows belong to which example."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from utils.states.matrices import Matrices
from utils.states.sites import Layer
from utils.states.store import StateTable


@dataclass(frozen=True)
class Source:
    """Where the probes of one question read.

    tables    {split: StateTable} of the pass
    rows      {split: int64 [n]}: the row of each example
    attended  {split: (start, end)}, int64 [n] each: the rows that each example attends over; None unless whole sequences
              were read
    """

    tables: Mapping[str, StateTable]
    rows: Mapping[str, np.ndarray]
    attended: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None

    @property
    def layers(self) -> list[Layer]:
        """List the layers of the tables."""
        return next(iter(self.tables.values())).layers

    def matrices(self, split: str, keep: Any = slice(None)) -> Matrices:
        """Give the examples of a split in every layer, or some of them."""
        return Matrices(self.tables[split], self.rows[split][keep])

    def of_layer(self, split: str, layer: Layer) -> Matrices:
        """Give the examples of a split in one layer alone."""
        table = self.tables[split]
        return Matrices(StateTable([layer], table.parts, table.held or table.layers), self.rows[split])

    def attention(self, split: str) -> Matrices:
        """Give the attention rows of the examples as if they were a layer's states."""
        return Matrices(AttentionTable(self.tables[split]), self.rows[split])


@dataclass(frozen=True)
class AttentionTable:
    """The attention rows of a StateTable, offered as if they were a layer's states."""

    table: StateTable

    def rows(self, index: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Give float32 [1, len(index), features]."""
        return self.table.attention_rows(index)[None]

    @property
    def hidden_size(self) -> int:
        return self.table.parts[0]["attention"].shape[1]
