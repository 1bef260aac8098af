"""Operators that change a tensor's shape or the order of its axes, against NumPy and the definitions' examples."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import windfall
from tests.lowering.neural_network.strategies import few, random
from tests.programs import Input, Name, Output, add_operation, check_operator, operator_spec, run_operator

NARROW = [np.int8, np.uint8, np.int16, np.uint16, np.bool_]


@pytest.mark.parametrize("dims", [(2, 3), (), (0, 2)])
def test_identity_and_shape(dims: tuple[int, ...]) -> None:
    x = random(1, dims)
    check_operator("identity", x, x=Input(x))
    check_operator("shape", np.array(dims, np.int32), x=Input(x))


@pytest.mark.parametrize(
    ("dims", "shape", "expected", "opset"),
    [
        ((2, 3), [3, 2], (3, 2), 5),
        ((2, 3), [-1], (6,), 5),
        ((4, 3, 2), [0, -1], (3, 8), 7),
        ((4, 3, 2), [0, -1, 1], (4, 6, 1), 5),
        ((4, 3, 2), [2, 0, -1], (2, 3, 4), 6),
        # The examples of iOS 17.
        ((2, 50), [1, 0, -1, 0], (1, 1, 2, 50), 7),
        ((6,), [], None, 5),
        ((1,), [], (), 5),
        ((), [1, 1], (1, 1), 5),
        ((0, 3), [3, 0, 5], None, 5),
        ((2, 0), [0, 5, 0], (1, 5, 0), 7),
    ],
)
def test_reshape(dims: tuple[int, ...], shape: list[int], expected: tuple[int, ...] | None, opset: int) -> None:
    x = random(1, dims)
    wanted = np.array(shape, np.int32)
    if expected is None:
        with pytest.raises(windfall.LoweringError):
            run_operator("reshape", [Output(np.float32, (1,))], opset=opset, x=Input(x), shape=wanted)
        return
    for given_shape in (wanted, Input(wanted)):
        check_operator("reshape", x.reshape(expected), opset=opset, x=Input(x), shape=given_shape)


@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_types_are_reshaped(dtype: Any) -> None:
    x = np.array([[1, 0, 1]], dtype)
    check_operator("reshape", x.reshape(3, 1), x=Input(x), shape=np.array([-1, 1], np.int8))
    check_operator("expand_dims", x[None], x=Input(x), axes=[0])
    check_operator("squeeze", x[0], x=Input(x), axes=[0])
    check_operator("transpose", x.T, x=Input(x), perm=[1, 0])


def test_reshape_like_takes_the_example_of_its_definition() -> None:
    x = random(1, (6, 10))
    arguments: dict[str, Any] = {"begins": [0, 1], "ends": [2, 0], "end_masks": [False, True]}
    spec = {name: np.array(values) for name, values in arguments.items()}
    refs = [Input(np.zeros((2, 3, 4))), Input(np.zeros((1, 5, 2)))]
    with pytest.raises(
        windfall.LoweringError, match=r"ref_tensors is \[2, 1, 1, 1\], begins, ends and end_masks must be"
    ):
        run_operator("reshape_like", [Output(np.float32, (2, 3, 5, 2))], x=Input(x), ref_tensors=refs, **spec)
    parts = [Input(np.zeros((2, 3, 5, 2)))]
    one = {"begins": np.array(0), "ends": np.array(0), "end_masks": np.array(True)}
    check_operator("reshape_like", x.reshape(2, 3, 5, 2), x=Input(x), ref_tensors=parts, **one)
    last = {"begins": np.array(-2), "ends": np.array(-1), "end_masks": np.array(False)}
    check_operator("reshape_like", x[:1, :5].reshape(5), x=Input(x[:1, :5]), ref_tensors=parts, **last)


@pytest.mark.parametrize(
    ("dims", "axes", "expected"),
    [
        ((2, 3), [0], (1, 2, 3)),
        ((2, 3), [-1, 0], (1, 2, 3, 1)),
        ((2, 3), [-2], (2, 1, 3)),
        ((2,), [2, 1], (2, 1, 1)),
        ((), [0, 1], (1, 1)),
    ],
)
def test_expand_dims(dims: tuple[int, ...], axes: list[int], expected: tuple[int, ...]) -> None:
    x = random(1, dims)
    check_operator("expand_dims", x.reshape(expected), x=Input(x), axes=axes)


@pytest.mark.parametrize(
    ("dims", "axes", "expected"),
    [
        ((1, 2, 1), [0, 2], (2,)),
        ((1, 2, 1), [-1], (1, 2)),
        ((1, 2, 1), None, (2,)),
        ((1, 1), None, ()),
        ((2, 3, 4), [0, 1], (2, 3, 4)),
        ((1, 3), [0, 1], (3,)),
    ],
)
def test_squeeze(dims: tuple[int, ...], axes: list[int] | None, expected: tuple[int, ...]) -> None:
    x = random(1, dims)
    # Without sizes nothing tells which of the axes are of size 1.
    check_operator(
        "squeeze", x.reshape(expected), x=Input(x), axes=axes, symbolic=axes is not None and expected != (3,)
    )


def test_squeeze_keeps_an_axis_that_is_not_always_of_size_1() -> None:
    x = random(1, (1, 2, 1))
    for axes in (None, [0, 2]):
        for declared, wanted in (((None, 2), (1, 2)), ((2, None), (2, 1)), ((2,), (2,))):
            (result,) = run_operator("squeeze", [Output(np.float32, declared)], x=Input(x), axes=axes)
            assert result.shape == wanted


def test_a_known_size_of_1_is_removed_before_an_unknown_one() -> None:
    x = random(1, (3, 1))
    (result,) = run_operator("squeeze", [Output(np.float32, (None,))], x=Input(x, (None, 1)), axes=[0, 1])
    np.testing.assert_array_equal(result, x[:, 0])


def test_a_squeeze_of_very_many_axes_is_refused() -> None:
    spec, feeds = operator_spec("reshape", [Output(np.float32, [1] * 65)], 8, x=Input(np.ones(1)), shape=[1] * 65)
    block = spec.mlProgram.functions["main"].block_specializations["CoreML8"]
    add_operation(block, "squeeze", {"last": Output(np.float32, ())}, x=Name("out0"))
    with pytest.raises(windfall.LoweringError, match="x is of rank 65, must have at most 64 axes"):
        windfall.load(spec).predict(feeds)


@pytest.mark.parametrize(("dims", "perm"), [((2, 3, 4), [2, 0, 1]), ((2, 3), [-1, 0]), ((3,), [0]), ((), [])])
def test_transpose(dims: tuple[int, ...], perm: list[int]) -> None:
    x = random(1, dims)
    check_operator("transpose", x.transpose(perm), x=Input(x), perm=np.array(perm, np.int32))


@pytest.mark.parametrize(
    ("dims", "axis", "expected"),
    [
        ((3,), -1, (1, 3)), ((3,), 1, (3, 1)), ((4, 3), -1, (4, 3)), ((2, 3, 2), -1, (6, 2)), ((5, 5, 2), 1, (5, 10)),
        ((5, 5, 2), None, (5, 10)), ((), None, (1, 1)), ((2, 3), 0, (1, 6)),
    ],
)  # fmt: skip
def test_flatten2d_takes_the_examples_of_its_definition(
    dims: tuple[int, ...], axis: int | None, expected: tuple[int, int]
) -> None:
    x = random(1, dims)
    check_operator("flatten2d", x.reshape(expected), x=Input(x), axis=axis)


@few
@given(dims=st.lists(st.integers(1, 3), min_size=1, max_size=4), data=st.data())
def test_reshape_at_run_time_counts_axes_from_the_end(dims: list[int], data: st.DataObject) -> None:
    """A shape is made of a true one: some sizes that x has at the same place from the end become 0, one of all -1."""
    target = [1] * data.draw(st.integers(0, 2)) + dims
    own = [1] * (len(target) - len(dims)) + dims
    shape = [0 if data.draw(st.booleans()) else size for size in own]
    if data.draw(st.booleans()):
        shape[data.draw(st.integers(0, len(shape) - 1))] = -1
    x = random(1, dims)
    for given_shape in (np.array(shape, np.int32), Input(np.array(shape, np.int32))):
        check_operator("reshape", x.reshape(target), opset=7, x=Input(x), shape=given_shape)


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        ("reshape", {"shape": np.array([-1, -1])}, r"shape is \[-1, -1\], must have sizes of at least 0, one of them"),
        ("reshape", {"shape": np.array([0])}, r"shape is \[0\], must have 2 sizes, the rank of x, if one of them is 0"),
        ("reshape", {"shape": np.array([5])}, r"arguments do not fit the operator: a tensor of shape \[2, 3\] cannot"),
        ("reshape", {"shape": np.array(5)}, r"shape is of shape \[\], must be a vector"),
        ("expand_dims", {"axes": np.array([3])}, "axes is 3, must be -3 to 2"),
        ("expand_dims", {"axes": np.array([0, -4])}, r"axes is \[0, -4\], must name each axis once"),
        ("squeeze", {"axes": np.array([2])}, "axes is 2, must be -2 to 1"),
        ("squeeze", {"axes": np.array([0])}, r"axes is \[\], of \[2, 3\] must leave the declared \[6\]"),
        ("transpose", {"perm": np.array([0, 0])}, r"perm is \[0, 0\], must be 0 to 1 in any order for an x of rank 2"),
    ],
)
def test_what_does_not_fit_is_refused(operator: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_operator(operator, [Output(np.float32, (6,))], opset=5, x=Input(np.zeros((2, 3))), **arguments)
