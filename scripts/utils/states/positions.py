"""Apply the lag: find which tokens are labelled, and which states lie `lag` tokens away from them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from utils.data.sequences import Sequences
from utils.states.sites import Layer


def lag_name(lag: int) -> str:
    """Name a lag as file names do: -1 -> 'next', 0 -> 'current', -4 -> 'lag-4'."""
    return {-1: "next", 0: "current"}.get(lag, f"lag{lag}")


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

    def __getitem__(self, index: Any) -> "Examples":
        return Examples(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def examples_at(sequences: Sequences, lag: int, all_lags: Iterable[int] = ()) -> Examples:
    """Find every labelled token whose position + lag is a text token of its sequence (and so for each of `all_lags`)."""
    sequence, position, labels = sequences.labelled()
    ends = sequences.text_ends[sequence]
    there = np.ones(len(labels), dtype=bool)
    for each in {lag, *all_lags}:
        there &= (position + each >= sequences.text_start) & (position + each < ends)
    sequence, position, labels = sequence[there], position[there], labels[there]
    read = position + lag
    groups = sequences.groups[sequence].astype(np.int64)
    return Examples(sequence, position, read, labels, groups, sequences.input_ids[sequence, read])


def at_labelled(at_state: np.ndarray, lag: int) -> np.ndarray:
    """Move what each state says to the token that it speaks of: column p + lag to column p, NaN where there is none."""
    result = np.full_like(at_state, np.nan)
    tokens = at_state.shape[1]
    to = slice(max(0, -lag), max(0, min(tokens, tokens - lag)))
    result[:, to] = at_state[:, max(0, lag) : max(0, min(tokens, tokens + lag))]
    return result


@dataclass(frozen=True)
class Question:
    """One question to the probes: a target of the data, seen from a state `lag` tokens away from the labelled token.

    target     index of the target among those that are asked for
    lag        in tokens; negative lags predict the future
    sequences  {split: Sequences} with the labels of this target
    examples   {split: Examples} at this lag
    in_sample  bool [n_train, seeds]: which examples of train each seed trains on; None where nothing is trained
    of_sequences  whether whole sequences are labelled
    all_lags   lags at which each example must have a state too
    """

    target: int
    lag: int
    sequences: Mapping[str, Sequences]
    examples: Mapping[str, Examples]
    in_sample: np.ndarray | None = None
    of_sequences: bool = False
    all_lags: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[int, int]:
        """Identify the question within a run: (target, lag)."""
        return self.target, self.lag

    @property
    def name(self) -> str:
        """Name the target."""
        return self.data.target_name

    @property
    def data(self) -> Sequences:
        """Give the sequences of one split: what they say of the target holds for all."""
        return next(iter(self.sequences.values()))

    @property
    def first_sample(self) -> dict[str, Examples]:
        """Give the examples of every split, of train those that the first seed trains on."""
        if self.in_sample is None:
            return dict(self.examples)
        return {**self.examples, "train": self.examples["train"][self.in_sample[:, 0]]}

    @property
    def asked(self) -> Examples:
        """Find all examples of train, whatever was drawn of them."""
        return examples_at(self.sequences["train"], self.lag, self.all_lags)

    def keep(self, kept: Mapping[str, np.ndarray]) -> "Question":
        """Return the same question with only some of its examples. kept: {split: bool [n]}; other splits stay whole."""
        examples = {name: those[kept[name]] if name in kept else those for name, those in self.examples.items()}
        in_sample = self.in_sample
        if in_sample is not None and "train" in kept:
            in_sample = in_sample[kept["train"]]
        return replace(self, examples=examples, in_sample=in_sample)


@dataclass(frozen=True)
class ReadPlan:
    """Everything that one pass reads of a set of sequences: the rows of a table of states.

    sequence     int64 [rows]  } distinct pairs in order, whatever lags they serve
    position     int64 [rows]  }
    layers       which layers are read at every row
    pool         "last": a row is the state at its position; "mean", "max": the mean, or the largest value of each
                 dimension, over the states of the text tokens up to and including it, special tokens left out
    segments     into how many segments attention rows are cut; 0: none are read
    attended     bool [rows]: the rows that need attention features (None: all); those of the others are 0
    own_targets  int64 [rows]: the token whose own log-odds the model is asked for, -1 where it is not asked (None: nowhere)
    """

    sequence: np.ndarray
    position: np.ndarray
    layers: tuple[Layer, ...] = ()
    pool: str = "last"
    segments: int = 0
    attended: np.ndarray | None = None
    own_targets: np.ndarray | None = None

    @classmethod
    def union(cls, examples: Iterable[Examples], layers: Iterable[Layer] = (), pool: str = "last") -> "ReadPlan":
        """Plan to read every position that any of the examples reads, each once."""
        pairs = np.unique(np.concatenate([np.stack([those.sequence, those.read], axis=1) for those in examples]), axis=0)
        return cls(pairs[:, 0].copy(), pairs[:, 1].copy(), tuple(layers), pool)

    def rows(self, examples: Examples) -> np.ndarray:
        """Find the row that holds each example's state: int64 [n]."""
        width = int(max(self.position.max(), examples.read.max(initial=0))) + 1
        return np.searchsorted(self.sequence * width + self.position, examples.sequence * width + examples.read)

    def __len__(self):
        return len(self.sequence)


def whole_sequences(sequences: Sequences, examples: Iterable[Examples], layers: Iterable[Layer] = ()) -> ReadPlan:
    """Plan to read, of each sequence that has an example, every text token up to the last one that is read."""
    last = np.full(len(sequences), -1, dtype=np.int64)
    for found in examples:
        np.maximum.at(last, found.sequence, found.read)
    counts = np.maximum(last + 1 - sequences.text_start, 0)
    before = np.cumsum(counts) - counts
    sequence = np.repeat(np.arange(len(sequences)), counts)
    position = np.arange(len(sequence)) - before[sequence] + sequences.text_start
    return ReadPlan(sequence, position, tuple(layers))


def text_before(plan: ReadPlan, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows that each example attends over: (start, end), int64 [n].

    Example i attends over rows start[i] to end[i] - 1 of a plan of whole sequences: the text tokens of its sequence up to
    and including the one that is read. Raise ValueError on any other plan.
    """
    start, end = np.searchsorted(plan.sequence, examples.sequence), plan.rows(examples) + 1
    if (plan.position[start] + (end - start) != examples.read + 1).any():
        raise ValueError("the plan does not hold every token of the sequences up to the one that is read")
    return start, end
