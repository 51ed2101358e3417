"""Find the tokens at and around the states that a pass reads."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from utils.data.sequences import Sequences
from utils.states.positions import ReadPlan

SAME_TOKENS = 8  # two contexts that end in as many equal tokens are one: licences, headings and refrains stand in many texts
MULTIPLIER = np.int64(0x9E3779B97F4A7C15 - 2**64)  # odd; of a polynomial hash modulo 2^64


@dataclass(frozen=True)
class TextRows:
    """The rows of a plan, and the text that each of them stands in."""

    sequences: Sequences
    plan: ReadPlan

    def __len__(self) -> int:
        return len(self.plan)

    @cached_property
    def tokens(self) -> np.ndarray:
        """The token at each row: int32 [rows]."""
        return self.sequences.input_ids[self.plan.sequence, self.plan.position]

    @cached_property
    def following(self) -> np.ndarray:
        """The token after each row, -1 at the end of a text: int32 [rows]."""
        after = self.plan.position + 1
        there = after < self.sequences.text_ends[self.plan.sequence]
        found = self.sequences.input_ids[self.plan.sequence, np.where(there, after, 0)]
        return np.where(there, found, -1).astype(np.int32)

    @cached_property
    def _places(self) -> np.ndarray:
        return self.plan.sequence * self._width + self.plan.position

    @property
    def _width(self) -> int:
        return self.sequences.input_ids.shape[1] + 1

    def around(self, rows: np.ndarray, before: int, after: int) -> np.ndarray:
        """Give the tokens from `before` before to `after` after each row: int32 [n, before + 1 + after].

        -1 outside the sequence. What the tokenizer puts around a text is inside.
        """
        sequence = self.plan.sequence[rows][:, None]
        position = self.plan.position[rows][:, None] + np.arange(-before, after + 1)
        there = (position >= 0) & (position < self.sequences.lengths[sequence])
        return np.where(there, self.sequences.input_ids[sequence, np.where(there, position, 0)], -1).astype(np.int32)

    def rows_around(self, rows: np.ndarray, before: int, after: int) -> np.ndarray:
        """Give the rows of the same places: int64 [n, before + 1 + after], -1 where no state is read."""
        steps = np.arange(-before, after + 1)
        position = self.plan.position[rows][:, None] + steps
        wanted = self.plan.sequence[rows][:, None] * self._width + position
        found = np.clip(np.searchsorted(self._places, wanted), 0, len(self) - 1)
        there = (position >= 0) & (position < self._width - 1) & (self._places[found] == wanted)
        return np.where(there, found, -1)

    def contexts(self, rows: np.ndarray) -> np.ndarray:
        """Hash the last SAME_TOKENS tokens up to and including each row: int64 [n]."""
        result = np.zeros(len(rows), dtype=np.int64)
        with np.errstate(over="ignore"):
            for column in self.around(rows, SAME_TOKENS - 1, 0).T:
                result = (result + column + 2) * MULTIPLIER
        return result
