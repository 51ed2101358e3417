"""Lay out examples that are ranges of a table's rows: their sequences, softmaxes over all at once, their standardisation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from utils.base.errors import UserError
from utils.probes.standardised import FLAT
from utils.states.matrices import Matrices, Table
from utils.states.source import Source

PART_NUMBERS = {"cpu": 2**19, "cuda": 2**26}  # of states, or padded scalars, handled at a time: about what a cache holds
Backward = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
HALF_REACH = {torch.float64: 640.0, torch.float32: 60.0}  # exp of it, and 1 / exp of it, are far from overflow


@dataclass(frozen=True)
class Ranges:
    """n examples of one sequence each: example i is the rows start[i] .. end[i] - 1 of a table, and may share them.

    table: such as a StateTable.
    start: int64 [n].
    end: int64 [n], or [n, columns] where each label column reads up to another row.

    Examples with the same start are of the same sequence: its rows are read once for all of them. Raises UserError for an
    empty range.

        Ranges.of(torch.randn(5, 100, 64), start=[0, 0, 40], end=[30, 40, 100])
    """

    table: Table
    start: np.ndarray
    end: np.ndarray

    @classmethod
    def of(cls, states: np.ndarray | torch.Tensor, start: ArrayLike, end: ArrayLike) -> "Ranges":
        """Make them of one tensor or array [layers, tokens, hidden_size]."""
        return cls(Matrices.of(states).table, np.asarray(start), np.asarray(end))

    def __post_init__(self):
        start, end = np.asarray(self.start, dtype=np.int64), np.asarray(self.end, dtype=np.int64)
        if start.ndim != 1 or end.ndim not in (1, 2) or len(start) != len(end) or not end.size:
            raise UserError(
                f"start has shape {list(start.shape)} and end {list(end.shape)}; give [n] and [n] or "
                "[n, columns], of at least one example"
            )
        empty = np.flatnonzero((end.reshape(len(end), -1) <= start[:, None]).any(1))
        if len(empty):
            raise UserError(
                f"{len(empty)} of {len(start)} examples have no token to pool, the first of them example "
                f"{empty[0]} (from row {start[empty[0]]} to before row {np.min(end[empty[0]])}); leave them out"
            )
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "end", end)

    def __len__(self):
        return len(self.start)

    def __getitem__(self, which: Any) -> "Ranges":
        return Ranges(self.table, self.start[which], self.end[which])

    @property
    def ends(self) -> np.ndarray:
        """`end` as [n, columns], or [n, 1] where all columns read the same rows."""
        return self.end.reshape(len(self.end), -1)

    def require_columns(self, columns: int):
        """Raise UserError unless so many label columns can read these examples."""
        if self.ends.shape[1] not in (1, columns):
            raise UserError(
                f"the examples have ends for {self.ends.shape[1]} label columns, not {columns}; give end as [n] "
                "or [n, columns]"
            )

    @cached_property
    def sequences(self) -> "SharedStarts":
        """Group the examples by their starts."""
        first, sequence = np.unique(self.start, return_inverse=True)
        order, count = np.argsort(sequence, kind="stable"), np.bincount(sequence)
        offset = np.cumsum(count) - count
        return SharedStarts(first, np.maximum.reduceat(self.ends[order], offset) - first[:, None], order, offset, count)

    def parts(
        self, layers: int, scores: int, device: str | torch.device, chosen: np.ndarray | None = None
    ) -> Iterator["Part"]:
        """Yield parts of the chosen sequences (None: of all), in order, each small enough to be handled at once.

        scores: how many one token has.
        """
        of = self.sequences
        numbers = PART_NUMBERS.get(torch.device(device).type, PART_NUMBERS["cpu"])
        tokens = numbers // (layers * max(self.table.hidden_size, 2 * scores))
        for each in of.within(np.arange(len(of)) if chosen is None else chosen, tokens):
            yield Part(self, each, device)


def concatenated(X: Sequence[np.ndarray] | np.ndarray, lengths: ArrayLike | None = None) -> Ranges:
    """Put one layer's examples one after the other.

    X: a list of arrays [T_i, hidden_size], or one array [n, T, hidden_size] with lengths [n].
    """
    if lengths is not None:
        X, lengths = np.asarray(X), np.asarray(lengths)
        if X.ndim != 3 or np.shape(lengths) != X.shape[:1] or np.max(lengths) > X.shape[1]:
            raise UserError(
                f"states have shape {list(X.shape)} and lengths {list(np.shape(lengths))}, at most "
                f"{np.max(lengths)}; give [n, T, hidden_size] and [n], at most T"
            )
        X = [each[:length] for each, length in zip(X, lengths, strict=True)]
    shapes = {np.shape(each)[1:] for each in X}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise UserError(
            f"the {len(X)} sequences have rows of shapes {sorted(map(list, shapes))}; give at least one, all as "
            "[T, hidden_size]"
        )
    ends = np.cumsum([len(each) for each in X])
    return Ranges.of(np.concatenate([np.asarray(each, dtype=np.float32) for each in X])[None], np.append(0, ends[:-1]), ends)


@dataclass(frozen=True)
class SharedStarts:
    """The sequences that the ranges lie in: ranges of one sequence share their start.

    first [s]: the first row of each; reach [s, columns or 1]: how many rows each column reads at most; the examples of a
    sequence are order[offset .. offset + count].
    """

    first: np.ndarray
    reach: np.ndarray
    order: np.ndarray
    offset: np.ndarray
    count: np.ndarray

    def __len__(self):
        return len(self.first)

    @cached_property
    def length(self) -> np.ndarray:
        """Count the rows that are read of each, int64 [s]."""
        return self.reach.max(1)

    def within(self, chosen: np.ndarray, tokens: int) -> list[np.ndarray]:
        """Cut the chosen sequences into pieces of at most so many tokens, padded ones included, or of one sequence."""
        if len(chosen) == 1 or len(chosen) * int(self.length[chosen].max()) <= tokens:
            return [chosen]
        middle = len(chosen) // 2
        return self.within(chosen[:middle], tokens) + self.within(chosen[middle:], tokens)


def concatenated_ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Concatenate ranges of whole numbers: ([5, 20], [3, 2]) -> [5, 6, 7, 20, 21]."""
    return np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())


class Part:
    """Some sequences, and where their k rows and e examples lie among scalars padded to [s, T].

    index: the rows in the table [k]; owner and place: the sequence of each row (0 to s - 1) and where in it; examples [e];
    sequence: of each example; last: its last slot in s * T [e, columns or 1]; mask: -inf in the slots that no example of a
    column reads [s, T, columns or 1, 1].
    """

    def __init__(self, ranges: Ranges, chosen: np.ndarray, device: str | torch.device):
        of, self.chosen = ranges.sequences, chosen
        length, count, here = of.length[chosen], of.count[chosen], np.arange(len(chosen))
        self.count, self.width = len(chosen), int(length.max())
        self.index = concatenated_ranges(of.first[chosen], length)
        self.owner, self.place = np.repeat(here, length), concatenated_ranges(0 * here, length)
        self.slots = torch.from_numpy(self.owner * self.width + self.place).to(device)
        self.examples, self.sequence = of.order[concatenated_ranges(of.offset[chosen], count)], np.repeat(here, count)
        last = self.sequence[:, None] * self.width + (ranges.ends - ranges.start[:, None])[self.examples] - 1
        self.last = torch.from_numpy(last).to(device)
        outside = np.arange(self.width)[None, :, None, None] >= of.reach[chosen][:, None, :, None]
        self.mask = torch.from_numpy(np.where(outside, np.float32(-np.inf), np.float32(0))).to(device)

    def padded(self, scalars: torch.Tensor) -> torch.Tensor:
        """Lay out [layers, k, columns, queries] -> [layers, s, T, columns, queries]"""
        layers, _, *shape = scalars.shape
        result = scalars.new_zeros(layers, self.count * self.width, *shape)
        return result.index_copy_(1, self.slots, scalars).view(layers, self.count, self.width, *shape)

    def unpadded(self, scalars: torch.Tensor) -> torch.Tensor:
        """Undo `padded`."""
        return scalars.flatten(1, 2).index_select(1, self.slots)

    def pool(self, scores: torch.Tensor, values: torch.Tensor) -> "tuple[torch.Tensor, Backward]":
        """Pool values by the softmaxes of their scores, both [layers, s, T, columns, queries].

        Returns the pooled values [layers, e, columns, queries], and a function that turns the gradient of these into those
        of scores and values.
        """
        return self.pool_whole(scores, values) if len(self.examples) == self.count else self.pool_prefixes(scores, values)

    def pool_whole(self, scores: torch.Tensor, values: torch.Tensor) -> "tuple[torch.Tensor, Backward]":
        """Pool where there is one example a sequence. The gradient of its score is attention * (value - pooled value)."""
        attention = (scores + self.mask).softmax(2)
        pooled = (attention * values).sum(2)

        def backward(slope: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            of_values = attention * slope[:, :, None]
            return of_values * (values - pooled[:, :, None]), of_values

        return pooled, backward

    def pool_prefixes(self, scores: torch.Tensor, values: torch.Tensor) -> "tuple[torch.Tensor, Backward]":
        """Pool where the examples of one sequence are prefixes of it, by cumulative sums of positive terms.

        A score further than twice HALF_REACH below the greatest of its sequence counts as if it lay there.
        """
        kind, dtype = scores.dtype, torch.float32 if scores.device.type == "mps" else torch.float64
        scores, values = scores.to(dtype) + self.mask, values.to(dtype)
        half = HALF_REACH[dtype]
        weights = (scores - scores.amax(2, keepdim=True)).clamp(min=-2 * half).add(half).exp()
        layers, _, _, columns, queries = scores.shape
        last = self.last[None, :, :, None].expand(layers, -1, columns, queries)
        total = weights.cumsum(2).flatten(1, 2).gather(1, last)
        pooled = (weights * values).cumsum(2).flatten(1, 2).gather(1, last) / total

        def over_ends(numbers):
            """Sum at each token over the examples that end there or later."""
            at_ends = torch.zeros_like(weights).flatten(1, 2).scatter_add_(1, last, numbers).view_as(weights)
            return at_ends.flip(2).cumsum(2).flip(2)

        def backward(slope: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            share = slope.to(dtype) / total
            of_values = weights * over_ends(share)
            return (of_values * values - weights * over_ends(share * pooled)).to(kind), of_values.to(kind)

        return pooled.to(kind), backward


@dataclass(frozen=True)
class Scales:
    """Means and inverse standard deviations (0 for a constant feature), float64.

    mean, inverse: [layers, columns, hidden_size], over the rows that the examples of each column read; common_mean,
    common_inverse: [layers, hidden_size], over all rows.
    """

    mean: torch.Tensor
    inverse: torch.Tensor
    common_mean: torch.Tensor
    common_inverse: torch.Tensor

    @classmethod
    def of(cls, ranges: Ranges, there: np.ndarray) -> "Scales":
        """Measure them over the rows that the examples there (bool [n, columns]) read, each row once.

        Sums are of what differs from a first mean. Raises UserError for states that are not finite.
        """
        of = ranges.sequences
        reach = np.maximum.reduceat(np.where(there, ranges.ends - ranges.start[:, None], 0)[of.order], of.offset)
        kinds, kind_of = np.unique(np.concatenate([reach, of.length[:, None]], axis=1), axis=1, return_inverse=True)
        layers, wrong = len(ranges.table.rows(of.first[:1])), 0
        shift, count, total, squares = None, *torch.zeros(3, dtype=torch.float64)
        for part in ranges.parts(layers, 1, "cpu"):
            rows = ranges.table.rows(part.index).double()
            if not rows.sum().isfinite():
                wrong += int((~rows.isfinite()).any(2).any(0).sum())
            shift = rows.mean(1, keepdim=True) if shift is None else shift
            rows -= shift
            read = torch.from_numpy(kinds[part.chosen[part.owner]] > part.place[:, None]).double().mT
            count, total, squares = count + read.sum(1), total + read @ rows, squares + read @ rows.square_()
        if wrong:
            raise UserError(
                f"{wrong} of {int(of.length.sum())} states of train are not finite; leave their sequences out, or "
                "read states in bfloat16 or float32"
            )
        mean, squares = total / count[:, None], squares / count[:, None]
        deviation = (squares - mean.square()).clamp(min=0).sqrt()
        mean = mean if shift is None else mean + shift
        inverse = torch.where(deviation <= FLAT * mean.abs().clamp(min=1e-30), 0.0, 1 / deviation.clamp(min=1e-300))
        return cls(mean[:, kind_of[:-1]], inverse[:, kind_of[:-1]], mean[:, kind_of[-1]], inverse[:, kind_of[-1]])

    def relative(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Compare each column's scale with the common one.

        Returns ratio [layers, columns, 1, hidden_size] and offset [layers, columns, hidden_size]. Standardised by a column's
        own mean and deviation, x is (x standardised by the common ones - offset) * ratio.
        """
        common = self.common_inverse[:, None]
        ratio = torch.where(common > 0, self.inverse / common.clamp(min=1e-300), 0.0)
        return ratio[:, :, None], (self.mean - self.common_mean[:, None]) * common


def whole_texts(source: Source, split: str, table: Table) -> Ranges:
    """Take the rows of a table that each example attends over. Raise ValueError where no whole texts were read."""
    if source.attended is None:
        raise ValueError("whole sequences are asked for, and none were read")
    return Ranges(table, *source.attended[split])
