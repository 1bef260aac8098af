"""Parts of tensors, and parts replaced, against NumPy's slices."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import windfall
from tests.lowering.neural_network.strategies import few, random
from tests.programs import (
    DATA_TYPES,
    ArrayType,
    Input,
    Name,
    Output,
    add_input,
    add_operation,
    check_operator,
    new_program,
    run_operator,
    set_type,
)
from windfall.runtime.serialized import IN_PLACE

NARROW = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.bool_]

COMPUTED = st.sampled_from([("begin", "end"), ("begin",), ("end",)])


def ints(*numbers: int) -> NDArray[np.int32]:
    return np.array(numbers, np.int32)


def python_slices(drawn: list[dict[str, Any]]) -> tuple[Any, ...]:
    """Return what NumPy indexes with."""
    return tuple(
        (0 if one["begin_mask"] else one["begin"])
        if one["squeeze_mask"]
        else slice(
            None if one["begin_mask"] else one["begin"], None if one["end_mask"] else one["end"], one["stride"]
        )
        for one in drawn
    )  # fmt: skip


@st.composite
def sections(draw: Any, dims: list[int]) -> list[dict[str, Any]]:
    """Return an index, a stride and masks for each axis."""
    return [
        {
            "begin": draw(st.integers(-size, size - 1)),
            "end": draw(st.integers(-size - 1, size + 1)),
            "stride": draw(st.sampled_from([1, 1, 2, -1, -2])),
            "begin_mask": draw(st.booleans()),
            "end_mask": draw(st.booleans()),
            "squeeze_mask": draw(st.sampled_from([False, False, True])),
        }
        for size in dims
    ]


def columns(drawn: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    return {name: np.array([one[name] for one in drawn]) for name in drawn[0]}


@few
@given(dims=st.lists(st.integers(1, 4), min_size=1, max_size=3), data=st.data())
def test_slice_by_index_is_numpys(dims: list[int], data: st.DataObject) -> None:
    x, drawn = random(1, dims), data.draw(sections(dims))
    arguments = columns(drawn)
    expected = x[python_slices(drawn)]
    check_operator("slice_by_index", expected, x=Input(x), **arguments)
    fed = {name: Input(ints(*arguments.pop(name))) for name in data.draw(COMPUTED)}
    check_operator("slice_by_index", expected, x=Input(x), **fed, **arguments)


@few
@given(dims=st.lists(st.integers(1, 4), min_size=1, max_size=3), data=st.data())
def test_slice_update_is_numpys(dims: list[int], data: st.DataObject) -> None:
    x, drawn = random(1, dims), data.draw(sections(dims))
    if all(one["squeeze_mask"] for one in drawn):
        drawn[0]["squeeze_mask"] = False
    arguments = columns(drawn)
    expected = x.copy()
    update = random(2, x[python_slices(drawn)].shape)
    expected[python_slices(drawn)] = update
    check_operator("slice_update", expected, x=Input(x), update=Input(update), **arguments)
    fed = {name: Input(ints(*arguments.pop(name))) for name in data.draw(COMPUTED)}
    check_operator("slice_update", expected, x=Input(x), update=Input(update), **fed, **arguments)


@pytest.mark.parametrize("dtype", NARROW)
def test_narrow_types_are_sliced(dtype: Any) -> None:
    x = (np.arange(12).reshape(3, 4) % 3).astype(dtype)
    bounds = {"begin": np.array([1, 0], np.int8), "end": np.array([3, 2], np.int8)}
    check_operator("slice_by_index", x[1:3, :2], x=Input(x), **bounds)
    updated = x.copy()
    updated[1:3, :2] = 1
    check_operator("slice_update", updated, x=Input(x), update=Input(np.ones((2, 2), dtype)), **bounds)
    check_operator("slice_by_size", x[1:, 1:3], x=Input(x), begin=ints(1, -3), size=ints(-1, 2))
    check_operator("reverse", x[:, ::-1], x=Input(x), axes=[1])
    swapped = np.array([x[0], x[1, [1, 0, 2, 3]], x[2, ::-1]])
    check_operator("reverse_sequence", swapped, x=Input(x), lengths=Input(ints(0, 2, 4)), seq_axis=1, batch_axis=0)
    rows = np.stack([x[:, :2], x[:, 2:]], axis=1)
    check_operator("sliding_windows", rows, x=Input(x), axis=-1, size=2, stride=2)


def test_an_update_of_a_cache_writes_rows_of_it() -> None:
    """[batch, heads, places, width], a window of places; larger than what is stored as a constant, too."""
    for width, places in ((4, 6), (64, 40)):
        x, update = random(1, (1, 2, 64, width)), random(2, (1, 2, places, width))
        expected = x.copy()
        expected[:, :, 3 : 3 + places] = update
        masks = {"begin_mask": [True, True, False, True], "end_mask": [True, True, False, True]}
        for wrap in (lambda numbers: numbers, Input):
            bounds = {"begin": wrap(ints(0, 0, 3, 0)), "end": wrap(ints(0, 0, 3 + places, 0))}
            check_operator("slice_update", expected, x=Input(x), update=Input(update), **bounds, **masks)
    columns_ = random(3, (1, 2, 64, 40))
    expected = random(1, (1, 2, 64, 64))
    x = expected.copy()
    expected[..., 8:48] = columns_
    bounds = {"begin": ints(0, 0, 0, 8), "end": ints(1, 2, 64, 48)}
    check_operator("slice_update", expected, x=Input(x), update=Input(columns_), **bounds)


def cache() -> Any:
    """Return a model that writes a row to a state, at a place that it is given, and returns the state."""
    spec, function, block = new_program()
    dims, row = (1, 2, 4, 3), (1, 2, 1, 3)
    state = function.inputs.add(name="cache").type.stateType.wrappedType
    set_type(state, DATA_TYPES[np.dtype(np.float32)], dims)
    described = spec.description.state.add(name="cache").type.stateType.arrayType
    described.shape.extend(dims)
    described.dataType = ArrayType.FLOAT32
    add_input(spec, function, "row", np.ones(row, np.float32), row)
    for name in ("begin", "end"):
        add_input(spec, function, name, ints(0, 0, 0, 0), (4,))
    names = {name: Name(name) for name in ("begin", "end")}
    masks = {name: np.array([True, True, False, True]) for name in ("begin_mask", "end_mask")}
    whole = Output(np.float32, dims)
    add_operation(block, "read_state", {"before": whole}, input_=Name("cache"))
    add_operation(block, "slice_update", {"new": whole}, x=Name("before"), update=Name("row"), **names, **masks)
    add_operation(block, "write_state", {}, input_=Name("cache"), data=Name("new"))
    add_operation(block, "read_state", {"after": whole}, input_=Name("cache"))
    block.outputs.append("after")
    spec.description.output.add(name="after").type.multiArrayType.dataType = ArrayType.FLOAT32
    return spec


def test_a_state_is_updated_where_it_lies() -> None:
    model = windfall.load(cache())
    graph = model.compiled.graph
    (update,) = [node for node in graph.graph if node.op_type == "ScatterND"]
    assert update.inputs[0].name == "cache"
    assert "cache" in graph.metadata_props[IN_PLACE]
    state, expected = model.make_state(), np.zeros((1, 2, 4, 3), np.float32)
    for place in (2, 0, 3):
        row = random(place, (1, 2, 1, 3))
        expected[:, :, place : place + 1] = row
        bounds = {"begin": ints(0, 0, place, 0), "end": ints(0, 0, place + 1, 0)}
        np.testing.assert_array_equal(model.predict({"row": row, **bounds}, state)["after"], expected)
    np.testing.assert_array_equal(state.read("cache"), expected)


def test_an_update_of_all_is_the_update() -> None:
    update = random(1, (2, 3))
    bounds = {"begin": ints(0, 0), "end": ints(2, 3)}
    check_operator("slice_update", update, x=Input(random(2, (2, 3))), update=Input(update), **bounds)


def test_what_an_update_cannot_fill_makes_the_prediction_fail() -> None:
    bounds = {"begin": Input(ints(4)), "end": Input(ints(7))}
    with pytest.raises(windfall.WindfallError):
        run_operator(
            "slice_update", [Output(np.float32, (5,))], x=Input(np.zeros(5)), update=Input(np.ones(3)), **bounds
        )


@pytest.mark.parametrize(
    ("begin", "size", "expected"),
    [
        ([0, 1], [2, 2], np.s_[0:2, 1:3]),
        ([1, 1], [-1, 1], np.s_[1:, 1:2]),
        ([-1, -3], [1, 2], np.s_[2:, 1:3]),
        ([3, 0], [0, 4], np.s_[3:, :]),
        ([0, 0], [-1, -1], np.s_[:, :]),
    ],
)
def test_slice_by_size(begin: list[int], size: list[int], expected: Any) -> None:
    x = random(1, (3, 4))
    for wrap_begin in (lambda n: n, Input):
        for wrap_size in (lambda n: n, Input):
            fed = {"begin": wrap_begin(ints(*begin)), "size": wrap_size(ints(*size))}
            check_operator("slice_by_size", x[expected], x=Input(x), **fed)


@pytest.mark.parametrize(("begin", "size"), [(3, 2), (-5, 1), (5, 1)])
def test_a_part_that_leaves_its_axis_is_refused(begin: int, size: int) -> None:
    x, outputs = Input(random(1, (4,))), [Output(np.float32, (size,))]
    with pytest.raises(windfall.LoweringError, match=rf"size is \[{size}\], must leave no axis of \[4\]"):
        run_operator("slice_by_size", outputs, x=x, begin=ints(begin), size=ints(size))
    with pytest.raises(windfall.WindfallError):
        run_operator("slice_by_size", outputs, x=x, begin=Input(ints(begin)), size=ints(size))
    with pytest.raises(windfall.WindfallError):
        run_operator("slice_by_size", outputs, x=x, begin=Input(ints(begin)), size=Input(ints(size)))


@pytest.mark.parametrize("axes", [None, [0], [-1, 0], [1, 1], []])
def test_reverse(axes: list[int] | None) -> None:
    x = random(1, (2, 3))
    expected = np.flip(x) if axes is None else x
    for axis in axes or []:
        expected = np.flip(expected, axis)
    check_operator("reverse", expected, x=Input(x), axes=None if axes is None else ints(*axes))


@pytest.mark.parametrize(("batch", "sequence"), [(0, 1), (1, 0), (0, 2), (2, 0), (-1, 1)])
def test_reverse_sequence(batch: int, sequence: int) -> None:
    x = random(1, (3, 3, 3))
    front = np.moveaxis(x, (batch, sequence), (0, 1)).copy()
    for row, count in zip(front, (0, 2, 3), strict=True):
        row[:count] = row[:count][::-1]
    expected = np.moveaxis(front, (0, 1), (batch, sequence))
    axes = {"batch_axis": batch, "seq_axis": sequence}
    check_operator("reverse_sequence", expected, x=Input(x), lengths=Input(ints(0, 2, 3)), **axes)


@pytest.mark.parametrize(("axis", "size", "stride"), [(0, 2, None), (1, 3, 2), (-1, 1, 3), (1, 5, 1)])
def test_sliding_windows(axis: int, size: int, stride: int | None) -> None:
    x = random(1, (4, 5, 6))
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis)
    place = axis % 3
    expected = np.moveaxis(windows, -1, place + 1)[(slice(None),) * place + (slice(None, None, stride),)]
    check_operator("sliding_windows", expected, x=Input(x), axis=axis, size=size, stride=stride)


def test_an_index_that_is_no_number_starts_at_the_front() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    check_operator("slice_by_index", x[:1, 1:], x=Input(x), begin=np.float32([np.nan, 1]), end=ints(1, 3))


@pytest.mark.parametrize(
    ("operator", "arguments", "message"),
    [
        (
            "slice_by_index",
            {"begin": ints(0), "end": ints(1, 1)},
            r"begin is of shape \[1\], must be 2 numbers for an x",
        ),
        (
            "slice_by_index",
            {"begin": ints(0, 0), "end": ints(1, 1), "stride": ints(1, 0)},
            r"stride is \[1, 0\], must be",
        ),
        (
            "slice_by_index",
            {"begin": ints(0, 0), "end": ints(1, 1), "end_mask": [True]},
            r"end_mask is \[True\], must be 2",
        ),
        ("slice_by_size", {"begin": ints(0, 0), "size": ints(1, -2)}, r"size is \[1, -2\], must be at least 0, or -1"),
        (
            "slice_update",
            {"begin": ints(0, 0), "end": ints(1, 1), "update": np.ones(1)},
            "update is of rank 1, must have rank",
        ),
        (
            "slice_update",
            {"begin": ints(0, 0), "end": ints(2, 1), "update": np.ones((1, 1))},
            r"update is \[1, 1\], must have",
        ),
        (
            "slice_update",
            {"begin": ints(9, 0), "end": ints(2, 1), "update": np.ones(1), "squeeze_mask": [True, False]},
            r"begin must be an index of \[2, 3\] along the squeezed axes",
        ),
        ("sliding_windows", {"axis": 1, "size": 4}, "size is 4, must be 1 to 3 along axis 1"),
        ("sliding_windows", {"axis": 1, "size": 2, "stride": 0}, "stride is 0, must be at least 1"),
        ("reverse", {"axes": ints(2)}, "axes is 2, must be -2 to 1"),
        ("reverse_sequence", {"lengths": ints(1, 1)}, "seq_axis is 0, must be another axis than batch_axis"),
    ],
)
def test_what_does_not_fit_is_refused(operator: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(windfall.LoweringError, match=message):
        run_operator(operator, [Output(np.float32, (1, 1))], x=Input(np.zeros((2, 3))), **arguments)
