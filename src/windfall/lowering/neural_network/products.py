"""Products with a stored matrix, and of two vectors.

Source: ``InnerProductLayerParams``, ``EmbeddingLayerParams``, ``DotProductLayerParams`` in NeuralNetwork.proto.
"""

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from windfall.graph.shapes import Dim
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.tables import look_up_columns
from windfall.lowering.neural_network.views import elementwise


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
    weights = ctx.weight("weights", (c_out, c_in))
    bias = ctx.weight("bias", (c_out,)) if params.hasBias else None
    product = ctx.op("Gemm", _as_matrix(ctx, x, c_in), weights, bias, transB=1)  # [N, C_in] -> [N, C_out]
    if ctx.rank(x) <= 3:
        return ctx.reshape(product, ctx.sizes(x, 0, ctx.rank(x) - 1), c_out)
    return ctx.graph.restore(ctx.reshape(product, _product(ctx.shape(product)[:1]), c_out, 1, 1), like=x)


def _as_matrix(ctx: LayerContext, x: Value, c_in: int) -> Value:
    """Return the input as [N, C_in]."""
    rank = ctx.rank(x)
    if not 1 <= rank <= 5:
        raise ctx.error("input", f"has rank {rank}, must have rank 1 to 5", value=None)
    split = rank - 3 if rank > 3 else rank - 1
    lead, inner = ctx.shape(x)[:split], ctx.shape(x)[split:]
    if None in inner:
        # Without this a wrong size would go unnoticed: -1 below would take up the difference.
        x = ctx.reshape(x, ctx.sizes(x, 0, split), c_in)
    elif _product(inner) != c_in:
        raise ctx.error("inputChannels", f"must be the product of {list(inner)}, the input's last sizes")
    elif rank > 3:
        x = ctx.graph.planes(x)
    return ctx.reshape(x, _product(lead), c_in)


def _product(dims: Sequence[Dim]) -> int:
    """Return the number of elements, -1 where it is known only at run time."""
    return -1 if None in dims else math.prod(dim for dim in dims if dim is not None)


def lower_embedding(ctx: LayerContext, x: Value) -> Value:
    """Look up a column of a stored matrix for each index, and add a bias.

    Source: ``EmbeddingLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [x1, 1, 1, 1] or [x1, x2, 1, 1, 1], whole numbers. One that is not 0 to ``inputDim`` - 1 makes the prediction
            fail.

    Returns:
        [x1, outputChannels, 1, 1] or [x1, x2, outputChannels, 1, 1].

    Raises:
        LoweringError: The input has another shape, or a weight does not fit.
    """
    params = ctx.params
    rank, inner = ctx.rank(x), ctx.shape(x)[-3:]
    if rank not in (4, 5) or any(dim not in (1, None) for dim in inner):
        raise ctx.error(
            "input", f"has shape {list(ctx.shape(x))}, must be [x1, 1, 1, 1] or [x1, x2, 1, 1, 1]", value=None
        )
    indices = ctx.op("Cast", ctx.reshape(x, ctx.sizes(x, 0, rank - 3)), to=ir.DataType.INT64, name="indices")
    # Gather counts negative indices from the end; here they are as wrong as those beyond it.
    wrong = ctx.op("Less", indices, ctx.integers(0))
    indices = ctx.op("Where", wrong, ctx.integers(params.inputDim), indices)
    rows = look_up_columns(ctx, params.outputChannels, params.inputDim, indices)
    return ctx.op("Unsqueeze", rows, ctx.integers([rank - 2, rank - 1]))  # [.., C] -> [.., C, 1, 1]


def lower_dot(ctx: LayerContext, x: Value, y: Value) -> Value:
    """Multiply two vectors, with ``cosineSimilarity`` each divided by its length.

    Source: ``DotProductLayerParams``. The similarity with a vector of length 0 is 0.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, C, 1, 1], rank 3 or more.
        y: The same shape.

    Returns:
        [*batch, 1, 1, 1].

    Raises:
        LoweringError: The inputs have other shapes.
    """
    shapes = [ctx.shape(value) for value in (x, y)]
    vectors = all(len(dims) >= 3 and dims[-2:] == (1, 1) for dims in shapes)
    if not vectors or len(shapes[0]) != len(shapes[1]) or shapes[0][-3] != shapes[1][-3]:
        shown = " and ".join(str(list(dims)) for dims in shapes)
        raise ctx.error("input", f"has the shapes {shown}, must be two of [*batch, C, 1, 1]", value=None)
    return _dot(ctx, x, y)


@elementwise
def _dot(ctx: LayerContext, x: Value, y: Value) -> Value:
    if ctx.params.cosineSimilarity:
        x, y = _unit(ctx, x), _unit(ctx, y)
    return ctx.op("ReduceSum", ctx.op("Mul", x, y), ctx.integers([-3]))


def _unit(ctx: LayerContext, x: Value) -> Value:
    """Divide by the length; a vector of length 0 stays."""
    length = ctx.op("ReduceL2", x, ctx.integers([-3]))
    return ctx.op("Div", x, ctx.op("Max", length, ctx.floats(np.finfo(np.float32).tiny)))


LOWERINGS = {
    "innerProduct": lower_inner_product,
    "embedding": lower_embedding,
    "dot": lower_dot,
}
