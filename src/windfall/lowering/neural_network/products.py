"""Products with a stored matrix, and of two vectors.

Source: ``InnerProductLayerParams``, ``EmbeddingLayerParams``, ``DotProductLayerParams`` in NeuralNetwork.proto.
"""

import math

from windfall.lowering.neural_network.context import LayerContext, Value


def lower_inner_product(ctx: LayerContext, x: Value) -> Value:
    """Multiply by a stored matrix and add a bias.

    Source: ``InnerProductLayerParams``. ``int8DynamicQuantize`` asks for input rounded to 8 bits to save time on the
    phone; like all arithmetic here the product is computed in float32, which leaves only the rounding out.

    Args:
        ctx: The layer and the graph being built.
        x: [C_in], [x1, C_in], [x1, x2, C_in], [x1, C, H, W] or [x1, x2, C, H, W] with C * H * W = C_in.

    Returns:
        [C_out], [x1, C_out], [x1, x2, C_out], [x1, C_out, 1, 1] or [x1, x2, C_out, 1, 1].

    Raises:
        LoweringError: The input does not have ``inputChannels`` values, or a weight does not fit.
    """
    params = ctx.params
    c_in, c_out = int(params.inputChannels), int(params.outputChannels)
    weights = ctx.constant(ctx.weights("weights", (c_out, c_in)), "weights")
    bias = ctx.constant(ctx.weights("bias", (c_out,)), "bias") if params.hasBias else None
    product = ctx.op("Gemm", _as_matrix(ctx, x, c_in), weights, bias, transB=1)  # [N, C_in] -> [N, C_out]
    if ctx.rank(x) <= 3:
        return ctx.reshape(product, ctx.sizes(x, 0, ctx.rank(x) - 1), c_out)
    rows = ctx.shape(product)[0]
    return ctx.graph.restore(ctx.reshape(product, -1 if rows is None else rows, c_out, 1, 1), like=x)


def _as_matrix(ctx: LayerContext, x: Value, c_in: int) -> Value:
    """Return the input as [N, C_in]."""
    rank = ctx.rank(x)
    if not 1 <= rank <= 5:
        raise ctx.error("input", f"has rank {rank}, must have rank 1 to 5", value=None)
    inner = ctx.shape(x)[-3:] if rank > 3 else ctx.shape(x)[-1:]
    if None in inner:
        # Without this a wrong size would go unnoticed: -1 below would take up the difference.
        x = ctx.reshape(x, ctx.sizes(x, 0, rank - len(inner)), c_in)
    elif math.prod(d for d in inner if d is not None) != c_in:
        raise ctx.error("inputChannels", f"must be the product of {list(inner)}, the input's last sizes")
    elif rank > 3:
        x = ctx.graph.planes(x)
    lead = ctx.shape(x)[: 1 if rank > 3 else rank - 1]
    rows = -1 if None in lead else math.prod(d for d in lead if d is not None)
    return ctx.reshape(x, rows, c_in)


LOWERINGS = {"innerProduct": lower_inner_product}
