import numpy as np
import onnx_ir as ir
import pytest

from windfall.graph.builder import GraphBuilder, build_model
from windfall.passes import optimize


def graph_of(*outputs: str) -> ir.Model:
    """x -> Abs -> Identity a -> Identity b -> Neg c; some of them are outputs."""
    graph = GraphBuilder("g", ["x"])
    values = {"x": graph.input("x", ir.DataType.FLOAT, [2])}
    values["a"] = graph.rename(graph.op("Abs", values["x"]), "a")
    values["b"] = graph.rename(graph.op("Identity", values["a"]), "b")
    values["c"] = graph.rename(graph.op("Neg", values["b"]), "c")
    graph.graph.outputs.extend(values[name] for name in outputs)
    return build_model(graph.graph)


@pytest.mark.parametrize(
    ("outputs", "operators"),
    [
        (["c"], ["Abs", "Neg"]),
        (["b", "c"], ["Abs", "Neg"]),
        (["a", "b"], ["Abs", "Identity"]),
        (["a", "b", "c"], ["Abs", "Identity", "Neg"]),
    ],
)
def test_every_output_keeps_its_name_and_value(outputs, operators):
    import onnxruntime as ort

    model = graph_of(*outputs)
    for _ in range(2):  # a second run changes nothing
        optimize(model)
        assert [node.op_type for node in model.graph] == operators
        assert [value.name for value in model.graph.outputs] == outputs
    session = ort.InferenceSession(ir.serde.serialize_model(model).SerializeToString())
    x = np.float32([-1, 2])
    expected = {"a": abs(x), "b": abs(x), "c": -abs(x)}
    for name, got in zip(outputs, session.run(outputs, {"x": x}), strict=True):
        np.testing.assert_array_equal(got, expected[name])
