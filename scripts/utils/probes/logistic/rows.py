"""Visit the states of a logistic problem in blocks of rows, from a matrix in memory or from one on disk."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch

from utils.base.errors import UserError
from utils.probes.standardised import FLAT
from utils.states.matrices import Matrices

CACHED = 2**20  # numbers in a block of a matrix in memory: it stays in the cache between the two products with it
READ = 2**21  # numbers in a block that is read, or multiplied by itself
SAMPLED_ROWS = 256  # rows that tell how large means are, and how large rounding is
LARGE_MEAN = 4  # deviations: beyond, float32 products of states that are not centred lose digits
HELD = 2**27  # numbers of a matrix in memory that are turned into float64 for good, 1 GB; else block by block


@dataclass(frozen=True)
class StateRows:
    """The n states of a problem.

    source: a tensor [n, hidden_size], or Matrices of one layer.
    shift: float64 [hidden_size], what was subtracted from a tensor, or is subtracted from what is read.
    dtype: of the blocks.
    pool, threads: see `threads`.
    """

    source: torch.Tensor | Matrices
    shift: torch.Tensor
    dtype: torch.dtype
    pool: ThreadPoolExecutor
    threads: int

    @classmethod
    def of(cls, states: torch.Tensor | Matrices, pool: ThreadPoolExecutor, threads: int) -> "StateRows":
        """Wrap states, shifted by the means if some are large relative to their deviations; else a tensor is not copied."""
        double = isinstance(states, torch.Tensor) and states.dtype == torch.float64
        dtype = torch.float64 if double else torch.float32
        hidden_size = states.shape[1] if isinstance(states, torch.Tensor) else states.hidden_size
        shift = torch.zeros(hidden_size, dtype=torch.float64)
        rows = cls(states, shift, dtype, pool, threads)
        deviation, mean = torch.std_mean(rows.read(rows.sample()), dim=0, correction=0)
        if bool((mean.abs() <= LARGE_MEAN * deviation).all()) or not bool(mean.isfinite().all()):
            return rows
        source = states - mean if isinstance(states, torch.Tensor) else states
        return replace(rows, source=source, shift=mean.double())

    def __len__(self):
        return len(self.source)

    @property
    def hidden_size(self) -> int:
        return len(self.shift)

    @property
    def held(self) -> bool:
        return isinstance(self.source, torch.Tensor)

    def sample(self) -> np.ndarray:
        """Choose rows, evenly spaced."""
        return np.linspace(0, len(self) - 1, min(SAMPLED_ROWS, len(self))).astype(np.int64)

    def read(self, which: slice | np.ndarray) -> torch.Tensor:
        """Read some rows, [rows, hidden_size]."""
        if isinstance(self.source, torch.Tensor):
            return self.source[which].to(self.dtype)
        which = np.arange(which.start, which.stop) if isinstance(which, slice) else which
        states = self.source.rows(which)
        if states.numel() != len(which) * self.hidden_size:
            raise UserError(f"states have shape {list(states.shape)}: more than one layer; give a table of one")
        return (states.reshape(len(which), -1) - self.shift.to(states.dtype)).to(self.dtype)

    def across(self, worker: "Worker", numbers: int = CACHED) -> list[torch.Tensor]:
        """Sum the tensors that worker(blocks) gives, called once in each thread for its share of the rows.

        blocks: (which rows, their states), each of about so many numbers.
        """
        step = max(16, (numbers if self.held else READ) // self.hidden_size)
        starts = range(0, len(self), step)
        share = -(-len(starts) // self.threads)
        shares = [starts[first : first + share] for first in range(0, len(starts), share)]
        others = [self.pool.submit(worker, self._blocks(each, step)) for each in shares[1:]]
        results = [worker(self._blocks(shares[0], step)), *(each.result() for each in others)]
        return [reduce(torch.add, parts) for parts in zip(*results, strict=True)]

    def _blocks(self, starts: Sequence[int], step: int) -> Iterator[tuple[slice, torch.Tensor]]:
        for start in starts:
            rows = slice(start, min(start + step, len(self)))
            yield rows, self.read(rows)

    def doubled(self) -> "StateRows":
        """Give the same in float64."""
        if isinstance(self.source, torch.Tensor) and self.source.numel() <= HELD:
            return replace(self, source=self.source.double(), dtype=torch.float64)
        return replace(self, dtype=torch.float64)


Worker = Callable[[Iterator[tuple[slice, torch.Tensor]]], Sequence[torch.Tensor]]


@dataclass(frozen=True)
class Scale:
    """The scale of the features, after the shift.

    mean: float64 [hidden_size]; inverse: 1 / deviation, 0 for a constant feature.
    """

    mean: torch.Tensor
    inverse: torch.Tensor

    @classmethod
    def of(cls, rows: StateRows) -> "Scale":
        """Measure them. Raises UserError for states that are not finite."""

        def moments(blocks):
            total, squares = torch.zeros(2, rows.hidden_size, dtype=torch.float64)
            for _, block in blocks:
                total += block.sum(0)
                squares += block.square().sum(0)
            return total, squares

        def not_finite(blocks):
            return [torch.stack([(~block.isfinite()).any(1).sum() for _, block in blocks]).sum()]

        total, squares = rows.across(moments)
        if not bool(squares.isfinite().all()):
            wrong = int(rows.across(not_finite)[0])
            raise UserError(
                f"{wrong} of {len(rows)} states are not finite; drop them, or read them in bfloat16 or float32"
                if wrong
                else "states are too large to be squared in float32; divide them by a constant"
            )
        mean = total / len(rows)
        deviation = (squares / len(rows) - mean.square()).clamp(min=0).sqrt()
        constant = deviation <= FLAT * (mean + rows.shift).abs().clamp(min=1e-30)
        return cls(mean, torch.where(constant, 0.0, 1 / deviation.clamp(min=1e-300)))

    def covariance(self, rows: StateRows) -> torch.Tensor:
        """Compute the covariance [hidden_size, hidden_size] of the standardised states, in one visit.

        Products are made for the upper half only.
        """
        d = rows.hidden_size
        width = max(128, -(-d // 8))

        def second(blocks):
            upper = torch.zeros(d, d, dtype=rows.dtype)
            for _, block in blocks:
                for first in range(0, d, width):
                    last = min(first + width, d)
                    upper[first:last, first:].addmm_(block[:, first:last].mT, block[:, first:])
            return [upper]

        upper = rows.across(second, READ)[0].triu_()
        mean, inverse = self.mean.to(rows.dtype), self.inverse.to(rows.dtype)
        covariance = upper.add_(upper.triu(1).mT).div_(len(rows)).sub_(mean[:, None] * mean)
        return covariance.mul_(inverse[:, None]).mul_(inverse)


@contextmanager
def threads() -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """Lend a pool of threads and say how many there are: torch's own, each with its share of the rows.

    So they meet once per visit of the states, rather than at each product, which costs far more than the product where
    others share the cores.
    """
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count) as pool:
            yield pool, count
    finally:
        torch.set_num_threads(count)
