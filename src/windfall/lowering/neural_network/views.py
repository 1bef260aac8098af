"""Decorators for lowerings that do not care about the leading axes."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from windfall.lowering.neural_network.context import LayerContext, Value

P = ParamSpec("P")


def on_planes(lower: Callable[Concatenate[LayerContext, P], Value]) -> Callable[Concatenate[LayerContext, P], Value]:
    """Let a lowering of [N, C, H, W] take [*batch, C, H, W] of any rank from 3.

    Every input is brought to rank 4; the output gets the leading axes of the first input.
    """

    @wraps(lower)
    def lower_any_rank(ctx: LayerContext, /, *args: P.args, **kwargs: P.kwargs) -> Value:
        inputs = [arg for arg in args if isinstance(arg, Value)]
        for x in inputs:
            if ctx.rank(x) < 3:
                raise ctx.error("input", f"has rank {ctx.rank(x)}, must have rank 3 or more", value=None)
        planes = [ctx.graph.planes(x) for x in inputs]
        return ctx.graph.restore(lower(ctx, *planes, **kwargs), like=inputs[0])  # type: ignore[arg-type]

    return lower_any_rank


def elementwise(lower: Callable[Concatenate[LayerContext, P], Value]) -> Callable[Concatenate[LayerContext, P], Value]:
    """Compute an elementwise function on rank 4 views where its inputs have them.

    Otherwise the reshape back to the original rank would stand between a convolution and its activation, which the
    engines then could not fuse. The function must give the same for [*batch, C, H, W] and [N, C, H, W].
    """

    @wraps(lower)
    def lower_views(ctx: LayerContext, /, *args: P.args, **kwargs: P.kwargs) -> Value:
        inputs = [arg for arg in args if isinstance(arg, Value)]
        views = [ctx.graph.known_planes(x) for x in inputs]
        if any(view is None for view in views) or not ctx.graph.same_lead(inputs):
            return lower(ctx, *args, **kwargs)
        return ctx.graph.restore(lower(ctx, *views, **kwargs), like=inputs[0])  # type: ignore[arg-type]

    return lower_views
