"""What is read where: layers by name, and the positions that lie a lag away from the labelled tokens."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


def lag_name(lag) -> str:
    """-1 -> 'next', 0 -> 'current', -4 -> 'lag-4'"""
    return {-1: "next", 0: "current"}.get(lag, f"lag{lag}")


class Question(NamedTuple):
    """What probes are asked: which of the data's targets, from a state how far from the labelled token."""

    target: int
    lag: int


@dataclass(frozen=True)
class Examples:
    """n labelled tokens with a state to read at one lag: the label at `position` is predicted from the state at `read`.

    All int64 [n] but labels (int8) and tokens (int32, the id of the token that is read).
    """

    sequence: np.ndarray
    position: np.ndarray
    read: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    tokens: np.ndarray

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index) -> "Examples":
        return Examples(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def examples_at(sequences, lag, all_lags=()) -> Examples:
    """Every labelled token whose position + lag is a text token of its sequence (for `all_lags` likewise)."""
    sequence, position, labels = sequences.labelled()
    ends = sequences.text_ends[sequence]
    there = np.ones(len(labels), dtype=bool)
    for each in {lag, *all_lags}:
        there &= (position + each >= sequences.text_start) & (position + each < ends)
    sequence, position, labels = sequence[there], position[there], labels[there]
    read = position + lag
    return Examples(
        sequence, position, read, labels, sequences.groups[sequence].astype(np.int64), sequences.input_ids[sequence, read]
    )


@dataclass(frozen=True)
class ReadPlan:
    """The rows of a table of states: distinct (sequence, position) pairs in order, whatever lags they serve.

    pool: "last": a row is the state at its position; "mean", "max": the mean, or the largest value of each dimension,
    over the states of the text tokens up to and including it, special tokens left out. attended: bool, of which rows
    attention rows are read where they are asked for (None: of all); those of the others are 0.
    """

    sequence: np.ndarray
    position: np.ndarray
    pool: str = "last"
    attended: np.ndarray | None = None

    @classmethod
    def union(cls, examples, pool="last") -> "ReadPlan":
        pairs = np.unique(np.concatenate([np.stack([e.sequence, e.read], axis=1) for e in examples]), axis=0)
        return cls(pairs[:, 0].copy(), pairs[:, 1].copy(), pool)

    def rows(self, examples) -> np.ndarray:
        """int64 [n]: the row that holds each example's state."""
        width = int(max(self.position.max(), examples.read.max(initial=0))) + 1
        return np.searchsorted(self.sequence * width + self.position, examples.sequence * width + examples.read)

    def __len__(self):
        return len(self.sequence)


def whole_sequences(sequences, *examples) -> ReadPlan:
    """Every text token from the first up to the last that is read, of each sequence that has an example (of any lag)."""
    last = np.full(len(sequences), -1, dtype=np.int64)
    for found in examples:
        np.maximum.at(last, found.sequence, found.read)
    counts = np.maximum(last + 1 - sequences.text_start, 0)
    before = np.cumsum(counts) - counts
    sequence = np.repeat(np.arange(len(sequences)), counts)
    return ReadPlan(sequence, np.arange(len(sequence)) - before[sequence] + sequences.text_start)


def ragged(plan, examples) -> tuple[np.ndarray, np.ndarray]:
    """(start, end), int64 [n]: example i attends over rows start[i] to end[i] - 1 of a plan of whole sequences, which are
    the text tokens of its sequence up to and including the one that is read. Raises ValueError on any other plan.
    """
    start, end = np.searchsorted(plan.sequence, examples.sequence), plan.rows(examples) + 1
    if (plan.position[start] + (end - start) != examples.read + 1).any():
        raise ValueError("the plan does not hold every token of the sequences up to the one that is read")
    return start, end
