"""Layers of specification version 4 on tensors of any rank, as far as converted image networks need them.

Source: NeuralNetwork.proto, "Tensor Manipulations".
"""

from windfall.lowering.neural_network.context import LayerContext, Value


def lower_softmax_nd(ctx: LayerContext, x: Value) -> Value:
    """Normalize to a sum of 1 along one axis.

    Source: ``SoftmaxNDLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape with at least one axis.

    Returns:
        The same shape.

    Raises:
        LoweringError: ``axis`` is no axis of x.
    """
    rank = ctx.rank(x)
    if not -rank <= ctx.params.axis < rank:
        raise ctx.error("axis", f"must be {-rank} to {rank - 1} for an input of rank {rank}")
    return ctx.op("Softmax", x, axis=ctx.params.axis)


def lower_reshape_static(ctx: LayerContext, x: Value) -> Value:
    """Reshape to a shape that the layer holds; one size may be -1, which takes what is left.

    Source: ``ReshapeStaticLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.

    Returns:
        The shape ``targetShape``.

    Raises:
        LoweringError: ``targetShape`` has a size below -1, or does not hold as many elements as x.
    """
    target = list(ctx.params.targetShape)
    if any(size < -1 for size in target) or target.count(-1) > 1:
        raise ctx.error("targetShape", "must have sizes of at least 0, one of them may be -1")
    return ctx.reshape(x, target)


LOWERINGS = {"softmaxND": lower_softmax_nd, "reshapeStatic": lower_reshape_static}
