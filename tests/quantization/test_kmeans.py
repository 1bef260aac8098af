import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from windfall.quantization import kmeans
from windfall.quantization.kmeans import best_table, nearest

Floats = NDArray[np.float32]


def cost(values: Floats, table: Floats) -> float:
    """The sum of squared differences to the nearest number, the plain way."""
    return float((np.abs(values[:, np.newaxis].astype(np.float64) - table).min(axis=1) ** 2).sum())


def least_cost(values: Floats, entries: int) -> float:
    """That of the best clusters: all ways to cut the sorted values are tried."""
    ordered = np.sort(values).astype(np.float64)
    best = np.inf
    for cuts in itertools.combinations(range(1, len(ordered)), min(entries, len(ordered)) - 1):
        parts = np.split(ordered, cuts)
        best = min(best, sum(float(((part - part.mean()) ** 2).sum()) for part in parts))
    return best


def spread(kind: str, count: int, seed: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    values = {
        "normal": lambda: rng.normal(size=count),
        "uniform": lambda: rng.random(count) + 1000,
        "heavy": lambda: rng.standard_t(2, size=count),
        "few": lambda: rng.integers(-3, 4, count),
        "spike": lambda: np.where(rng.random(count) < 0.7, 0, rng.normal(size=count)),
    }[kind]()
    return np.asarray(values, np.float32)


@pytest.mark.parametrize("entries", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["normal", "heavy", "few", "spike"])
def test_the_table_is_the_best_of_all(kind: str, entries: int) -> None:
    for seed in range(6):
        values = spread(kind, 12, seed)
        assert cost(values, best_table(values, entries)) == pytest.approx(
            least_cost(values, entries), rel=1e-5, abs=1e-10
        )


@pytest.mark.parametrize("entries", [2, 16, 64])
@pytest.mark.parametrize("kind", ["normal", "uniform", "heavy", "spike"])
def test_of_many_values_the_table_is_almost_the_best(kind: str, entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = spread(kind, 12_000)
    monkeypatch.setattr(kmeans, "MOST_EXACT", 10**6)
    exact = cost(values, best_table(values, entries))
    monkeypatch.setattr(kmeans, "MOST_EXACT", 1000)
    found = cost(values, best_table(values, entries))
    assert exact * (1 - 1e-6) <= found <= exact * 1.001


@pytest.mark.parametrize("entries", [4, 16, 256])
def test_no_lloyd_step_improves_the_table(entries: int) -> None:
    values = spread("normal", 30_000)
    table = best_table(values, entries)
    codes = nearest(values, table)
    means = np.array([values[codes == code].mean(dtype=np.float64) for code in range(len(table))])
    np.testing.assert_allclose(table, means, rtol=1e-6, atol=1e-6)


def test_few_different_values_are_kept_exactly() -> None:
    values = spread("few", 1000)
    np.testing.assert_array_equal(best_table(values, 16), np.unique(values))
    np.testing.assert_array_equal(best_table(np.full(5, 7, np.float32), 2), [7])
    np.testing.assert_array_equal(best_table(np.zeros(5000, np.float32), 4), [0])


def test_it_is_the_same_every_time_and_in_any_order() -> None:
    values = spread("heavy", 20_000)
    shuffled = np.random.default_rng(1).permutation(values)
    np.testing.assert_array_equal(best_table(values, 16), best_table(shuffled, 16))


@pytest.mark.parametrize("entries", [2, 4, 16, 17, 200, 256])
@pytest.mark.parametrize("kind", ["normal", "uniform", "heavy", "spike"])
def test_nearest_is_nearest(kind: str, entries: int) -> None:
    values = spread(kind, 3000)
    table = np.unique(spread(kind, entries, seed=5))
    distances = np.abs(values[:, np.newaxis].astype(np.float64) - table.astype(np.float64))
    np.testing.assert_array_equal(nearest(values, table), distances.argmin(axis=1))


def test_nearest_takes_the_first_of_two_and_no_values() -> None:
    np.testing.assert_array_equal(nearest(np.array([0.5], np.float32), np.array([0, 1], np.float32)), [0])
    for entries in (2, 200):
        table = np.arange(entries, dtype=np.float32)
        assert nearest(np.zeros(0, np.float32), table).shape == (0,)
        np.testing.assert_array_equal(nearest(np.full(3, 1, np.float32), table), [1, 1, 1])


@given(
    values=st.lists(st.integers(-20, 20), min_size=1, max_size=12, unique=True),
    counts=st.lists(st.integers(1, 5), min_size=12, max_size=12),
    entries=st.integers(2, 4),
)
def test_whole_weights_are_repeated_values(values: list[int], counts: list[int], entries: int) -> None:
    array = np.array(values, np.float32)
    weights = np.array(counts[: len(values)])
    repeated = cost(np.repeat(array, weights), best_table(np.repeat(array, weights), entries))
    table = best_table(array, entries, weights.astype(np.float64))
    assert cost(np.repeat(array, weights), table) == pytest.approx(repeated, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("entries", [2, 3, 4])
def test_the_weighted_table_is_the_best_of_all(entries: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(8):
        values, weights = rng.normal(size=10).astype(np.float32), rng.random(10) ** 3 + 1e-3
        order = values.argsort()
        least = np.inf
        for cuts in itertools.combinations(range(1, 10), entries - 1):
            parts = zip(np.split(values[order], cuts), np.split(weights[order], cuts), strict=True)
            least = min(least, sum(float(w @ (v - np.average(v, weights=w)) ** 2) for v, w in parts))
        table = best_table(values, entries, weights)
        found = float(weights @ (np.abs(values[:, np.newaxis] - table).min(axis=1) ** 2))
        assert found == pytest.approx(least, rel=1e-4)


def test_weights_for_many_values_and_weights_of_nothing() -> None:
    values = spread("normal", 12_000)
    rng = np.random.default_rng(1)
    weights = rng.integers(1, 4, len(values))
    repeated = np.repeat(values, weights)
    expected = cost(repeated, best_table(repeated, 16))
    assert cost(repeated, best_table(values, 16, weights.astype(np.float64))) <= expected * 1.001
    halves = np.repeat([0.0, 1.0], 6000)
    assert (
        cost(values[6000:], best_table(values, 16, halves)) <= cost(values[6000:], best_table(values[6000:], 16)) * 1.01
    )
    np.testing.assert_array_equal(best_table(values, 16, np.zeros(12_000)), best_table(values, 16, np.ones(12_000)))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("wide", [False, True])
def test_splits_of_many_clusters_are_those_of_the_search_without_bounds(seed: int, wide: bool) -> None:
    rng = np.random.default_rng(seed)
    steps = rng.exponential(size=700) + 1e-3
    if wide:  # hundreds of places that lie close together are one cluster
        steps[100:400] *= 1e-7
    values = np.cumsum(steps)
    weights = np.arange(701.0)
    sums = np.concatenate([[0.0], np.cumsum(values - values.mean())])
    found, expected = (search(weights, sums, 128) for search in (kmeans._near_splits, kmeans._splits))
    np.testing.assert_array_equal(found, expected)
