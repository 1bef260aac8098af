"""Say which sizes the inputs of a model may have."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from windfall.errors import UnsupportedError
from windfall.features.described import SizeRange
from windfall.model import Model
from windfall.shapes.allowed import Allowed, checked_dims, checked_range
from windfall.shapes.changing import Names, changed_model
from windfall.shapes.mending import Rewrite

Bounds = tuple[int, int | None] | int
"""The least and the greatest size of an axis, None for no limit; or its only size."""


def set_range(  # those after the second are ways to name axes, given by name
    model: Model,
    name: Names,
    *,
    width: Bounds | None = None,
    height: Bounds | None = None,
    axes: Mapping[int, Bounds] | None = None,
    ranges: Sequence[Bounds] | None = None,
    default: Sequence[int] | None = None,
) -> Model:
    """Let an input have any size in a range along each axis; axes that are not named stay as they are.

    Outputs whose size follows from it get ranges too. Where a layer holds a number that follows from the default size,
    such as the target of a reshape, and stands in the way, it is rewritten so that it follows; nothing changes at the
    default size.

    >>> flexible = windfall.shapes.set_range(model, "image", width=(64, 2048), height=(64, 2048))  # doctest: +SKIP

    Args:
        model: The model; it is not changed.
        name: The input; several that must have equal sizes, such as tokens and their mask, are set at once.
        width: The widths of an image, (least, most); most None for no limit.
        height: Its heights.
        axes: The sizes of some axes of an array, by number.
        ranges: The sizes of all axes of an array.
        default: New default sizes, (width, height) of an image; those of now must otherwise lie in the range.

    Returns:
        A new model.

    Raises:
        UnsupportedError: The model has no such input or axis, a range is upside down or without the default size, or a
            layer refuses a size in it; the error names the layer.
    """
    image_axes = {axis: one for axis, one in enumerate((width, height)) if one is not None}
    given = _Given(image_axes, axes, ranges)
    return changed_model(model, name, lambda allowed: _ranged(allowed, given.of(allowed), default))[0]


def enumerate_sizes(
    model: Model, name: Names, sizes: Iterable[Sequence[int]], *, default: Sequence[int] | None = None
) -> Model:
    """Let an input have some sizes and no others.

    Outputs whose size follows from it get a list of sizes too. Layers that stand in the way are rewritten as by
    ``set_range``.

    >>> flexible = windfall.shapes.enumerate(model, "image", [(256, 256), (512, 384)])  # doctest: +SKIP

    Args:
        model: The model; it is not changed.
        name: The input; several that must have equal sizes are set at once.
        sizes: The sizes: (width, height) of images, width first as with Pillow; shapes of arrays.
        default: A new default size; that of now must otherwise be among them, as the format asks.

    Returns:
        A new model.

    Raises:
        UnsupportedError: The model has no such input, a size is none, the default is not among them, or a layer refuses
            one of them; the error names the layer.
    """
    listed = list(sizes)
    return changed_model(model, name, lambda allowed: _listed(allowed, listed, default))[0]


def clear(model: Model, name: Names) -> Model:
    """Let an input have its default size alone, and outputs that follow from it theirs.

    Args:
        model: The model; it is not changed.
        name: The input, or several.

    Returns:
        A new model.

    Raises:
        UnsupportedError: The model has no such input.
    """
    return changed_model(model, name, _fixed)[0]


class _Given:
    """The ranges that a user gave, in one of three ways."""

    def __init__(
        self, image: Mapping[int, Bounds], axes: Mapping[int, Bounds] | None, ranges: Sequence[Bounds] | None
    ) -> None:
        ways = [way for way in (image or None, axes, ranges) if way is not None]
        if len(ways) != 1:
            raise UnsupportedError(
                "a range needs width and height for an image, or one of axes and ranges for an array"
            )
        self._image = image
        self._axes = axes
        self._ranges = ranges

    def of(self, allowed: Allowed) -> dict[int, Any]:
        """Return the range of each axis that is named."""
        if allowed.is_image != bool(self._image):
            what, ways = ("an image", "width and height") if allowed.is_image else ("an array", "axes or ranges")
            raise UnsupportedError(f"{allowed.name!r} is {what}; give {ways}")
        if self._image:
            return dict(self._image)
        if self._ranges is not None:
            return _numbered(allowed, self._ranges)
        return {_axis(allowed, axis): one for axis, one in (self._axes or {}).items()}


def _axis(allowed: Allowed, axis: Any) -> int:
    rank = allowed.rank
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise UnsupportedError(f"{allowed.name!r} has no axis {axis!r}; its axes are {-rank} to {rank - 1}")
    return axis % rank


def _ranged(allowed: Allowed, given: Mapping[int, Any], default: Sequence[int] | None) -> Allowed:
    dims = allowed.default if default is None else checked_dims(allowed, default)
    now = allowed.ranges or tuple(SizeRange(size, size) for size in dims)
    ranges = tuple(checked_range(allowed, axis, given[axis]) if axis in given else one for axis, one in enumerate(now))
    for axis, (size, bounds) in enumerate(zip(dims, ranges, strict=True)):
        if size not in bounds:
            raise UnsupportedError(
                f"the default {allowed.axis_name(axis)} of {allowed.name!r} is {size}, which is not in {bounds}; widen "
                "the range or give another default"
            )
    return replace(allowed, default=dims, ranges=ranges, shapes=())


def _listed(allowed: Allowed, sizes: Sequence[Sequence[int]], default: Sequence[int] | None) -> Allowed:
    dims = allowed.default if default is None else checked_dims(allowed, default)
    shapes = tuple(dict.fromkeys(checked_dims(allowed, size) for size in sizes))
    if dims not in shapes:
        listed = ", ".join(map(allowed.sizes_text, shapes)) or "none"
        raise UnsupportedError(
            f"the default size of {allowed.name!r} is {allowed.sizes_text(dims)}, which is not among {listed}; add it, "
            "or give another default"
        )
    return replace(allowed, default=dims, shapes=shapes, ranges=())


def _fixed(allowed: Allowed) -> Allowed:
    return replace(allowed, ranges=(), shapes=())


class Changes:
    """Changes to the sizes of a model's inputs, one after the other, as the command line names them.

    Attributes:
        model: The model as it is now.
        rewrites: The layers that were rewritten.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.rewrites: list[Rewrite] = []

    def clear(self, name: str) -> None:
        """See ``clear``."""
        self._change(name, _fixed)

    def enumerate(self, name: str, sizes: Sequence[Sequence[int]]) -> None:
        """See ``enumerate_sizes``."""
        self._change(name, lambda allowed: _listed(allowed, sizes, None))

    def set_range(self, name: str, ranges: Sequence[Bounds]) -> None:
        """See ``set_range``; of an image the ranges are those of width and height."""
        self._change(name, lambda allowed: _ranged(allowed, _numbered(allowed, ranges), None))

    def _change(self, name: str, change: Callable[[Allowed], Allowed]) -> None:
        known = [feature.name for feature in self.model.description.inputs]
        names = [name] if name in known else name.split(",")
        self.model, rewrites = changed_model(self.model, names, change)
        self.rewrites += rewrites


def _numbered(allowed: Allowed, ranges: Sequence[Bounds]) -> dict[int, Bounds]:
    if len(ranges) != allowed.rank:
        what = "width and height" if allowed.is_image else f"{allowed.rank} axes"
        raise UnsupportedError(f"{allowed.name!r} has {what}, but there are {len(ranges)} ranges; give one for each")
    return dict(enumerate(ranges))
