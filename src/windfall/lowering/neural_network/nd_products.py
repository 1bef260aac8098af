"""Matrix products and table look-ups for tensors of any rank.

Source: ``BatchedMatMulLayerParams``, ``EmbeddingNDLayerParams`` in NeuralNetwork.proto.
"""

import math

from windfall.lowering.neural_network.axes import whole
from windfall.lowering.neural_network.context import LayerContext, Value
from windfall.lowering.neural_network.tables import look_up_columns


def lower_batched_mat_mul(ctx: LayerContext, x: Value, y: Value | None = None) -> Value:
    """Multiply matrices in the last two axes, or the last axis by a stored matrix.

    Source: ``BatchedMatMulLayerParams``. ``int8DynamicQuantize`` asks for input rounded to 8 bits to save time on the
    phone; like all arithmetic here the product is computed in float32, which leaves only the rounding out.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, M, K] or [K] for [1, K]; with one input [*batch, K].
        y: [*batch, K, N] or [K] for [K, 1]; the leading axes broadcast. The stored matrix [K, N] by default.

    Returns:
        [*batch, M, N]; with one input [*batch, N].

    Raises:
        LoweringError: The sizes do not fit each other, or a bias or ``int8DynamicQuantize`` is set for two inputs.
    """
    if y is None:
        return _by_stored_matrix(ctx, x)
    for field in ("hasBias", "int8DynamicQuantize"):
        if getattr(ctx.params, field):
            raise ctx.error(field, "must not be set for two inputs")
    x = ctx.op("Unsqueeze", x, ctx.integers([0])) if ctx.rank(x) == 1 else x
    y = ctx.op("Unsqueeze", y, ctx.integers([1])) if ctx.rank(y) == 1 else y
    x = _swapped(ctx, x) if ctx.params.transposeA else x
    y = _swapped(ctx, y) if ctx.params.transposeB else y
    return ctx.op("MatMul", x, y)


def _swapped(ctx: LayerContext, x: Value) -> Value:
    rank = ctx.rank(x)
    return ctx.op("Transpose", x, perm=[*range(rank - 2), rank - 1, rank - 2])


def _by_stored_matrix(ctx: LayerContext, x: Value) -> Value:
    params, dims = ctx.params, ctx.shape(x)
    c_in, c_out = int(params.weightMatrixFirstDimension), int(params.weightMatrixSecondDimension)
    if not dims or dims[-1] not in (None, c_in):
        raise ctx.error("weightMatrixFirstDimension", f"must be the last size of the input's {list(dims)}")
    # [X1, X2] is stored column by column; so quantization by column runs along axis 0.
    weights = ctx.weight("weights", (c_out, c_in))
    bias = ctx.weight("bias", (c_out,)) if params.hasBias else None
    lead = ctx.sizes(x, 0, len(dims) - 1)
    if dims[-1] is None:
        # Without this a wrong size would go unnoticed: -1 below would take up the difference.
        x = ctx.reshape(x, lead, c_in)
    rows = -1 if None in dims[:-1] else math.prod(dim for dim in dims[:-1] if dim is not None)
    product = ctx.op("Gemm", ctx.reshape(x, rows, c_in), weights, bias, transB=1)  # [N, C_in] -> [N, C_out]
    return ctx.reshape(product, lead, c_out)


def lower_embedding_nd(ctx: LayerContext, x: Value) -> Value:
    """Look up a column of a stored matrix for each index, and add a bias.

    Source: ``EmbeddingNDLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: [*batch, 1], rank 2 to 5, whole numbers. One that is not 0 to ``vocabSize`` - 1 makes the prediction fail.

    Returns:
        [*batch, embeddingSize].

    Raises:
        LoweringError: The input has another shape, or a weight does not fit.
    """
    params, dims = ctx.params, ctx.shape(x)
    if not 2 <= len(dims) <= 5 or dims[-1] not in (1, None):
        raise ctx.error("input", f"has shape {list(dims)}, must be [*batch, 1] of rank 2 to 5", value=None)
    indices = whole(ctx, ctx.reshape(x, ctx.sizes(x, 0, len(dims) - 1)))
    # Gather counts negative indices from the end; here they are as wrong as those beyond it.
    wrong = ctx.op("Less", indices, ctx.integers(0))
    indices = ctx.op("Where", wrong, ctx.integers(params.vocabSize), indices)
    return look_up_columns(ctx, params.embeddingSize, params.vocabSize, indices)


LOWERINGS = {"batchedMatmul": lower_batched_mat_mul, "embeddingND": lower_embedding_nd}
