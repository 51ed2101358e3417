"""The states of one pass, stored or streamed, as batches of a seed and a step: any of them can be made again.

Stored states lie in memory, or in shards on disk. Streamed ones are read by the model when their group's turn comes, window
by window in random order, and thrown away after it: every epoch runs the model once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from utils.data.sequences import Sequences
from utils.sae.supply.left_out import Limits, norms_of
from utils.sae.supply.order import BLOCK_ROWS, BlockOrder
from utils.states.extraction import require_few_non_finite
from utils.states.forward_pass import Pass
from utils.states.matrices import Matrices, chunks
from utils.states.positions import ReadPlan
from utils.states.sites import Layer
from utils.states.store import StateTable, collect_in_memory

LayerChunks = Callable[[], Iterator[torch.Tensor]]  # gives the states of one layer once more, float32 [n, hidden_size] each
ROWS_AT_A_TIME = 2**14  # of streamed states that are read only once
WINDOWS_FOR_ONE = 4  # times as many windows are run as a sample would fill: neighbours are alike


class StateSource(Protocol):
    """Where states come from. rows: how many there are."""

    rows: int

    def group(self, order: BlockOrder, epoch: int, number: int) -> Matrices:
        """Give the states of one group of an epoch."""
        ...

    def sample(self, count: int) -> torch.Tensor:
        """Give about `count` states from all over: float32 [layers, n, hidden_size]."""
        ...

    def of_layer(self, layer: Layer, most: int | None = None) -> LayerChunks:
        """Make what gives the states of one layer, all in order, or `most` from all over."""
        ...


class StoredStates:
    """The kept rows of a table."""

    def __init__(self, table: StateTable, kept: np.ndarray) -> None:
        self._table, self._kept, self.rows = table, kept, len(kept)

    def group(self, order: BlockOrder, epoch: int, number: int) -> Matrices:
        """Read a group at once where it lies on disk."""
        index = self._kept[order.group(epoch, number)]
        return Matrices(self._table, index) if len(self._table.parts) == 1 else Matrices.of(self._table.rows(index))

    def sample(self, count: int) -> torch.Tensor:
        """Read rows that are drawn one by one: neighbours are alike, and blocks of them would stand for few windows."""
        drawn = BlockOrder(self.rows, 1, min(count, self.rows), block=1).group(0, 0)
        return self._table.rows(np.sort(self._kept[drawn]))

    def of_layer(self, layer: Layer, most: int | None = None) -> LayerChunks:
        """Read one layer alone."""
        table = StateTable([layer], self._table.parts, self._table.held or self._table.layers)
        rows = Matrices(table, self._kept if most is None else self._some(most))
        return lambda: (rows.rows(which)[0] for which in chunks(rows, 1))

    def _some(self, count: int) -> np.ndarray:
        count = min(count, self.rows)
        return np.sort(self._kept[BlockOrder(self.rows, 1, count, min(BLOCK_ROWS, 1 + count // 64)).group(0, 0)])


class StreamedStates:
    """The states of a plan, read group by group in random order of the sequences.

    A state that the limits leave out is replaced by another one of its group, so that every group has the same size.
    """

    def __init__(self, run: Pass, limits: Limits | None = None) -> None:
        self._run, self.rows = run, len(run.plan)
        self._first = np.searchsorted(run.plan.sequence, np.arange(len(run.sequences) + 1)).tolist()
        self.limits = limits

    def group(self, order: BlockOrder, epoch: int, number: int) -> Matrices:
        """Run the model on the windows of this group."""
        first, last = number * order.group_rows, min((number + 1) * order.group_rows, self.rows)
        table = self._read(self._in_order(epoch, first, last), self._run.plan.layers)
        index = np.arange(len(table))
        if self.limits is not None:
            norms = norms_of(table)
            require_few_non_finite("train", ~norms.isfinite(), table.layers, self._run.model)
            fine = self.limits.allow(norms).numpy()
            random = np.random.default_rng([4, epoch, number])
            index[~fine] = random.choice(np.flatnonzero(fine), int((~fine).sum()))
        return Matrices(table, index)

    def sample(self, count: int) -> torch.Tensor:
        """Read one row in WINDOWS_FOR_ONE of windows that are drawn at random; what the limits leave out is not there."""
        there = self._in_order(-1, 0, min(WINDOWS_FOR_ONE * count, self.rows))
        spread = np.linspace(0, len(there) - 1, min(count, len(there))).astype(int)
        table = self._read(there[spread], self._run.plan.layers)
        states = table.rows(np.arange(len(table)))
        return states if self.limits is None else states[:, self.limits.allow(states.norm(dim=2))]

    def of_layer(self, layer: Layer, most: int | None = None) -> LayerChunks:
        """Run the model as deep as this layer, for each reading once more."""
        rows, place = self.rows if most is None else min(most, self.rows), self._run.plan.layers.index(layer)
        limit = None if self.limits is None else self.limits.most[place]

        def parts() -> Iterator[torch.Tensor]:
            for first in range(0, rows, ROWS_AT_A_TIME):
                table = self._read(self._in_order(-1, first, min(first + ROWS_AT_A_TIME, rows)), (layer,))
                states = table.rows(np.arange(len(table)))[0]
                yield states if limit is None else states[states.norm(dim=1) <= limit]

        return parts

    def _in_order(self, epoch: int, first: int, last: int) -> np.ndarray:
        """Find the rows of the plan that stand at first to last - 1 in this epoch's order of the sequences."""
        counts = np.diff(self._first)
        order = np.random.default_rng([1, epoch + 1]).permutation(len(counts))
        ends = np.cumsum(counts[order])
        start, stop = np.searchsorted(ends, [first, last - 1], side="right")
        rows = np.concatenate(
            [np.arange(self._first[one], self._first[one + 1]) for one in order[start : stop + 1].tolist()]
        )
        before = int(ends[start - 1]) if start else 0
        return rows[first - before : last - before]

    def _read(self, rows: np.ndarray, layers: tuple[Layer, ...]) -> StateTable:
        """Run the model on the sequences of these rows, those of like lengths together."""
        plan, sequences = self._run.plan, self._run.sequences
        chosen = np.unique(plan.sequence[rows])
        chosen = chosen[np.argsort(sequences.lengths[chosen], kind="stable")]
        number = np.empty(len(sequences), dtype=np.int64)
        number[chosen] = np.arange(len(chosen))
        rows = rows[np.lexsort((plan.position[rows], number[plan.sequence[rows]]))]
        part = ReadPlan(number[plan.sequence[rows]], plan.position[rows], layers)
        return collect_in_memory(replace(self._run, sequences=some_of(sequences, chosen), plan=part), lambda tokens: None)


def some_of(sequences: Sequences, chosen: np.ndarray) -> Sequences:
    """Take some of the sequences; they are of one target, or without labels."""
    return replace(sequences, **{name: array[chosen] for name, array in sequences.arrays().items()})


@dataclass
class SeededBatches:
    """The batches of all epochs; one group of states is held in memory."""

    source: StateSource
    order: BlockOrder
    epochs: int
    _held: tuple[int, int] | None = None
    _group: Matrices | None = None

    @property
    def steps(self) -> int:
        return self.order.steps_an_epoch * self.epochs

    def batch(self, step: int, seed: int) -> torch.Tensor:
        """Give the states of a step in the order of a seed, whatever was asked before: [layers, batch_size, hidden_size]."""
        epoch, number, _ = self.order.place(step)
        if self._held != (epoch, number) or self._group is None:
            self._group = None  # before the next one is made: memory holds one
            self._group, self._held = self.source.group(self.order, epoch, number), (epoch, number)
        return self._group.rows(self.order.batch(step, seed, len(self._group)))
