"""Random numbers: their distributions, shapes and seeds."""

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import windfall
from tests.programs import Input, Output, operator_spec, run_operator

MANY = np.array([100, 100], np.int32)


def draw(name: str, shape: Any = MANY, dims: tuple[int | None, ...] = (100, 100), **arguments: Any) -> NDArray[Any]:
    (drawn,) = run_operator(name, [Output(np.float32, dims)], shape=shape, **arguments)
    return drawn


def test_normal() -> None:
    drawn = draw("random_normal", mean=np.float32(5), stddev=np.float32(2), seed=1)
    assert drawn.shape == (100, 100)
    assert abs(drawn.mean() - 5) < 0.1
    assert abs(drawn.std() - 2) < 0.1
    within = (abs(drawn - 5) < 2).mean()  # one standard deviation
    assert abs(within - 0.6827) < 0.02
    standard = draw("random_normal", seed=1)
    assert abs(standard.mean()) < 0.05
    assert abs(standard.std() - 1) < 0.05


@pytest.mark.parametrize("stddev", [0, 1e-45])
def test_normal_without_a_width(stddev: float) -> None:
    np.testing.assert_array_equal(draw("random_normal", mean=np.float32(3), stddev=np.float32(stddev)), 3)


def test_uniform() -> None:
    drawn = draw("random_uniform", low=np.float32(-1), high=np.float32(3), seed=2)
    assert drawn.min() >= -1
    assert drawn.max() <= 3
    counts = np.histogram(drawn, 4, (-1, 3))[0]
    np.testing.assert_allclose(counts, 2500, rtol=0.08)
    default = draw("random_uniform", seed=2)
    assert 0 <= default.min() < 0.01
    assert 0.99 < default.max() <= 1
    np.testing.assert_array_equal(draw("random_uniform", low=np.float32(2), high=np.float32(2)), 2)


@pytest.mark.parametrize("prob", [None, 0, 0.2, 1])
def test_bernoulli(prob: float | None) -> None:
    drawn = draw("random_bernoulli", prob=None if prob is None else np.float32(prob), seed=3)
    assert set(np.unique(drawn)) <= {0, 1}
    assert abs(drawn.mean() - (0.5 if prob is None else prob)) < (0.02 if prob not in {0, 1} else 1e-9)


def categorical(x: Any, size: int = 1, **arguments: Any) -> NDArray[Any]:
    x = np.asarray(x, np.float32)
    dims = (*x.shape[:-1], size)
    (drawn,) = run_operator("random_categorical", [Output(np.float32, dims)], x=Input(x), size=size, **arguments)
    assert drawn.shape == dims
    return drawn


def test_categorical() -> None:
    probabilities = np.array([[0.1, 0.2, 0.7], [0.5, 0, 0.5]])
    for x, mode in ((probabilities, "probs"), (np.log(probabilities + 1e-30), "logits"), (probabilities * 4, "probs")):
        drawn = categorical(x, 5000, mode=mode, seed=4)
        shares = np.stack([(drawn == index).mean(1) for index in range(3)], 1)
        np.testing.assert_allclose(shares, probabilities, atol=0.03)
        assert not (drawn[1] == 1).any()
    logits = np.array([[0, 100], [100, 0]])
    np.testing.assert_array_equal(categorical(logits, seed=5), [[1], [0]])
    np.testing.assert_array_equal(categorical(np.stack([logits, logits]), 2, seed=5)[1], [[1, 1], [0, 0]])


def test_a_seed_repeats_the_numbers() -> None:
    for name in ("random_normal", "random_uniform", "random_bernoulli"):
        one, again, other = (draw(name, seed=seed) for seed in (6, 6, 7))
        np.testing.assert_array_equal(one, again)
        assert (one != other).any()


@pytest.mark.parametrize("seed", [None, -1, 6])
def test_each_prediction_draws_other_numbers(seed: int | None) -> None:
    spec, _ = operator_spec("random_normal", [Output(np.float32, (100,))], 8, shape=np.int32([100]), seed=seed)
    model = windfall.load(spec)
    assert (model.predict({})["out0"] != model.predict({})["out0"]).any()


@pytest.mark.parametrize("name", ["random_normal", "random_uniform", "random_bernoulli"])
def test_the_shape_may_be_computed(name: str) -> None:
    assert draw(name, Input([3, 1, 4]), (None, None, None)).shape == (3, 1, 4)
    assert draw(name, Input([0, 2]), (None, None)).shape == (0, 2)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("random_normal", {"stddev": np.float32(-1)}, "stddev is -1.0, must be at least 0"),
        ("random_uniform", {"low": np.float32(2)}, "low is 2.0, must be at most high, 1.0"),
        ("random_bernoulli", {"prob": np.float32(1.5)}, "prob is 1.5, must be 0 to 1"),
    ],
)
def test_broken_rules_are_named(name: str, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(windfall.LoweringError, match=re.escape(f"({name}) of the model: {text}")):
        draw(name, **arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"mode": "odds"}, "mode is 'odds', must be 'logits' or 'probs'"),
        ({"size": 0}, "size is 0, must be at least 1"),
    ],
)
def test_broken_rules_of_categorical_are_named(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(windfall.LoweringError, match=re.escape(f"(random_categorical) of the model: {text}")):
        categorical([[0, 1]], **arguments)
