"""Whole numbers that are known while a graph is built."""

import numpy as np

from windfall.graph.builder import GraphBuilder
from windfall.lowering.indices import known_numbers


def test_the_numbers_of_a_constant_are_known() -> None:
    known = known_numbers(GraphBuilder("m").constant(np.float32([2, -3])))
    assert known is not None
    assert known.dtype == np.int64
    np.testing.assert_array_equal(known, [2, -3])


def test_numbers_that_no_integer_can_be_are_not_known() -> None:
    for number in (np.nan, np.inf, 1e38, -1e38):
        assert known_numbers(GraphBuilder("m").constant(np.float32([1, number]))) is None
