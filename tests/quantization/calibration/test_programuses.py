"""What operations of programs multiply their weights by: the products are what the operations compute."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.quantization.programs.models import linear_spec
from windfall.quantization.calibration.layouts import layout_of
from windfall.quantization.calibration.programuses import program_uses
from windfall.quantization.calibration.uses import Use
from windfall.quantization.networks import layers
from windfall.quantization.settings import Settings
from windfall.quantization.weight import values_of

Floats = NDArray[np.float32]


def random(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def products(spec: Any, x: Floats) -> tuple[Floats, Floats]:
    """Return a model's output as it is, and as the product of rows and the weight: [rows, channels]."""
    model = windfall.load(spec)
    use = program_uses(model._file, spec.mlProgram, "", "main")["fc"]
    assert isinstance(use, Use), use
    weight = next(w for layer in layers(model._file, spec) for w in layer.weights if w.field in ("weight", "y"))
    layout = layout_of(weight, use.groups, Settings())
    assert not isinstance(layout, str)
    found = use.rows(x, np.arange) @ layout.matrix(values_of(model._file, weight))
    # [groups, rows, channels of each] -> [rows, channels]
    return model.predict({"x": x})["fc"], found.swapaxes(0, 1).reshape(found.shape[1], -1)


def check_convolution(operator: str, weight: Floats, x: Floats, dims: tuple[int, ...], **arguments: Any) -> None:
    spec = linear_spec(weight, operator=operator, x=np.zeros(x.shape), dims=dims, **arguments)
    expected, found = products(spec, x)
    assert expected.shape == dims
    np.testing.assert_allclose(found, np.moveaxis(expected, 1, -1).reshape(-1, dims[1]), rtol=1e-4, atol=1e-4)


def ints(*values: int) -> NDArray[np.int32]:
    return np.array(values, np.int32)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_convolutions(data: st.DataObject) -> None:
    count, groups = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 2]))
    sizes = st.lists(st.integers(1, 3), min_size=count, max_size=count)
    kernel, strides, dilations = data.draw(sizes), data.draw(sizes), data.draw(sizes)
    dims = data.draw(st.lists(st.integers(7, 9), min_size=count, max_size=count))
    kind = data.draw(st.sampled_from(["valid", "same", "same_lower", "custom"]))
    pad = data.draw(st.lists(st.integers(0, 2), min_size=2 * count, max_size=2 * count))
    x, weight = random(2, 2 * groups, *dims), random(2 * groups, 2, *kernel, seed=1)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    more = [sum(pad[2 * i : 2 * i + 2]) if kind == "custom" else 0 for i in range(count)]
    out = [
        -(-size // s) if kind.startswith("same") else (size + m - e) // s + 1
        for size, s, m, e in zip(dims, strides, more, extent, strict=True)
    ]
    check_convolution(
        "conv", weight, x, (2, 2 * groups, *out), strides=ints(*strides), dilations=ints(*dilations),
        groups=np.int32(groups), pad_type=kind, pad=ints(*pad),
    )  # fmt: skip


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_transposed_convolutions(data: st.DataObject) -> None:
    count, groups = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 2]))
    sizes = st.lists(st.integers(1, 3), min_size=count, max_size=count)
    kernel, strides, dims = data.draw(sizes), data.draw(sizes), data.draw(st.lists(st.integers(3, 5), min_size=2))
    dims = dims[:count]
    kind = data.draw(st.sampled_from(["valid", "same", "custom"]))
    pad = data.draw(st.lists(st.integers(0, 1), min_size=2 * count, max_size=2 * count))
    x, weight = random(2, 2 * groups, *dims), random(2 * groups, 3, *kernel, seed=1)
    full = [(size - 1) * s + k for size, s, k in zip(dims, strides, kernel, strict=True)]
    cut = [sum(pad[2 * i : 2 * i + 2]) if kind == "custom" else 0 for i in range(count)]
    out = [size * s if kind == "same" else f - c for size, s, f, c in zip(dims, strides, full, cut, strict=True)]
    if min(out) < 1:
        return
    extra: dict[str, Any] = {}
    if kind == "valid" and data.draw(st.booleans()):
        out = [f + s - 1 for f, s in zip(full, strides, strict=True)]
        extra["output_shape"] = ints(2, 3 * groups, *out)
    check_convolution(
        "conv_transpose", weight, x, (2, 3 * groups, *out), strides=ints(*strides), groups=np.int32(groups),
        pad_type=kind, pad=ints(*pad), **extra,
    )  # fmt: skip


@pytest.mark.parametrize("turned_x", [False, True])
@pytest.mark.parametrize("turned_y", [False, True])
@pytest.mark.parametrize("outer", [(), (1, 1)])
def test_matmul(turned_x: bool, turned_y: bool, outer: tuple[int, ...]) -> None:
    x, weight = random(2, 6, 5) if turned_x else random(2, 5, 6), random(*outer, 4, 6) if turned_y else random(6, 4)
    flags: dict[str, Any] = {"transpose_x": np.array(turned_x), "transpose_y": np.array(turned_y)}
    dims = (1, 2, 5, 4) if outer and turned_y else (2, 5, 4)
    expected, found = products(linear_spec(weight, operator="matmul", x=np.zeros(x.shape), dims=dims, **flags), x)
    np.testing.assert_allclose(found, expected.reshape(-1, 4), rtol=1e-5, atol=1e-5)


def test_linear() -> None:
    x = random(3, 2, 6)
    expected, found = products(linear_spec(random(4, 6), x=np.zeros(x.shape), dims=(3, 2, 4)), x)
    np.testing.assert_allclose(found, expected.reshape(-1, 4), rtol=1e-5, atol=1e-5)
