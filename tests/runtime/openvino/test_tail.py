"""Graphs whose end OpenVINO is not given: ONNX Runtime computes it."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import pytest

from windfall.errors import EngineError
from windfall.graph.builder import GraphBuilder, build_model
from windfall.runtime.engine import EngineOptions, engine_named
from windfall.runtime.profile import profile
from windfall.runtime.serialize import serialize
from windfall.runtime.serialized import SerializedModel

pytest.importorskip("openvino", reason="it is no dependency of other processors")
from windfall.runtime.openvino.program import OpenVino, OpenVinoProgram  # needs the import above

ONE = EngineOptions(1)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)
# The columns are alike, so that there are ties.
WEIGHTS = np.repeat(RNG.normal(size=(3, 3, 3, 3)), 2, 0).astype(np.float32)


def detector(
    end: Callable[[GraphBuilder, ir.Value], Sequence[ir.Value]], more: Sequence[tuple[str, ir.DataType]] = ()
) -> SerializedModel:
    """Return a graph of a convolution and an end, which is given the sums [1, 6, 6, 6]."""
    made = GraphBuilder("g", ["x", *(name for name, _ in more)])
    made.prefix = "layer"
    sums = made.op("Conv", made.input("x", ir.DataType.FLOAT, X.shape), made.constant(WEIGHTS))
    for name, dtype in more:
        made.input(name, dtype, ())
    results = end(made, sums)
    made.graph.outputs.extend(made.rename(value, f"y{place}") for place, value in enumerate(results))
    return serialize(build_model(made.graph))


def both(model: SerializedModel, **feeds: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    other = OpenVino().compile(model, ONE)
    assert isinstance(other, OpenVinoProgram)
    one = engine_named("onnxruntime").compile(model, ONE)
    return one.run(feeds), other.run(feeds)


def best(made: GraphBuilder, sums: ir.Value) -> list[ir.Value]:
    return [
        made.op("ArgMax", sums, axis=1, keepdims=0),
        made.op("Sigmoid", sums),
        made.op("ReduceMax", sums, made.constant(np.array([1]))),
    ]


def test_the_outputs_come_in_their_order() -> None:
    one, other = both(detector(best), x=X)
    assert [y.dtype for y in other] == [np.int64, np.float32, np.float32]
    np.testing.assert_array_equal(other[0], one[0])
    for y, expected in zip(other[1:], one[1:], strict=True):
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_the_first_of_equal_elements_is_chosen() -> None:
    (one, *_), (other, *_) = both(detector(best), x=np.zeros_like(X))
    np.testing.assert_array_equal(one, np.zeros((1, 6, 6)))
    np.testing.assert_array_equal(other, one)


def test_a_profile_has_the_end_too() -> None:
    (layer,) = (layer for layer in profile(detector(best), ONE, "openvino", runs=2) if layer.name)
    assert {"Convolution", "ArgMax", "ReduceMax"} <= {*layer.operators}
    assert layer.device == "CPU, CPUExecutionProvider"


def test_nan_goes_through() -> None:
    x = X.copy()
    x[0, 0, 0, 0] = np.nan
    one, other = both(detector(best), x=x)
    for y, expected in zip(other, one, strict=True):
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_an_output_may_be_read_by_the_end_too() -> None:
    def end(made: GraphBuilder, sums: ir.Value) -> list[ir.Value]:
        scores = made.op("Sigmoid", sums)
        return [made.op("ArgMax", scores, axis=1), scores, made.op("Add", scores, made.op("Hardmax", scores))]

    for one, other in zip(*both(detector(end), x=X), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def test_boxes_are_suppressed_with_thresholds_that_are_inputs() -> None:
    def end(made: GraphBuilder, sums: ir.Value) -> list[ir.Value]:
        corners = made.op("Reshape", sums, made.constant(np.array([1, -1, 4])))
        scores = made.op(
            "Reshape", made.op("Slice", sums, *map(made.constant, ([0], [3], [1]))), made.constant([1, 2, -1])
        )
        iou = made.op("Cast", made.graph.inputs[1], to=ir.DataType.FLOAT)
        return [made.op("NonMaxSuppression", corners, scores, made.constant(np.int64(5)), iou)]

    model = detector(end, [("iou", ir.DataType.DOUBLE)])
    for threshold in (0.1, 0.9):
        (one,), (other,) = both(model, x=X, iou=np.array(threshold))
        np.testing.assert_array_equal(other, one)
        assert len(one)


def test_names_inside_of_branches_are_carried_over() -> None:
    def end(made: GraphBuilder, sums: ir.Value) -> list[ir.Value]:
        branches = []
        for name, operator in (("then", "Exp"), ("else", "Neg")):
            branch = made.subgraph(name)
            branch.graph.outputs.append(branch.op("Mul", branch.op(operator, sums), branch.constant(np.float32(2))))
            branches.append(branch.graph)
        condition = made.op("Less", made.op("ReduceSum", sums, keepdims=0), made.constant(np.float32(0)))
        return [made.op("If", condition, then_branch=branches[0], else_branch=branches[1])]

    for x in (X, -X):
        (one,), (other,) = both(detector(end), x=x)
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


def test_an_error_of_the_end_is_that_of_onnx_runtime() -> None:
    def end(made: GraphBuilder, sums: ir.Value) -> list[ir.Value]:
        return [made.op("GatherElements", sums, made.op("Cast", sums, to=ir.DataType.INT64), axis=1)]

    model, texts = detector(end), []
    for program in (engine_named("onnxruntime").compile(model, ONE), OpenVino().compile(model, ONE)):
        with pytest.raises(EngineError) as error:
            program.run({"x": X * 1000})
        texts.append(str(error.value))
    assert texts[0] == texts[1]
    assert texts[0].startswith("'layer' (GatherElements) failed at run time: ")


def test_weights_of_both_parts_are_given_by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windfall.runtime.serialize.MOST_EMBEDDED", 0)
    bias = RNG.normal(size=(6, 6, 50)).astype(np.float32)

    def end(made: GraphBuilder, sums: ir.Value) -> list[ir.Value]:
        chosen = made.op("ReduceMax", made.op("Exp", sums), made.constant(np.array([1])))
        wide = made.op("Reshape", chosen, made.constant(np.array([6, 6, 1])))
        return [made.op("Sub", wide, made.constant(bias))]

    model = detector(end)
    assert model.arrays
    (one,), (other,) = both(model, x=X)
    np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operator", ["Conv", "If"])
def test_a_graph_is_not_cut_where_much_comes_afterwards(operator: str) -> None:
    def end(made: GraphBuilder, sums: ir.Value) -> list[ir.Value]:
        chosen = made.op("ReduceMax", sums, made.constant(np.array([1])))
        weights = made.constant(np.ones((8, 1, 3, 3), np.float32))
        if operator == "Conv":
            return [made.op("Conv", chosen, weights)]
        branches = [made.subgraph("then"), made.subgraph("else")]
        for branch in branches:
            branch.graph.outputs.append(branch.op("Conv", chosen, weights))
        yes = made.op("Less", made.op("ReduceSum", sums, keepdims=0), made.constant(np.float32(0)))
        return [made.op("If", yes, then_branch=branches[0].graph, else_branch=branches[1].graph)]

    with pytest.raises(EngineError, match="operator ReduceMax: it drops NaN"):
        OpenVino().compile(detector(end), ONE)


def test_a_graph_is_not_cut_at_int64() -> None:
    def end(made: GraphBuilder, sums: ir.Value) -> list[ir.Value]:
        whole = made.op("Cast", made.op("Greater", sums, made.constant(np.float32(0))), to=ir.DataType.INT32)
        return [made.op("CumSum", made.op("Cast", whole, to=ir.DataType.INT64), made.constant(np.int64(1)))]

    (one,), (other,) = both(detector(end), x=X)
    np.testing.assert_array_equal(other, one)
