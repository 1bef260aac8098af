"""What bounds the first cell of an LSTM."""

import math

import numpy as np
import onnx_ir as ir

from windfall.graph.builder import GraphBuilder
from windfall.lowering.lstm_cell import _bound


def test_stored_cells_are_bounded_under_other_shapes_too() -> None:
    made = GraphBuilder("g", ["x"])
    one, other = (made.constant(np.full((2, 3), value, np.float32)) for value in (-7, 2))
    row = made.op("Reshape", one, made.constant(np.array([1, 6])))
    both = made.op("Concat", row, made.op("Transpose", row, perm=[0, 1]), axis=0)
    assert _bound(one) == 7
    assert _bound(made.op("Squeeze", made.op("Unsqueeze", other, made.constant([0])), made.constant([0]))) == 2
    assert _bound(made.ops("Split", both, outputs=2, axis=0, num_outputs=2)[1]) == 7
    assert _bound(made.constant(np.zeros((0, 3), np.float32))) == 0


def test_other_cells_are_not_bounded() -> None:
    made = GraphBuilder("g", ["x"])
    x, stored = made.input("x", ir.DataType.FLOAT, (2, 3)), made.constant(np.ones((2, 3), np.float32))
    assert _bound(made.op("Concat", stored, x, axis=0)) == math.inf
    assert _bound(made.op("Mul", stored, stored)) == math.inf
    assert math.isnan(_bound(made.constant(np.float32([1, np.nan, 2]))))


def test_many_paths_to_the_same_numbers_are_walked_once() -> None:
    made = GraphBuilder("g", ["x"])
    value = made.constant(np.ones((1, 3), np.float32))
    first = [made.constant(np.array([number])) for number in (0, 1)]
    for _ in range(2000):
        value = made.op("Slice", made.op("Concat", value, value, axis=0), *first)
    assert _bound(value) == 1
