"""A permutation by blocks that is known from the seed and the step alone.

Rows are cut into blocks of consecutive ones, which a disk reads at once. An epoch shuffles the blocks, puts some together as
a group that fits into memory, and shuffles the rows of each group. Another seed has the same groups, so that one reading
serves all, but another order inside them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

BLOCK_ROWS = 256  # some 200 KB of a layer


@dataclass(frozen=True)
class BlockOrder:
    """The order in which `rows` rows are seen, epoch after epoch.

    rows        how many there are
    batch_size  rows of a step; the rest of an epoch that fills no batch is left out of it
    group_rows  of a group, a multiple of batch_size
    block       consecutive rows that stay in one group
    """

    rows: int
    batch_size: int
    group_rows: int
    block: int = BLOCK_ROWS

    @classmethod
    def within(
        cls, rows: int, batch_size: int, bytes_a_row: int, most_bytes: float, block: int = BLOCK_ROWS
    ) -> "BlockOrder":
        """Make groups as large as so many bytes hold."""
        a_batch, wanted = bytes_a_row * batch_size, -(-rows // batch_size)
        batches = max(1, int(min(most_bytes, wanted * a_batch) // a_batch))  # most_bytes may be infinite
        return cls(rows, batch_size, batches * batch_size, block)

    @property
    def steps_an_epoch(self) -> int:
        return self.rows // self.batch_size

    def place(self, step: int) -> tuple[int, int, int]:
        """Find a step: (epoch, group of the epoch, which batch of the group)."""
        epoch, in_epoch = divmod(step, self.steps_an_epoch)
        return epoch, *divmod(in_epoch, self.group_rows // self.batch_size)

    def group(self, epoch: int, number: int) -> np.ndarray:
        """List the rows of a group, block by block: int64."""
        blocks, ends = epoch_of(self, epoch)
        first, last = number * self.group_rows, min((number + 1) * self.group_rows, self.rows)
        start, stop = np.searchsorted(ends, [first, last - 1], side="right")
        rows = np.concatenate(
            [np.arange(block * self.block, min((block + 1) * self.block, self.rows)) for block in blocks[start : stop + 1]]
        )
        before = int(ends[start - 1]) if start else 0
        return rows[first - before : last - before]

    def batch(self, step: int, seed: int, size: int) -> np.ndarray:
        """Choose the rows of a step inside its group, which has `size`: int64 [batch_size], from 0 on."""
        epoch, number, place = self.place(step)
        return shuffled(size, seed, epoch, number)[place * self.batch_size : (place + 1) * self.batch_size]


@lru_cache(maxsize=2)
def epoch_of(order: BlockOrder, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Shuffle the blocks of an epoch: (their numbers, one past the last row of each in the new order)."""
    blocks = np.random.default_rng([2, epoch]).permutation(-(-order.rows // order.block))
    sizes = np.minimum((blocks + 1) * order.block, order.rows) - blocks * order.block
    return blocks, np.cumsum(sizes)


@lru_cache(maxsize=4)
def shuffled(size: int, seed: int, epoch: int, number: int) -> np.ndarray:
    """Shuffle the rows of a group for one seed: int64 [size]."""
    return np.random.default_rng([3, seed, epoch, number]).permutation(size)
