"""Ranges of rows that cannot be read."""

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.probes.descent.ranges import Ranges, concatenated


@pytest.mark.parametrize(
    "start, end, said",
    [
        ([0, 4], [4, 4], "1 of 2 examples have no token to pool, the first of them example 1 (from row 4 to before row 4)"),
        ([0, 4], [[4, 4], [6, 3]], "before row 3"),
        ([0], [1, 2], "shape [1] and end [2]"),
        ([], [], "at least one example"),
    ],
)
def test_a_range_without_tokens_is_an_error(start, end, said):
    with pytest.raises(UserError) as error:
        Ranges.of(np.zeros((1, 9, 2)), start, end)
    assert said in str(error.value)


def test_sequences_that_do_not_fit_together_are_an_error():
    for X, lengths, said in (
        ([np.zeros((3, 2)), np.zeros((3, 4))], None, "rows of shapes [[2], [4]]"),
        ([], None, "0 sequences"),
        (np.zeros((2, 3, 4)), [3, 4], "at most T"),
        ([np.zeros((0, 2))], None, "no token to pool"),
    ):
        with pytest.raises(UserError) as error:
            concatenated(X, lengths)
        assert said in str(error.value)
