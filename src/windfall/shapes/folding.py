"""Build a graph in which sizes that are computed from known sizes are known too."""

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from windfall.graph.builder import ML, OPSETS, GraphBuilder

_LARGEST = 64
_FOLDED = frozenset({
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "Div", "Equal", "Expand", "Floor", "Gather", "Greater",
    "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Range", "ReduceMax",
    "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round", "Slice", "Squeeze", "Sub", "Transpose",
    "Unsqueeze", "Where",
})  # fmt: skip
"""Operators that programs compute sizes with."""


class FoldingBuilder(GraphBuilder):
    """A graph whose small constants are computed while it is built, by the reference of ONNX.

    Lowering leaves this to the engines; to probe a model, what comes of the sizes must be known at once.
    """

    def ops(
        self,
        op_type: str,
        *inputs: ir.Value | None,
        outputs: int,
        name: str = "",
        domain: str = "",
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Add a node and return its outputs, constants where they are known and small."""
        made = super().ops(op_type, *inputs, outputs=outputs, name=name, domain=domain, **attributes)
        known = [value.const_value for value in inputs if value is not None]
        if op_type not in _FOLDED or not known or any(one is None or one.size > _LARGEST for one in known):
            return made
        if made[0].shape is None or any(not isinstance(size, int) for size in made[0].shape):
            return made
        node = made[0].producer()
        return made if node is None or outputs > 1 else [self.constant(_computed(node), "folded")]


def _computed(node: ir.Node) -> Any:
    """Return what a node gives whose inputs are constants."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.helper.make_model(
        onnx.helper.make_graph([ir.serde.serialize_node(node)], "folding", [], _outputs(node)),
        opset_imports=[onnx.helper.make_opsetid(domain, version) for domain, version in OPSETS.items() if domain != ML],
    )
    for value in dict.fromkeys(value for value in node.inputs if value is not None):
        assert value.const_value is not None
        tensor = onnx.numpy_helper.from_array(value.const_value.numpy(), str(value.name))
        model.graph.initializer.append(tensor)
    results: Any = ReferenceEvaluator(model).run(None, {})
    return results[0]


def _outputs(node: ir.Node) -> list[Any]:
    import onnx

    return [onnx.helper.make_empty_tensor_value_info(str(node.outputs[0].name))]
