"""What a loop does with its counter is computed as engines compute it."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from tests.passes.graphs import graph_of, run

from windfall.graph.builder import GraphBuilder
from windfall.passes.steps import Steps

Build = Callable[[GraphBuilder, ir.Value], ir.Value]


def integers(g: GraphBuilder, *numbers: int, dtype: type = np.int64) -> ir.Value:
    return g.constant(np.array(numbers, dtype))


def wrapped(g: GraphBuilder, x: ir.Value) -> ir.Value:
    """An index as coremltools makes it not negative: in int16, and by the size of x."""
    short = g.op("Cast", g.op("Cast", x, to=ir.DataType.INT16), to=ir.DataType.INT64)
    size = g.op("Squeeze", g.op("Slice", g.op("Shape", g.constant(np.zeros((7, 2)))), integers(g, 0), integers(g, 1)))
    return g.op("Where", g.op("GreaterOrEqual", short, integers(g, 0)), short, g.op("Add", short, size))


KNOWN: dict[str, Build] = {
    "arithmetic": lambda g, x: g.op("Sub", g.op("Mul", g.op("Add", x, integers(g, 3)), integers(g, -2)), x),
    "absolute": lambda g, x: g.op("Abs", g.op("Sub", x, integers(g, 2))),
    "int16 has no larger numbers": lambda g, x: g.op(
        "Cast", g.op("Add", g.op("Cast", x, to=ir.DataType.INT16), integers(g, 32766, dtype=np.int16)), to=7
    ),
    "compared": lambda g, x: g.op("Cast", g.op("And", g.op("Less", x, integers(g, 3)), g.op("Not", g.op(
        "Or", g.op("Equal", x, integers(g, 1)), g.op("Greater", x, integers(g, 4))))), to=7),
    "at most": lambda g, x: g.op("Cast", g.op("LessOrEqual", x, integers(g, 2)), to=7),
    "not negative": wrapped,
    "looked up": lambda g, x: g.op("Gather", integers(g, 5, 6, 7, 8, 9, 10), x),
    "moved": lambda g, x: g.op("Reshape", g.op("Unsqueeze", x, integers(g, 0)), integers(g, 1)),
    "all kept": lambda g, x: g.op("Compress", x, g.op("Less", x, integers(g, 9)), axis=0),
    "sizes": lambda g, x: g.op("Gather", g.op("Concat", g.op("Shape", g.constant(np.zeros((4, 2)))), integers(
        g, 3, 2, 1, 0), axis=0), x),
}  # fmt: skip
UNKNOWN: dict[str, Build] = {
    "beyond the table": lambda g, x: g.op("Gather", integers(g, 5, 6, 7, 8, 9), x),
    "some kept": lambda g, x: g.op("Compress", x, g.op("Less", x, integers(g, 5)), axis=0),
    "sometimes the one": lambda g, x: g.op("Where", g.op("Less", x, integers(g, 5)), x, integers(g, 0)),
    "another operator": lambda g, x: g.op("Mod", x, integers(g, 2)),
    "many numbers": lambda g, x: g.op("Add", g.constant(np.arange(9)), x),
    "very many values": lambda g, x: chain(g, x, 300),
}


def chain(g: GraphBuilder, x: ir.Value, count: int) -> ir.Value:
    return x if count == 0 else g.op("Add", chain(g, x, count - 1), x)


def counted(build: Build) -> tuple[ir.Model, ir.Value, ir.Value]:
    """Return a graph that makes the float32 y of x by way of int64, and x and y as int64."""
    inner: list[ir.Value] = []

    def whole(g: GraphBuilder, x: ir.Value) -> ir.Value:
        inner.append(g.op("Cast", x, to=ir.DataType.INT64))
        inner.append(build(g, inner[0]))
        return g.op("Cast", inner[1], to=ir.DataType.FLOAT)

    model = graph_of(whole, [1])
    return model, inner[0], inner[1]


@pytest.mark.parametrize("name", KNOWN)
def test_six_steps_are_what_onnx_runtime_makes_of_six_numbers(name: str) -> None:
    model, x, y = counted(KNOWN[name])
    found = Steps(6, {}, [x]).numbers(y)
    expected = [run(model, np.array([step], np.float32)).reshape(-1) for step in range(6)]
    assert found is not None
    np.testing.assert_array_equal(np.broadcast_to(found, (6, found.shape[1])), expected)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_sure_is_not_known(name: str) -> None:
    _, x, y = counted(UNKNOWN[name])
    assert Steps(6, {}, [x]).numbers(y) is None


def test_sizes_may_be_told() -> None:
    shapes: list[ir.Value] = []

    def build(g: GraphBuilder, x: ir.Value) -> ir.Value:
        shapes.extend([x, g.op("Shape", x), g.op("Shape", g.op("Neg", x)), g.op("Shape", g.op("Transpose", x))])
        return x

    graph_of(build, ["T", 3])
    x, *rest = shapes
    steps = Steps(1, {x: 5})
    for shape, expected in zip(rest, ([5, 3], [5, 3], [3, 5]), strict=True):
        assert steps.equals(shape, np.array([expected]))
    assert Steps(1, {}).numbers(rest[0]) is None


@pytest.mark.parametrize("start", [0, 1])
def test_counting(start: int) -> None:
    _, x, y = counted(lambda g, x: g.op("Add", x, integers(g, start)))
    steps = Steps(5, {}, [x])
    assert steps.is_counting(y, start)
    assert not steps.is_counting(y, start + 1)
    assert not steps.is_counting(None, start)
