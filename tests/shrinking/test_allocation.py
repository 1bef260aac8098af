"""The front of sizes and errors, against all choices there are."""

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from windfall.shrinking.allocation import Front

option = st.tuples(st.integers(0, 50), st.integers(0, 40))
instances = st.lists(st.lists(option, min_size=1, max_size=5), min_size=1, max_size=5)


def totals(layers: list[list[tuple[int, int]]], choice: tuple[int, ...]) -> tuple[int, int]:
    chosen = [layer[place] for layer, place in zip(layers, choice, strict=True)]
    return sum(size for size, _ in chosen), sum(error for _, error in chosen)


def front_of(layers: list[list[tuple[int, int]]], **options: int) -> Front:
    sizes = [[size for size, _ in layer] for layer in layers]
    return Front(sizes, [np.array([error for _, error in layer], np.float64) for layer in layers], **options)


@given(instances, st.integers(0, 210))
def test_the_smallest_size_within_an_error_is_that_of_all_choices(
    layers: list[list[tuple[int, int]]], error: int
) -> None:
    front = front_of(layers)
    every = [totals(layers, choice) for choice in product(*(range(len(layer)) for layer in layers))]
    within = [size for size, own in every if own <= error]
    index = front.within(error)
    size, own = totals(layers, front.choice(index))
    assert (size, own) == (front.sizes[index], front.errors[index])
    if within:
        assert size == min(within)
        assert own <= error
    else:
        assert own == min(own for _, own in every)


@given(instances)
def test_the_front_has_every_choice_that_none_beats(layers: list[list[tuple[int, int]]]) -> None:
    every = {totals(layers, choice) for choice in product(*(range(len(layer)) for layer in layers))}
    best = {
        (size, error)
        for size, error in every
        if not any(s <= size and e <= error and (s, e) != (size, error) for s, e in every)
    }
    front = front_of(layers)
    assert set(zip(front.sizes.tolist(), front.errors.tolist(), strict=True)) == best
    assert (np.diff(front.sizes) > 0).all()
    assert (np.diff(front.errors) < 0).all()


@given(instances)
def test_a_thinned_front_keeps_both_ends_and_true_sums(layers: list[list[tuple[int, int]]]) -> None:
    exact, thinned = front_of(layers), front_of(layers, most=2)
    assert len(thinned) <= 2
    assert (thinned.sizes[0], thinned.errors[-1]) == (exact.sizes[0], exact.errors[-1])
    for index in range(len(thinned)):
        assert totals(layers, thinned.choice(index)) == (thinned.sizes[index], thinned.errors[index])
