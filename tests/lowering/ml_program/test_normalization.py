"""Normalization, against PyTorch and the formulas of the definitions."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  # PyTorch's own name for it
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random
from tests.programs import Input, Output, check_operator, run_operator

Array = NDArray[np.float32]


def channels(array: Array, like: Array) -> Array:
    return array.reshape(-1, *[1] * (like.ndim - 2))


@pytest.mark.parametrize("rank", [3, 4, 5])
@pytest.mark.parametrize("affine", [(True, True), (False, True), (True, False), (False, False)])
def test_batch_norm(rank: int, affine: tuple[bool, bool]) -> None:
    x = random(1, (2, 3, 4, 2, 3)[:rank])
    mean, variance = random(2, [3]), random(3, [3], 0.5, 2)
    gamma, beta = (random(seed, [3]) if given else None for seed, given in zip((4, 5), affine, strict=True))
    expected = (x - channels(mean, x)) / np.sqrt(channels(variance, x) + 0.25)
    expected = expected * (1 if gamma is None else channels(gamma, x)) + (0 if beta is None else channels(beta, x))
    weights = {"mean": mean, "variance": variance, "gamma": gamma, "beta": beta}
    check_operator("batch_norm", expected, x=Input(x), epsilon=np.float32(0.25), **weights)


@pytest.mark.parametrize("rank", [3, 4, 5])
@pytest.mark.parametrize("affine", [(True, True), (False, True), (True, False), (False, False)])
def test_instance_norm_is_pytorchs(rank: int, affine: tuple[bool, bool]) -> None:
    x = random(1, (2, 3, 4, 2, 3)[:rank])
    gamma, beta = (random(seed, [3]) if given else None for seed, given in zip((4, 5), affine, strict=True))
    weights = [None if w is None else torch.from_numpy(w) for w in (gamma, beta)]
    expected = F.instance_norm(torch.from_numpy(x), None, None, *weights).numpy()  # type: ignore[arg-type]
    check_operator("instance_norm", expected, x=Input(x), gamma=gamma, beta=beta, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_l2_norm(rank: int) -> None:
    x = random(1, (2, 3, 4, 2, 3)[-rank:])
    expected = x / np.sqrt(np.sum(x**2, axis=(-3, -2, -1), keepdims=True) + 0.5)
    check_operator("l2_norm", expected, x=Input(x), epsilon=np.float32(0.5))


def layer_norm(x: Array, axes: Any, gamma: Array | None, beta: Array | None, epsilon: float) -> Array:
    """NumPy's, in float64."""
    wide = x.astype(np.float64)
    moved = wide - wide.mean(axes, keepdims=True)
    result = moved / np.sqrt((moved**2).mean(axes, keepdims=True) + epsilon)
    shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    result = result * (1 if gamma is None else gamma.reshape(shape))
    return np.asarray(result + (0 if beta is None else beta.reshape(shape)), np.float32)


@few
@given(dims=st.lists(st.integers(2, 4), min_size=1, max_size=4), affine=st.tuples(st.booleans(), st.booleans()),
       data=st.data())  # fmt: skip
def test_layer_norm_along_any_axes(dims: list[int], affine: tuple[bool, bool], data: st.DataObject) -> None:
    x = random(1, dims)
    axes = data.draw(st.lists(st.integers(0, len(dims) - 1), min_size=1, unique=True))
    sizes = [size for axis, size in enumerate(dims) if axis in axes]
    gamma, beta = (random(seed, sizes) if given else None for seed, given in zip((4, 5), affine, strict=True))
    expected = layer_norm(x, tuple(axes), gamma, beta, 0.1)
    counted = [axis - len(dims) * data.draw(st.booleans()) for axis in axes]
    check_operator(
        "layer_norm",
        expected,
        x=Input(x),
        axes=np.array(counted),
        gamma=gamma,
        beta=beta,
        epsilon=np.float32(0.1),
        rtol=1e-4,
        atol=1e-5,
    )


def test_layer_norm_of_everything() -> None:
    x = random(1, (2, 3))
    check_operator("layer_norm", layer_norm(x, (0, 1), None, None, 1e-5), x=Input(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", [3, 4, 5])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_local_response_norm_is_pytorchs(rank: int, size: int) -> None:
    x = random(1, (2, 5, 3, 2, 2)[:rank])
    expected = F.local_response_norm(torch.from_numpy(x), size, 0.5, 0.6, 1.5).numpy()
    numbers = {"alpha": np.float32(0.5), "beta": np.float32(0.6), "k": np.float32(1.5)}
    check_operator("local_response_norm", expected, x=Input(x), size=size, **numbers)
    defaults = F.local_response_norm(torch.from_numpy(x), size, 1e-4, 0.75, 1).numpy()
    check_operator("local_response_norm", defaults, x=Input(x), size=size, symbolic=False)


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        ("batch_norm", {"mean": random(1, [2])}, "mean is of shape [2], must be a vector of 3 channels"),
        ("batch_norm", {"gamma": random(1, (3, 1))}, "gamma is of shape [3, 1], must be a vector of 3 channels"),
        ("batch_norm", {"x": Input(random(1, (2, 3)))}, "x is of rank 2, must have rank 3 to 5, [n, C, *D]"),
        ("instance_norm", {"beta": random(1, [4])}, "beta is of shape [4], must be a vector of 3 channels"),
        ("l2_norm", {"x": Input(random(1, (2, 3)))}, "x is of rank 2, must have rank 3 or more"),
        ("layer_norm", {"axes": np.array([3])}, "axes is 3, must be -3 to 2"),
        ("layer_norm", {"axes": np.array([], np.int32)}, "axes is [], must name at least one axis"),
        (
            "layer_norm",
            {"axes": np.array([1]), "gamma": random(1, [4])},
            "gamma is of shape [4], must have the sizes of x along axes, [3]",
        ),
        ("local_response_norm", {"size": 0}, "size is 0, must be at least 1"),
    ],
)
def test_the_rule_that_is_broken(operator: str, arguments: dict[str, Any], message: str) -> None:
    given = {"x": Input(random(1, (2, 3, 4)))}
    if operator == "batch_norm":
        given |= {"mean": random(2, [3]), "variance": random(3, [3], 1, 2)}  # type: ignore[dict-item]
    with pytest.raises(windfall.FormatError) as error:
        run_operator(operator, [Output(np.float32, [None] * 3)], **(given | arguments))
    assert message in str(error.value)
