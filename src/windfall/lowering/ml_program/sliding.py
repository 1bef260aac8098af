"""The windows of convolution and pooling in programs, and their padding."""

from collections.abc import Sequence

from windfall.graph.shapes import Dim
from windfall.lowering.ml_program.context import Ints, OperationContext, Value
from windfall.lowering.windows import LARGEST, Edge, Window

PAD_TYPES = ("valid", "same", "same_lower", "custom")


def spatial(ctx: OperationContext, x: Value) -> tuple[Dim, ...]:
    """Return the sizes of x along its spatial axes.

    Raises:
        LoweringError: It has none, or more than three.
    """
    dims = ctx.shape(x)
    if not 3 <= len(dims) <= 5:
        raise ctx.error("x", "must have rank 3 to 5, [n, C, *D]", value=f"of rank {len(dims)}")
    return dims[2:]


def along_axes(ctx: OperationContext, argument: str, values: Ints | None, count: int) -> Ints:
    """Return a number of at least 1 for each spatial axis; 1 where the argument is left out.

    Raises:
        LoweringError: There are more or fewer, or one is out of range.
    """
    if values is None:
        return (1,) * count
    if len(values) != count or not all(1 <= value <= LARGEST for value in values):
        raise ctx.error(argument, f"must be {count} numbers of 1 to {LARGEST}", value=list(values))
    return values


def edges_of(ctx: OperationContext, pad: Ints | None, count: int) -> list[Edge]:
    """Return the padding before and after each spatial axis, which ``pad`` has in a row; zeros if it is left out.

    Raises:
        LoweringError: There are more or fewer, or one is out of range.
    """
    if pad is None:
        return [(0, 0)] * count
    if len(pad) != 2 * count or not all(0 <= value <= LARGEST for value in pad):
        raise ctx.error("pad", f"must be {2 * count} numbers of 0 to {LARGEST}", value=list(pad))
    return list(zip(pad[::2], pad[1::2], strict=True))


def check_pad_type(ctx: OperationContext, pad_type: str, allowed: Sequence[str] = PAD_TYPES) -> str:
    """Return the kind of padding in lower case; a LoweringError if there is no such kind."""
    if pad_type.lower() not in allowed:
        raise ctx.error("pad_type", f"must be {', '.join(allowed)}", value=repr(pad_type))
    return pad_type.lower()


def check_fits(
    ctx: OperationContext, argument: str, window: Window, dims: Sequence[Dim], edges: Sequence[Edge]
) -> None:
    """Raise a LoweringError where the padded input is smaller than the window."""
    for axis, (size, extent, edge) in enumerate(zip(dims, window.extent, edges, strict=True), 2):
        if size is not None and size + sum(edge) < extent:
            rule = f"spans {extent} along axis {axis}, must be at most the input's {size} and padding {sum(edge)}"
            raise ctx.error(argument, rule, value=list(window.kernel))
