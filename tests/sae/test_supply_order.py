"""SeededBatches that are known from the seed and the step alone."""

import numpy as np
import pytest

from utils.sae.supply.order import BlockOrder


@pytest.mark.parametrize(("rows", "batch", "group", "block"), [(1000, 32, 128, 16), (100, 7, 700, 256), (513, 8, 64, 10)])
def test_an_epoch_sees_each_row_once_but_for_the_rest_that_fills_no_batch(rows, batch, group, block):
    order = BlockOrder(rows, batch, group, block)
    for epoch in (0, 3):
        seen = []
        for step in range(epoch * order.steps_an_epoch, (epoch + 1) * order.steps_an_epoch):
            found, number, _ = order.place(step)
            assert found == epoch
            members = order.group(epoch, number)
            seen.append(members[order.batch(step, 0, len(members))])
        seen = np.concatenate(seen)
        assert len(seen) == len(set(seen)) == rows // batch * batch


def test_seeds_share_groups_and_differ_inside_them():
    order = BlockOrder(4096, 64, 1024, 32)
    rows = order.group(1, 2)
    one, other = ([order.batch(step, seed, len(rows)) for step in range(96, 112)] for seed in (0, 1))
    assert order.place(96) == (1, 2, 0) and order.place(111) == (1, 2, 15)
    assert sorted(np.concatenate(one)) == sorted(np.concatenate(other)) == list(range(1024))
    assert not np.array_equal(one, other)
    assert not np.array_equal(order.group(0, 2), rows)


def test_rows_of_a_block_stay_together_and_blocks_do_not():
    order = BlockOrder(4096, 64, 1024, 32)
    blocks = order.group(0, 0) // 32
    assert len(np.unique(blocks)) == 32, "a group is of whole blocks"
    assert (np.diff(np.sort(np.unique(blocks))) > 1).any(), "and the blocks come from all over"


def test_groups_are_as_large_as_memory_allows():
    assert BlockOrder.within(10_000, 100, 4000, 1e6).group_rows == 200
    assert BlockOrder.within(10_000, 100, 4000, 1).group_rows == 100
    assert BlockOrder.within(950, 100, 4, 1e9).group_rows == 1000
    assert BlockOrder.within(950, 100, 4, float("inf")).group_rows == 1000
