"""Layers of the user's own: operators where their classes give some, else a node at which the graph is cut.

Source: ``CustomLayerParams`` in NeuralNetwork.proto.
"""

from collections.abc import Sequence

import onnx_ir as ir

from windfall.custom.customs import at_work
from windfall.errors import FeatureError, UnsupportedError
from windfall.graph.builder import CUSTOM
from windfall.graph.shapes import ShapeError
from windfall.lowering.neural_network.context import LayerContext, Value


def lower_custom(ctx: LayerContext, *inputs: Value) -> Sequence[Value]:
    """Compute a layer by [a class of yours](custom.md): as operators, or with NumPy between two graphs.

    Source: ``CustomLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        inputs: Any number.

    Returns:
        Any number, in the shapes that the class says.

    Raises:
        UnsupportedError: No class is registered for the layer; or it lies in a loop or a branch, and has no operators.
        FeatureError: The class gives what does not fit.
        Exception: What the class raises, with a note of the layer.
    """
    layer = at_work().placed(ctx)
    if layer.encodes:
        return layer.encode(ctx.graph, inputs)
    if ctx.graph.is_inner:
        raise UnsupportedError(
            f"{layer.who} lies in a loop or a branch, where the graph cannot be cut; give its class an encode method"
        )
    try:
        outputs = [(ir.DataType.FLOAT, dims) for dims in layer.output_shapes(inputs)]
        return ctx.graph.foreign(CUSTOM, layer.class_name, inputs, outputs, number=layer.number)
    except ShapeError as error:
        raise FeatureError(f"{layer.who}: {error}") from error


LOWERINGS = {"custom": lower_custom}
