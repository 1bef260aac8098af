"""Checks in a graph let values through as they are, and fail in words where a rule is broken."""

from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from windfall.graph.builder import GraphBuilder, build_model
from windfall.graph.checks import require
from windfall.graph.rules import CHECKS
from windfall.runtime.failures import run_error

TYPES = {"f": ir.DataType.DOUBLE, "i": ir.DataType.INT64, "b": ir.DataType.BOOL, "O": ir.DataType.STRING}


def checked(value: NDArray[Any], dims: Any, code: str = "mapping", prefix: str = "a/scaler") -> Any:
    """Return a function of a bool vector that gives the value if all of it is true."""
    graph = GraphBuilder("g", ["value", "holds"])
    graph.prefix = prefix
    source = graph.input("value", TYPES[value.dtype.kind], dims)
    holds = graph.input("holds", ir.DataType.BOOL, ["n"])
    result = require(graph, source, holds, code)
    assert result.shape == source.shape
    graph.prefix = ""
    graph.graph.outputs.append(graph.rename(result, "result"))
    session = onnxruntime.InferenceSession(ir.to_proto(build_model(graph.graph)).SerializeToString())
    return lambda *holds: session.run(None, {"value": value, "holds": np.array(holds, np.bool_)})[0]


@pytest.mark.parametrize(
    ("value", "dims"),
    [
        (np.arange(6.0).reshape(2, 3), ["rows", 3]),
        (np.arange(6.0).reshape(2, 3), [2, 3]),
        (np.array(["x", "y"], object), ["rows"]),
        (np.zeros((0, 4), np.int64), ["rows", 4]),
        (np.array(True), []),
    ],
)
def test_a_value_goes_through_as_it_is(value: NDArray[Any], dims: Any) -> None:
    run = checked(value, dims)
    for holds in ([], [True], [True] * 5):
        np.testing.assert_array_equal(run(*holds), value)
    for holds in ([False], [True, False, True], [False] * 5):
        with pytest.raises(Exception, match="indices element out of data bounds") as info:
            run(*holds)
        assert run_error(info.value) == f"'a/scaler' {CHECKS['mapping']}"


def test_a_check_of_nothing_that_has_a_name() -> None:
    with pytest.raises(Exception, match="indices element out of data bounds") as info:
        checked(np.zeros(2), [2], prefix="")(False)
    assert run_error(info.value) == f"a node of the graph {CHECKS['mapping']}"


def test_a_code_that_is_none() -> None:
    with pytest.raises(KeyError, match="unheard_of"):
        checked(np.zeros(2), [2], "unheard_of")
