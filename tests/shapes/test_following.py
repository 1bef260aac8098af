import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from windfall.shapes.following import Follow, follow, resolved

small = st.integers(2, 5)


@pytest.mark.parametrize(
    ("before", "now", "target", "expected"),
    [
        ((1, 8, 6, 6), (1, 8, 9, 5), (1, 2, 4, 6, 6), [1, 2, 4, "2", "3"]),
        ((1, 32, 7, 7), (1, 32, 9, 9), (1, 1568), [1, "rest"]),
        ((2, 32, 7, 7), (3, 32, 7, 7), (2, 1568), ["0", 1568]),
        ((1, 8, 6), (1, 9, 6), (1, 8, 2, 3), [1, "1", 2, 3]),
        ((1, 6, 4), (1, 8, 4), (1, 12, 2), [1, "rest", 2]),
        ((1, 12, 4), (1, 14, 4), (1, 3, 4, 4), None),  # either of two
        ((1, 5, 7), (1, 6, 7), (7, 5), None),  # what is left is no multiple of either
        ((4,), (5,), (2,), None),  # not as many values
        ((4, 0), (5, 0), (4, 0), None),
        ((2, 3, 4, 5), (2, 9, 4, 9), (6, 20), None),  # two rests
        ((6, 4), (8, 4), (12, 2), ["rest", 2]),
        ((4, 6), (4, 8), (2, 12), [2, "rest"]),
        ((6, 4), (6, 8), (12, 2), None),  # the last size is a part of the first
        ((1, 8, 1, 1), (1, 8, 2, 1), (1, 8), None),  # there is no place for it
    ],
)
def test_rules(before, now, target, expected):
    rules = follow(before, now, target)
    shown = rules and ["rest" if r.is_rest else r.size if r.axis is None else str(r.axis) for r in rules]
    assert shown == expected


@given(st.lists(small, min_size=2, max_size=4), st.data())
def test_a_reshape_that_follows_does_not_mix_what_changes_with_the_rest(dims, data):
    """Where a changing axis is found again, reshaping a larger array and cutting it gives the smaller one reshaped."""
    axis = data.draw(st.integers(0, len(dims) - 1))
    at = data.draw(st.integers(0, len(dims) - 2))
    before = tuple(dims)
    target = (*before[:at], before[at] * before[at + 1], *before[at + 2 :])  # two axes become one
    now = tuple(size + 2 * (place == axis) for place, size in enumerate(before))
    rules = follow(before, now, target)
    assume(rules is not None and not any(rule.is_rest for rule in rules))
    new = [rule.size if rule.axis is None else now[rule.axis] for rule in rules]
    large = np.arange(math.prod(now)).reshape(now)
    cut = large[tuple(slice(size) for size in before)]
    np.testing.assert_array_equal(large.reshape(new)[tuple(slice(size) for size in target)], cut.reshape(target))


def test_eager_rules_name_axes_that_do_not_change_too():
    rules = follow((1, 8, 6), (1, 9, 6), (1, 8, 2, 3), eagerly=True)
    assert rules == [Follow(1, 0), Follow(8, 1), Follow(2), Follow(3)]


@pytest.mark.parametrize(
    ("target", "before", "expected"),
    [
        ([0, -1], (2, 6), (2, 6)),
        ([-1, 3], (2, 6), (4, 3)),
        ([0, 6, 1], (2, 6), None),
        ([-1, -1], (2, 6), None),
        ([5, -1], (2, 6), None),
    ],
)
def test_resolved(target, before, expected):
    assert resolved(target, before) == expected
