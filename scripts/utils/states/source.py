"""The states of one question: tables of the pass, and which of their rows belong to which example."""

from dataclasses import dataclass

import torch

from utils.states.matrices import Matrices
from utils.states.store import StateTable


@dataclass(frozen=True)
class Source:
    """Where the probes of one lag read: the tables of the pass, and which of their rows belong to which example."""

    tables: dict
    rows: dict
    ragged: dict | None = None  # {split: (start, end)}, where whole sequences were read

    def matrices(self, split, keep=slice(None)) -> Matrices:
        return Matrices(self.tables[split], self.rows[split][keep])

    def of_layer(self, split, layer) -> Matrices:
        table = self.tables[split]
        return Matrices(StateTable([layer], table.parts, table.held or table.layers), self.rows[split])

    def attention(self, split) -> Matrices:
        return Matrices(AttentionTable(self.tables[split]), self.rows[split])


@dataclass(frozen=True)
class AttentionTable:
    """The attention rows of a StateTable in the place of a layer's states."""

    table: StateTable

    def rows(self, index) -> torch.Tensor:
        return self.table.attention_rows(index)[None]

    @property
    def hidden_size(self) -> int:
        return self.table.parts[0]["attention"].shape[1]
