"""Random numbers: their distribution, against its moments, and what a seed fixes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few
from tests.lowering.neural_network.symbolic import run_symbolic
from tests.support import layer_spec, run_layer
from windfall.errors import LoweringError
from windfall.lowering.neural_network.network import lower_network
from windfall.spec.modelfile import from_spec

DISTRIBUTIONS: dict[str, dict[str, Any]] = {
    "randomNormal": {"mean": 3, "stdDev": 2},
    "randomUniform": {"minVal": -1, "maxVal": 5},
    "randomBernoulli": {"prob": 0.3},
}
# Mean and standard deviation.
MOMENTS = {"randomNormal": (3, 2), "randomUniform": (2, 6 / 12**0.5), "randomBernoulli": (0.3, (0.3 * 0.7) ** 0.5)}


def drawn(distribution: str, source: str, shape: tuple[int, ...], **fields: Any) -> NDArray[Any]:
    fields = DISTRIBUTIONS[distribution] | fields
    if source == "Static":
        return run_layer(distribution + source, outputShape=shape, **fields)
    return run_layer(distribution + source, np.zeros(shape) if source == "Like" else shape, **fields)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("source", ["Like", "Static", "Dynamic"])
def test_numbers_have_the_distribution(distribution: str, source: str) -> None:
    y = drawn(distribution, source, (40, 50, 30), seed=42)
    mean, deviation = MOMENTS[distribution]
    # Five standard errors of 60,000 draws.
    assert abs(y.mean() - mean) < 5 * deviation / y.size**0.5
    assert abs(y.std() - deviation) < 0.02 * deviation
    # Neighbours do not depend on each other.
    flat = (y.ravel() - mean) / deviation
    assert abs(np.mean(flat[1:] * flat[:-1])) < 5 / y.size**0.5


def test_normal_numbers_have_the_tails_of_the_bell_curve() -> None:
    y = (drawn("randomNormal", "Static", (60000,), seed=7) - 3) / 2
    for limit, share in ((1, 0.3173), (2, 0.0455), (3, 0.0027)):
        assert np.mean(np.abs(y) > limit) == pytest.approx(share, abs=5 * (share / y.size) ** 0.5)


def test_uniform_numbers_fill_the_interval() -> None:
    y = drawn("randomUniform", "Static", (60000,), seed=7)
    counts, _ = np.histogram(y, bins=10, range=(-1, 5))
    assert counts.sum() == y.size
    assert np.all(np.abs(counts / y.size - 0.1) < 0.01)


def test_bernoulli_numbers_are_zero_or_one() -> None:
    assert set(np.unique(drawn("randomBernoulli", "Static", (500,), seed=1))) == {0, 1}
    for prob in (0, 1):
        assert np.all(drawn("randomBernoulli", "Like", (500,), prob=prob) == prob)


@few
@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=5, max_side=4),
    distribution=st.sampled_from(sorted(DISTRIBUTIONS)),
    seed=st.integers(-(2**63), 2**63 - 1).filter(lambda seed: seed != -1),
)
def test_any_shape_and_any_seed(shape: tuple[int, ...], distribution: str, seed: int) -> None:
    draws = [drawn(distribution, source, shape, seed=seed) for source in ("Like", "Static", "Dynamic")]
    fields = DISTRIBUTIONS[distribution]
    draws.append(run_symbolic(f"{distribution}Like", np.zeros(shape), seed=seed, **fields))
    for y in draws:
        assert y.shape == shape
        # However a shape is told, the seed fixes the numbers.
        np.testing.assert_array_equal(y, draws[0])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_seeds_fix_the_numbers(distribution: str) -> None:
    def of(seed: int) -> list[float]:
        return drawn(distribution, "Static", (64,), seed=seed).tolist()

    assert of(3) == of(3)
    assert of(3) != of(4)


def test_without_a_seed_each_process_draws_other_numbers() -> None:
    # coremltools writes -1 for no seed. ONNX Runtime takes the clock's where a node has none.
    lowered = lower_network(from_spec(layer_spec("randomNormalStatic", seed=-1, stdDev=1, outputShape=[3])), {})
    (node,) = (node for node in lowered.graph if node.op_type == "RandomNormalLike")
    assert "seed" not in node.attributes


def test_a_further_prediction_draws_other_numbers() -> None:
    model = windfall.load(layer_spec("randomNormalLike", np.zeros(64), seed=5, stdDev=1))
    first, second = (model.predict({"x0": np.zeros(64, np.float32)})["y0"] for _ in range(2))
    assert np.all(first != second)


def test_a_deviation_of_0_gives_the_mean() -> None:
    # At a scale of 0 ONNX Runtime's own operator ends the process.
    np.testing.assert_array_equal(run_layer("randomNormalLike", np.zeros(3), mean=2), [2, 2, 2])


def test_the_first_numbers_of_small_seeds_are_not_all_small() -> None:
    first = [drawn("randomUniform", "Static", (1,), seed=seed, minVal=0, maxVal=1).item() for seed in range(20)]
    assert min(first) < 0.3
    assert max(first) > 0.7


LOGITS = np.random.default_rng(0).normal(size=(2, 1, 5)).astype(np.float32)


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("x", "fields", "expected"),
    [
        (LOGITS, {"isLogits": True}, softmax(LOGITS)),
        (LOGITS, {"isLogits": True, "temperature": 0.5}, softmax(LOGITS / 0.5)),
        (softmax(LOGITS), {"eps": 1e-10, "temperature": 1}, softmax(LOGITS)),
        (softmax(LOGITS) * 7, {}, softmax(LOGITS)),
        (np.array([0.0, 1.0, 0.0]), {}, np.array([0.0, 1.0, 0.0])),
        (np.array([0.0, 0.5]), {"eps": 0.5}, np.array([1 / 3, 2 / 3])),
    ],
)
def test_classes_have_their_probabilities(x: NDArray[Any], fields: Mapping[str, Any], expected: NDArray[Any]) -> None:
    for run in (run_layer, run_symbolic):
        y = run("categoricalDistribution", x, numSamples=20000, seed=42, **fields)
        assert y.shape == (*x.shape[:-1], 20000)
        shares = np.stack([np.mean(y == index, axis=-1) for index in range(x.shape[-1])], axis=-1)
        np.testing.assert_allclose(shares, expected, atol=0.02)
        assert np.all(np.isin(y, range(x.shape[-1])))


@pytest.mark.parametrize(
    ("layer_type", "fields", "message"),
    [
        ("randomNormalLike", {"stdDev": -1}, "stdDev is -1.0, must be at least 0"),
        ("randomUniformLike", {"minVal": 2, "maxVal": 1}, "minVal is 2.0, must be at most maxVal, 1.0"),
        ("randomUniformLike", {"minVal": float("nan"), "maxVal": 1}, "minVal is nan, must be at most maxVal, 1.0"),
        ("randomUniformDynamic", {"maxVal": float("nan")}, "minVal is 0.0, must be at most maxVal, nan"),
        ("randomBernoulliLike", {"prob": 1.5}, "prob is 1.5, must be 0 to 1"),
        ("randomBernoulliDynamic", {"prob": -1}, "prob is -1.0, must be 0 to 1"),
        ("categoricalDistribution", {}, "numSamples is 0, must be at least 1"),
        ("categoricalDistribution", {"numSamples": 1, "temperature": -1}, "temperature is -1.0, must be above 0"),
        (
            "categoricalDistribution",
            {"numSamples": 1, "temperature": float("nan")},
            "temperature is nan, must be above",
        ),
    ],
)
def test_wrong_parameters_are_refused(layer_type: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(LoweringError, match=message):
        run_layer(layer_type, np.ones(3), **fields)


def test_a_stored_shape_must_not_be_empty() -> None:
    with pytest.raises(LoweringError, match=r"outputShape is \[\], must have at least one size"):
        run_layer("randomNormalStatic")
