"""Recognise loops that compute a GRU, as coremltools makes them of each layer and direction of one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from windfall.graph.limits import MOST_ITERATIONS
from windfall.passes.emitting import Dims
from windfall.passes.loops import Variable, steps_of, takes, variables_of
from windfall.passes.nodes import Floats, dims_of
from windfall.passes.patterns import ANY, Found, Op, matches, op
from windfall.passes.steps import Steps

GATES = "zrh"
"""Update, reset and new: the order in which ONNX has them."""
_LENGTHS = (1, 2, 3, 1000, 32_000)
"""The numbers of steps with which a loop is tried if it is known at run time only; programs count in int16 then."""

_X = op("Squeeze", op("Gather", "input", "input index"), ANY, name="x")
_H = op("Squeeze", op("Gather", "buffer", "buffer index"), ANY, name="h")


def _of_x(gate: str) -> Op:
    return op("Gemm", _X, f"W{gate}", f"Wb{gate}", transB=1)


def _of_h(gate: str) -> Op:
    return op("Gemm", _H, f"R{gate}", f"Rb{gate}", transB=1)


_Z, _R = (op("Sigmoid", op("Add", _of_x(gate), _of_h(gate))) for gate in "zr")
_NEW = op("Tanh", op("Add", _of_x("h"), op("Mul", _R, _of_h("h"))))
_REST = (op("Sub", 1.0, _Z), op("Add", 1.0, op("Mul", -1.0, _Z)))
_ROW = op("Unsqueeze", op("Add", op("Mul", _Z, _H), op("Mul", _REST, _NEW)), ANY, name="row")
_ADDED = op(
    "ScatterElements",
    "buffer",
    (op("Expand", "place", ANY), "place"),
    (_ROW, op("Compress", _ROW, "is kept")),
    reduction="add",
)
_STEP = (_ADDED, op("Cast", _ADDED, to=ir.DataType.FLOAT))
"""What a step makes of the buffer; see ``FuseGru``."""


@dataclass(frozen=True)
class Gru:
    """A loop that computes a GRU.

    Attributes:
        loop: The loop.
        states: Its only result [T + 1, B, H]: the states before and after all steps.
        x: The input [T, B, I].
        state: The first state [1, B, H], as a value or as numbers.
        weights: Of each gate, W [H, I] and R [H, H], and Wb and Rb [H] or None.
        length: T.
        batch: B.
        width: H.
    """

    loop: ir.Node
    states: ir.Value
    x: ir.Value
    state: ir.Value | Floats
    weights: Found
    length: int | ir.SymbolicDim
    batch: int
    width: int

    @property
    def dims(self) -> Dims:
        """The shape of the states after all steps."""
        return [self.length, self.batch, self.width]

    def joined(self, name: str) -> Floats:
        """Return the weights of this name, W, R, Wb or Rb, of all gates, one below the other."""
        values = [self.weights[f"{name}{gate}"] for gate in GATES]
        return np.concatenate([_numbers(value) if value else np.zeros(self.width, np.float32) for value in values])


def gru_of(graph: ir.Graph, loop: ir.Node) -> Gru | None:
    """Return the GRU that a loop of a graph computes, if it does."""
    used = [each for each in variables_of(loop) if each.is_used]
    if len(used) != 1:
        return None
    (buffer,) = used
    found = next(matches(_STEP, buffer.after, {"buffer": buffer.before}), {})
    x, h = found.get("input"), dims_of(found.get("h"))
    if x is None or x.graph is not graph or x.shape is None or h is None or len(h) != 2 or not _have_sizes(found, h):
        return None
    length = x.shape[0]
    counts = [length] if isinstance(length, int) else _LENGTHS
    if not all(_fits(loop, found, buffer, [count, *h]) for count in counts):
        return None
    state, _ = _parts(buffer)
    if isinstance(state, ir.Value) and state.const_value is not None:
        state = _numbers(state)
    return None if state is None else Gru(loop, buffer.last, x, state, found, length, *h)


def _have_sizes(found: Found, h: Sequence[int]) -> bool:
    """Whether all has the shapes that a GRU has, and weights are constants; h is [B, H]."""
    x, (batch, width) = found["input"], h
    size = (dims_of(found["x"]) or [0])[-1]
    expected = {"W": (width, size), "R": (width, width), "Wb": (width,), "Rb": (width,)}
    weights = [(found[f"{name}{gate}"], dims) for name, dims in expected.items() for gate in GATES]
    return (
        x is not None
        and x.dtype == ir.DataType.FLOAT
        and x.shape is not None
        and x.shape[1:] == (batch, size)
        and dims_of(found["x"]) == [batch, size]
        and dims_of(found["row"]) == [1, batch, width]
        and all(_constant_dims(value) == dims if value else len(dims) == 1 for value, dims in weights)
    )


def _fits(loop: ir.Node, found: Found, buffer: Variable, dims: Sequence[int]) -> bool:
    """Whether a loop takes a step for each row of the input, in order, and adds to zeros; dims are [T, B, H]."""
    x, (count, *state_dims) = found["input"], dims
    assert x is not None, loop
    if not 0 < count <= MOST_ITERATIONS:
        return False
    steps = steps_of(loop, count, {x: count, buffer.before: count + 1})
    state, rest = _parts(buffer)
    return (
        takes(loop, steps)
        and steps.is_counting(found["input index"], 0)
        and steps.is_counting(found["buffer index"], 0)
        and steps.is_counting(found["place"], 1)
        and ("is kept" not in found or steps.equals(found["is kept"], np.ones((1, 1))))
        and _dims(state) == [1, *state_dims]
        and _are_zeros(rest, steps, dims)
    )


_Part = ir.Value | Floats | None


def _parts(buffer: Variable) -> tuple[_Part, _Part]:
    """Return the first row of a buffer before the loop, and the other rows."""
    first = buffer.first
    if first is None or (first.const_value is not None and len(first.const_value.shape) != 3):
        return None, None
    if first.const_value is not None:
        return _numbers(first)[:1], _numbers(first)[1:]
    node = first.producer()
    is_joined = node is not None and node.op_type == "Concat" and node.attributes.get_int("axis") == 0
    return (
        (node.inputs[0], node.inputs[1]) if node is not None and is_joined and len(node.inputs) == 2 else (None, None)
    )


def _are_zeros(part: _Part, steps: Steps, dims: Sequence[int]) -> bool:
    """Whether part of a buffer has these sizes, and nothing but zeros."""
    node = part.producer() if isinstance(part, ir.Value) else None
    if node is not None and node.op_type == "ConstantOfShape":
        filled = node.attributes.get_tensor("value")
        return (filled is None or not filled.numpy().any()) and steps.equals(node.inputs[0], np.array([dims]))
    if isinstance(part, ir.Value):
        part = _numbers(part) if _constant_dims(part) == tuple(dims) else None
    return part is not None and list(part.shape) == list(dims) and not part.any()


def _dims(part: _Part) -> list[int] | None:
    return list(part.shape) if isinstance(part, np.ndarray) else dims_of(part)


def _constant_dims(value: ir.Value) -> tuple[int, ...] | None:
    """Return the shape of a constant, without decoding it."""
    return None if value.const_value is None else tuple(value.const_value.shape.numpy())


def _numbers(value: ir.Value) -> Floats:
    assert value.const_value is not None, value
    return value.const_value.numpy()
