"""Labels dealt anew: groups exchange theirs, documents shift theirs, and nothing else is moved."""

import numpy as np
import pytest

from utils.scores.search.nulls import Exchange, Shift, null_of

RANDOM = np.random.default_rng(0)


def dealt(null, count):
    """Labels dealt anew, in the examples' own order."""
    drawn = null.draw(RANDOM, count)
    result = np.zeros_like(drawn, dtype=int)
    result[:, null.moving] = drawn
    return result


def test_groups_of_one_class_are_exchanged_whole():
    groups, labels = np.array([7, 7, 3, 9, 9, 9]), np.array([1, 1, 0, 0, 0, 0])
    found = {tuple(row) for row in dealt(Exchange.of(labels, groups), 200)}
    assert found == {(1, 1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0), (0, 0, 0, 1, 1, 1)}


def test_equal_groups_exchange_their_numbers_of_positives_and_every_place_is_as_likely():
    groups, labels = np.repeat([0, 1, 2], 4)[::-1], np.array([1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0])
    drawn = dealt(Exchange.of(labels, groups), 6000)
    counts = np.stack([drawn[:, groups == group].sum(1) for group in range(3)], axis=1)
    assert (np.sort(counts, axis=1) == [0, 1, 2]).all() and len({tuple(row) for row in counts}) == 6
    np.testing.assert_allclose(drawn.mean(0), 3 / 12, atol=0.02)


def test_unequal_groups_of_both_classes_take_each_others_shares():
    groups, labels = np.repeat([0, 1], [10, 4]), np.array([1] * 5 + [0] * 5 + [1, 0, 0, 0])
    drawn = dealt(Exchange.of(labels, groups), 8000)
    kept = drawn[:, :10].sum(1)
    assert set(kept) == {5, 2, 3} and np.mean(kept == 5) == pytest.approx(0.5, abs=0.03)
    assert kept[kept != 5].mean() == pytest.approx(2.5, abs=0.05)


def test_shifts_go_around_within_each_document_whatever_the_order_of_the_rows():
    documents, labels = np.array([4, 4, 4, 2, 2, 2, 2, 8, 8]), np.array([1, 0, 0, 1, 1, 0, 0, 1, 1])
    order = np.random.default_rng(1).permutation(9)
    null = Shift.of(labels[order], documents[order], np.arange(9)[order])
    assert sorted(null.moving.tolist()) == sorted(np.flatnonzero(documents[order] != 8).tolist())
    original = order[null.moving]
    assert original.tolist() == [3, 4, 5, 6, 0, 1, 2]
    found = {tuple(row) for row in null.draw(RANDOM, 500).astype(int)}
    turns = {tuple(np.roll([1, 1, 0, 0], k)) for k in range(4)}
    assert found == {(*one, *other) for one in turns for other in {(1, 0, 0), (0, 1, 0), (0, 0, 1)}}


def test_tokens_shift_and_texts_are_exchanged():
    labels, documents = np.array([1, 0, 1, 0]), np.array([0, 0, 1, 1])
    assert isinstance(null_of(labels, documents, documents, np.arange(4)), Shift)
    assert isinstance(null_of(labels, documents, documents, None), Exchange)
    assert isinstance(null_of(labels, documents, np.arange(4), np.arange(4)), Exchange), "nothing to shift"
