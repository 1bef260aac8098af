"""The same values in another shape or order, for tensors of any rank.

Source: ``TransposeLayerParams``, ``RankPreservingReshapeLayerParams``, ``ExpandDimsLayerParams`` to
``SqueezeLayerParams``, ``GetShapeLayerParams`` in NeuralNetwork.proto.
"""

import numpy as np
import onnx_ir as ir

from windfall.lowering.neural_network.axes import each_axis, vector
from windfall.lowering.neural_network.context import LayerContext, Value


def lower_squeeze(ctx: LayerContext, x: Value) -> Value:
    """Remove axes of size 1: those named, or with ``squeezeAll`` all of them.

    Source: ``SqueezeLayerParams``. Where no axis is left one stays: Core ML has no rank 0, and the message's last
    example takes [1] to [1].

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.

    Returns:
        The shape without these axes; [1] if it would be empty.

    Raises:
        LoweringError: ``axes`` are no axes of x or of another size, or ``squeezeAll`` meets a size that is not known.
    """
    dims = ctx.shape(x)
    if ctx.params.squeezeAll:
        if None in dims:
            raise ctx.error("squeezeAll", f"needs an input whose sizes {list(dims)} are known when the model is loaded")
        axes = [axis for axis, dim in enumerate(dims) if dim == 1]
    else:
        axes = each_axis(ctx, "axes", ctx.params.axes, len(dims))
    if any(dims[axis] not in (1, None) for axis in axes):
        raise ctx.error("axes", f"must be axes of size 1 of the input's {list(dims)}")
    if len(axes) == len(dims):
        return ctx.reshape(x, 1)
    return ctx.op("Squeeze", x, ctx.integers(axes)) if axes else ctx.op("Identity", x)


def lower_expand_dims(ctx: LayerContext, x: Value) -> Value:
    """Insert axes of size 1.

    Source: ``ExpandDimsLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.

    Returns:
        The shape with size 1 at ``axes``, which count in the output.

    Raises:
        LoweringError: ``axes`` are no axes of the output.
    """
    axes = each_axis(ctx, "axes", ctx.params.axes, ctx.rank(x) + len(ctx.params.axes))
    return ctx.op("Unsqueeze", x, ctx.integers(axes))


def lower_flatten_to_2d(ctx: LayerContext, x: Value) -> Value:
    """Join the axes before ``axis`` to one, and the others to another.

    Source: ``FlattenTo2DLayerParams``; its examples take ``axis`` 1 for an input of rank 1 too.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.

    Returns:
        [product of the sizes before ``axis``, product of the others].

    Raises:
        LoweringError: ``axis`` is beyond the rank.
    """
    rank = ctx.rank(x)
    if not -rank <= ctx.params.axis <= rank:
        raise ctx.error("axis", f"must be {-rank} to {rank} for an input of rank {rank}")
    return ctx.op("Flatten", x, axis=ctx.params.axis)


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


def lower_reshape_like(ctx: LayerContext, x: Value, like: Value) -> Value:
    """Reshape to the shape of another tensor.

    Source: ``ReshapeLikeLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.
        like: Any shape with as many elements.

    Returns:
        The shape of ``like``.
    """
    return ctx.reshape(x, ctx.sizes(like))


def lower_reshape_dynamic(ctx: LayerContext, x: Value, target: Value) -> Value:
    """Reshape to a shape that an input holds; one size may be -1, which takes what is left.

    Source: ``ReshapeDynamicLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.
        target: [rank of the output].

    Returns:
        The shape in ``target``.

    Raises:
        LoweringError: ``target`` is no vector of a length that is known when the model is loaded.
    """
    return ctx.reshape(x, vector(ctx, "the shape", target))


def lower_rank_preserving_reshape(ctx: LayerContext, x: Value) -> Value:
    """Reshape to a shape of the same rank; a size of 0 is the input's, one may be -1, which takes what is left.

    Source: ``RankPreservingReshapeLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.

    Returns:
        The shape ``targetShape``.

    Raises:
        LoweringError: ``targetShape`` has another length or a size below -1, or does not hold as many elements as x.
    """
    target, rank = list(ctx.params.targetShape), ctx.rank(x)
    if len(target) != rank or any(size < -1 for size in target) or target.count(-1) > 1:
        raise ctx.error("targetShape", f"must have {rank} sizes as the input has, one of them may be -1, others above")
    parts = [ctx.sizes(x, axis, axis + 1) if size == 0 else size for axis, size in enumerate(target)]
    return ctx.reshape(x, *parts)


def lower_transpose(ctx: LayerContext, x: Value) -> Value:
    """Reorder the axes.

    Source: ``TransposeLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.

    Returns:
        The shape whose axis i is the input's axis ``axes[i]``; three axes of a rank 4 input are those behind its batch.

    Raises:
        LoweringError: ``axes`` does not name each axis of x once.
    """
    axes, rank = [int(axis) for axis in ctx.params.axes], ctx.rank(x)
    # Behind a picture, which has rank 4, coremltools' make_image_input writes three axes.
    batch = 1 if (rank, len(axes)) == (4, 3) else 0
    perm = [*range(batch), *(batch + axis for axis in axes)]
    if sorted(perm) != list(range(rank)):
        raise ctx.error("axes", f"must be 0 to {rank - 1} in any order for an input of rank {rank}")
    return ctx.op("Transpose", x, perm=perm)


def lower_get_shape(ctx: LayerContext, x: Value) -> Value:
    """Return the input's sizes.

    Source: ``GetShapeLayerParams``.

    Args:
        ctx: The layer and the graph being built.
        x: Any shape.

    Returns:
        [rank of x].
    """
    known = ctx.shape(x)
    if None not in known:
        return ctx.floats(np.array(known, np.float32), "sizes")
    return ctx.op("Cast", ctx.sizes(x), to=ir.DataType.FLOAT)


LOWERINGS = {
    "squeeze": lower_squeeze,
    "expandDims": lower_expand_dims,
    "flattenTo2D": lower_flatten_to_2d,
    "reshapeStatic": lower_reshape_static,
    "reshapeLike": lower_reshape_like,
    "reshapeDynamic": lower_reshape_dynamic,
    "rankPreservingReshape": lower_rank_preserving_reshape,
    "transpose": lower_transpose,
    "getShape": lower_get_shape,
}
