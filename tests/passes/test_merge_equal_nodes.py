"""What is computed twice is computed once."""

import numpy as np
import onnx_ir as ir
from tests.passes.graphs import check_rewritten, graph_of, normal

from windfall.graph.builder import CUSTOM, GraphBuilder, build_model
from windfall.passes.merge_equal_nodes import MergeEqualNodes
from windfall.passes.order import PASSES


def twice(g, x):
    return g.op("Mul", g.op("Exp", x), g.op("Softmax", g.op("Exp", x), axis=1))


def test_equal_nodes_become_one() -> None:
    check_rewritten(MergeEqualNodes(), twice, normal(2, 3), ["Exp", "Softmax", "Mul"])


def test_attributes_tell_nodes_apart() -> None:
    def build(g, x):
        return g.op("Add", g.op("Softmax", x, axis=0), g.op("Softmax", x, axis=1))

    check_rewritten(MergeEqualNodes(), build, normal(2, 3), ["Softmax", "Softmax", "Add"])


def test_two_outputs_keep_their_names() -> None:
    graph = GraphBuilder("g", ["x"])
    x = graph.input("x", ir.DataType.FLOAT, [2])
    graph.graph.outputs.extend(graph.rename(graph.op("Exp", x), name) for name in ("a", "b"))
    model = build_model(graph.graph)
    for _ in range(2):
        for rewrite in PASSES:
            rewrite(model)
        assert [value.name for value in model.graph.outputs] == ["a", "b"]
        assert [node.op_type for node in model.graph] == ["Exp", "Identity"]
    import onnxruntime as ort

    session = ort.InferenceSession(ir.serde.serialize_model(model).SerializeToString())
    for got in session.run(None, {"x": np.float32([1, 2])}):
        np.testing.assert_allclose(got, np.exp([1, 2]), rtol=1e-6)


def test_layers_of_the_users_own_are_not_merged() -> None:
    def build(g, x):
        made = [g.foreign(CUSTOM, "Own", [x], [(ir.DataType.FLOAT, ir.Shape([2, 3]))])[0] for _ in range(2)]
        return g.op("Add", *made)

    assert not MergeEqualNodes()(graph_of(build, [2, 3])).modified


def test_random_numbers_are_drawn_each_time() -> None:
    def build(g, x):
        return g.op("Add", *(g.op("Bernoulli", x, seed=1.0) for _ in range(2)))

    assert not MergeEqualNodes()(graph_of(build, [2, 3])).modified
