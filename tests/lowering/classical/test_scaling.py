"""Numbers shifted, scaled and normalized."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import windfall
from tests.classical import array, model_spec, optional, pipeline_spec, predict
from windfall.graph.rules import CHECKS

X = np.array([1.0, -2.0, 0.1])
STEPS = np.array([1, 2, 3])


def scaler(shift: Any = (), scale: Any = (), inputs: Any = (3,), outputs: Any = (3,)) -> Any:
    fields = {"shiftValue": list(shift), "scaleValue": list(scale)}
    return model_spec("scaler", {"x": inputs}, {"y": outputs}, fields)


@pytest.mark.parametrize(
    ("shift", "scale", "expected"),
    [
        ((), (), X),
        ((0.5,), (), X + 0.5),
        ((), (-3.0,), -3 * X),
        ((0.1,), (0.3,), 0.3 * (X + 0.1)),
        ((1.0, 2.0, 3.0), (4.0,), 4 * (X + STEPS)),
        ((1.0,), (4.0, 5.0, 6.0), [4, 5, 6] * (X + 1)),
        ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), [4, 5, 6] * (X + STEPS)),
    ],
)
def test_shift_before_scale(shift: Any, scale: Any, expected: NDArray[Any]) -> None:
    model = windfall.load(scaler(shift, scale))
    np.testing.assert_array_equal(model.predict({"x": X})["y"], expected)
    np.testing.assert_array_equal(model.predict_batch({"x": np.stack([X, X])})["y"], [expected] * 2)


def test_one_value_for_arrays_of_several_axes() -> None:
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(predict(scaler((1,), (2,), (2, 3), (2, 3)), x=x)["y"], 2 * (x + 1))


def test_numbers() -> None:
    assert predict(scaler((0.1,), (3.0,), "double", "double"), x=0.2)["y"] == 3 * (0.2 + 0.1)
    assert predict(scaler((0.5,), (), "int64", "double"), x=2)["y"] == 2.5
    found = predict(scaler((0.5,), (2.0,), "int64", "int64"), x=-4)["y"]
    assert (found, type(found)) == (-7, int)
    assert np.isnan(predict(scaler((0.5,), (), optional("int64"), "double"))["y"])


@pytest.mark.parametrize("value", [2**52 + 1, -(2**53), 0])
def test_integers_that_doubles_hold(value: int) -> None:
    assert predict(scaler(inputs="int64", outputs="int64"), x=value)["y"] == value


def test_the_smallest_integer() -> None:
    assert predict(scaler(scale=(2.0**32,), inputs="int64", outputs="int64"), x=-(2**31))["y"] == -(2**63)


@pytest.mark.parametrize(
    ("spec", "x"),
    [
        (scaler((0.5,), (), "int64", "int64"), 1),
        (scaler((), (2.0**32,), "int64", "int64"), 2**31),
        (scaler((), (-(2.0**32),), "int64", "int64"), 2**32),
        (scaler((), (np.inf,), "int64", "int64"), 0),
        (scaler((), (np.inf,), "int64", "int64"), -1),
        (scaler((), (), optional("int64"), "int64"), None),
        (scaler((0.5,), (), array(3, dtype="INT32"), array(3, dtype="INT32")), [1, 2, 3]),
        (scaler((), (2.0**20,), array(3, dtype="INT32"), array(3, dtype="INT32")), [0, 0, 2**11]),
    ],
)
def test_a_cast_that_loses_something_fails(spec: Any, x: Any) -> None:
    with pytest.raises(windfall.EngineError) as error:
        predict(spec, x=x)
    assert str(error.value) == f"'scaler' {CHECKS['integer']}"


def test_arrays_of_integers() -> None:
    spec = scaler((0.5,), (2.0,), array(3, dtype="INT32"), array(3, dtype="INT32"))
    found = predict(spec, x=[1, 2, 3])["y"]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, [3, 5, 7])


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (scaler((1.0, 2.0)), "shiftValue is 2 values, must be none, 1 or 3, as many as the input has"),
        (scaler((), [1.0] * 4), "scaleValue is 4 values, must be none, 1 or 3, as many as the input has"),
        (
            scaler((), [1.0] * 6, (2, 3), (2, 3)),
            "scaleValue is 6 values, must be none, 1 or 2 x 3, as many as the input has",
        ),
        (
            scaler((1.0, 2.0), (), "double", "double"),
            "shiftValue is 2 values, must be none, 1 or 1, as many as the input has",
        ),
        (
            scaler((), (), "string", "double"),
            "input is 'x', has the type stringType, must have doubleType or int64Type or multiArrayType",
        ),
        (
            scaler((), (), (3,), "double"),
            "output is 'y', is declared as one number, but the model gives 3 of them",
        ),
    ],
)
def test_damaged_scalers(spec: Any, text: str) -> None:
    with pytest.raises(windfall.FormatError) as error:
        _ = windfall.load(spec).compiled
    assert str(error.value) == f"cannot lower the model (scaler): {text}"


# Norms


def normalizer(norm: Any, inputs: Any = (3,), outputs: Any = (3,)) -> Any:
    return model_spec("normalizer", {"x": inputs}, {"y": outputs}, {"normType": norm})


ROWS = np.array([[3.0, -4.0, 0.0], [0.0, 0.0, 0.0], [-1.0, -2.0, -4.0], [1e-300, 0.0, 0.0], [2.0, 2.0, 1.0]])
NORMS = {
    "LMax": lambda x: x.max(axis=1),
    "L1": lambda x: np.abs(x).sum(axis=1),
    "L2": lambda x: np.sqrt((x**2).sum(axis=1)),
}


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_rows_of_all_kinds(norm: str) -> None:
    model = windfall.load(normalizer(norm))
    size = NORMS[norm](ROWS)
    expected = ROWS / np.where(size == 0, 1, size)[:, None]
    np.testing.assert_allclose(model.predict_batch({"x": ROWS})["y"], expected, rtol=1e-15)
    for row, wanted in zip(ROWS, expected, strict=True):
        np.testing.assert_allclose(model.predict({"x": row})["y"], wanted, rtol=1e-15)
    assert model.predict_batch({"x": np.zeros((0, 3))})["y"].shape == (0, 3)


def test_examples_by_hand() -> None:
    np.testing.assert_allclose(predict(normalizer("L2"), x=[3, -4, 0])["y"], [0.6, -0.8, 0], rtol=1e-15)
    np.testing.assert_allclose(predict(normalizer("L1"), x=[1, -2, 1])["y"], [0.25, -0.5, 0.25], rtol=1e-15)
    np.testing.assert_array_equal(predict(normalizer("LMax"), x=[1, -8, 2])["y"], [0.5, -4, 1])
    np.testing.assert_array_equal(predict(normalizer("LMax"), x=[-1, -8, -2])["y"], [1, 8, 2])


@pytest.mark.parametrize("norm", sorted(NORMS))
def test_the_norm_of_an_array_of_several_axes_is_that_of_all_its_elements(norm: str) -> None:
    x = np.array([[[1.0, -2.0], [3.0, -4.0]], [[5.0, 6.0], [-7.0, 8.0]]])
    found = windfall.load(normalizer(norm, (2, 2), (2, 2))).predict_batch({"x": x})["y"]
    np.testing.assert_allclose(found, x / NORMS[norm](x.reshape(2, 4))[:, None, None], rtol=1e-15)


UNIT = windfall.load(normalizer("L2", (5,), (5,)))


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.just(5)), elements=st.floats(-1e100, 1e100, width=64)))
def test_rows_become_as_long_as_one(x: NDArray[np.float64]) -> None:
    found = UNIT.predict_batch({"x": x})["y"]
    sums = (x**2).sum(axis=1)
    lengths = np.sqrt((found**2).sum(axis=1))
    # Squares of tiny numbers lose their digits.
    normal = sums > 1e-290
    np.testing.assert_allclose(lengths[normal], 1, rtol=1e-12)
    np.testing.assert_array_equal(found[sums == 0], x[sums == 0])


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (normalizer(3), "normType is 3, must be 0, 1 or 2"),
        (normalizer("L2", "double", "double"), "input is 'x', has the type doubleType, must have multiArrayType"),
    ],
)
def test_damaged_normalizers(spec: Any, text: str) -> None:
    with pytest.raises(windfall.FormatError) as error:
        _ = windfall.load(spec).compiled
    assert str(error.value) == f"cannot lower the model (normalizer): {text}"


def test_one_after_the_other() -> None:
    first, second = scaler((1.0, 2.0, 3.0), (2.0,)), normalizer("L1")
    first.description.output[0].name = second.description.input[0].name = "scaled"
    scaled = 2 * (X + STEPS)
    found = predict(pipeline_spec([first, second], {"x": (3,)}, {"y": (3,)}), x=X)["y"]
    np.testing.assert_allclose(found, scaled / np.abs(scaled).sum(), rtol=1e-15)
