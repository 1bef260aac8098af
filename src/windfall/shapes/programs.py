"""How operations of ML programs that hold a size come to follow the size of their input.

Source: the operators named in each rule, among coremltools' operator definitions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from windfall.lowering.ml_program.constants import constant_of
from windfall.shapes.allowed import Dims
from windfall.shapes.following import Follow, follow, resolved
from windfall.shapes.operations import Writer
from windfall.spec.modelfile import ModelFile

FIXED = frozenset({
    "fill", "tile", "reshape", "crop", "crop_resize", "resize_bilinear", "resize_nearest_neighbor", "resample",
    "affine", "range_1d",
})  # fmt: skip
"""Operators that may give a size of their own whatever they are given."""


class Operation:
    """One operation of a function's outermost block.

    Attributes:
        name: Its name: that of its first output.
        type: The operator.
        inputs: The names of what it reads.
        outputs: The names of what it gives.
    """

    def __init__(self, file: ModelFile, block: Any, index: int, opset: int) -> None:
        self.message = block.operations[index]
        self.file = file
        self.opset = opset
        self.block = block
        self.index = index
        self._old: list[Any] | None = None
        self.name = str(self.message.outputs[0].name) if self.message.outputs else str(self.message.type)
        self.type = str(self.message.type)
        bindings = (binding for argument in self.message.inputs.values() for binding in argument.arguments)
        self.inputs = [str(binding.name) for binding in bindings if binding.name]
        self.outputs = [str(output.name) for output in self.message.outputs]

    @property
    def source(self) -> str:
        """The name of the input that it follows; empty if it has none."""
        return self.bound("x") if self.type in _RULES else ""

    @property
    def target(self) -> list[int]:
        """The constant that it reshapes to; empty if it does not."""
        shape = self.constant("shape") if self.type == "reshape" else None
        return [] if shape is None else [int(size) for size in np.asarray(shape).ravel()]

    def rewrite(self, before: Dims, now: Dims) -> str | None:
        """Let the operation follow its input.

        Args:
            before: The shape of the input at the old default sizes.
            now: One in which all sizes differ that ever do.

        Returns:
            What it is now, None where there is no exact way.
        """
        new = _RULES[self.type](self, before, now) if self.type in _RULES else None
        if new is None:
            return None
        change, operations = new
        self._replace(operations)
        return change

    def undo(self) -> None:
        """Take the last rewrite back."""
        assert self._old is not None
        _refill(self.block, self._old)

    def _replace(self, operations: Sequence[Any]) -> None:
        self._old = [_copy(one) for one in self.block.operations]
        new = [*self._old[: self.index], *operations, *self._old[self.index + 1 :]]
        _refill(self.block, [_copy(one) for one in new])

    def bound(self, argument: str) -> str:
        """Return the name of what an argument is bound to, empty if it is none."""
        bindings = self._bindings(argument)
        return str(bindings[0].name) if len(bindings) == 1 else ""

    def _bindings(self, argument: str) -> list[Any]:
        return list(self.message.inputs[argument].arguments) if argument in self.message.inputs else []

    def constant(self, argument: str, default: Any = None) -> Any:
        """Return what an argument is as an array, if it is a constant; the default if it is left out."""
        if argument not in self.message.inputs:
            return default
        bindings = self._bindings(argument)
        if len(bindings) != 1:
            return None
        binding = bindings[0]
        if binding.WhichOneof("binding") == "value":
            return constant_of(self.file, binding.value).array
        makers = (
            one
            for one in self.block.operations
            if one.type == "const" and one.outputs and one.outputs[0].name == binding.name
        )
        maker = next(makers, None)
        return None if maker is None else constant_of(self.file, maker.attributes["val"]).array


def _copy(message: Any) -> Any:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def _refill(block: Any, operations: Sequence[Any]) -> None:
    del block.operations[:]
    block.operations.extend(operations)


def parts(file: ModelFile, block: Any, opset: int) -> Iterator[Operation]:
    """Yield the operations of a block; those in nested blocks are not rewritten."""
    return (Operation(file, block, index, opset) for index in range(len(block.operations)))


Result = tuple[str, list[Any]] | None
"""What an operation is now, and the operations that stand in its place."""


def _reshape(operation: Operation, before: Dims, now: Dims) -> Result:
    """``reshape``: 0 is the input's size of that axis, -1 what is left; others are taken from the input's shape."""
    target = resolved(operation.target, before) if operation.target else None
    if target is None or (rules := follow(before, now, target, eagerly=True)) is None:
        return None
    writer = Writer(operation.message, operation.block)
    if all(rule.axis in (None, at) for at, rule in enumerate(rules)) and (
        len(rules) == len(before) or not any(rule.axis is not None for rule in rules)
    ):
        wanted = [-1 if rule.is_rest else 0 if rule.axis is not None else rule.size for rule in rules]
        return f"reshape to {wanted}", writer.bind("shape", writer.integers("shape", wanted)).done()
    sizes = writer.operation("shape", "sizes", {"x": operation.bound("x")}, (len(before),))
    vector = writer.joined("target", [_part(writer, rule, at, sizes) for at, rule in enumerate(rules)], len(rules))
    return f"reshape to [{', '.join(map(_shown, rules))}]", writer.bind("shape", vector).done()


def _shown(rule: Follow) -> str:
    return "-1" if rule.is_rest else str(rule.size) if rule.axis is None else f"axis {rule.axis}"


def _part(writer: Writer, rule: Follow, at: int, sizes: str) -> str:
    if rule.axis is None:
        return writer.integers(f"size_{at}", [-1 if rule.is_rest else rule.size])
    bounds = {
        "begin": writer.integers(f"begin_{at}", [rule.axis]),
        "end": writer.integers(f"end_{at}", [rule.axis + 1]),
    }
    return writer.operation("slice_by_index", f"own_{at}", {"x": sizes, **bounds}, (1,))


def _resize_nearest(operation: Operation, before: Dims, now: Dims) -> Result:
    """``resize_nearest_neighbor``: to a multiple of the size it is an upsampling on the same grid."""
    del now
    factors = _factors(operation, before)
    return None if factors is None else _upsampled(operation, "upsample_nearest_neighbor", factors, {})


def _resize_bilinear(operation: Operation, before: Dims, now: Dims) -> Result:
    """``resize_bilinear``: to a multiple of the size it is an upsampling on the same grid."""
    del now
    factors = _factors(operation, before)
    mode = operation.constant("sampling_mode", "DEFAULT")
    grid = _GRIDS.get(str(np.asarray(mode, object).item()))
    if factors is None or grid is None or (len(grid) > 1 and operation.opset < _HALF_PIXEL_OPSET):
        return None
    return _upsampled(operation, "upsample_bilinear", factors, grid)


_HALF_PIXEL_OPSET = 6
_GRIDS = {
    "STRICT_ALIGN_CORNERS": {"align_corners": True},
    "ALIGN_CORNERS": {"align_corners": True},
    "DEFAULT": {"align_corners": False, "half_pixel_centers": False},
    "UNALIGN_CORNERS": {"align_corners": False},
}


def _factors(operation: Operation, before: Dims) -> list[int] | None:
    """Return by how much H and W grow, if these are whole numbers."""
    wanted = [operation.constant(f"target_size_{name}", 1) for name in ("height", "width")]
    if any(size is None for size in wanted):
        return None
    pairs = [(int(size), own) for size, own in zip(wanted, before[-2:], strict=True)]
    return None if any(size % own for size, own in pairs) else [size // own for size, own in pairs]


def _upsampled(operation: Operation, operator: str, factors: Sequence[int], flags: Mapping[str, bool]) -> Result:
    writer = Writer(operation.message, operation.block)
    arguments = {
        f"scale_factor_{name}": writer.floating(f"scale_{name}", factor)
        for name, factor in zip(("height", "width"), factors, strict=True)
    }
    arguments |= {name: writer.boolean(name, flag) for name, flag in flags.items()}
    change = f"{operator} by {factors[0]} x {factors[1]}"
    return change, writer.become(operator, {"x": operation.bound("x"), **arguments}).done()


def _pool(operation: Operation, before: Dims, now: Dims) -> Result:
    """``avg_pool``, ``max_pool``: over all of their input they are a mean or a maximum."""
    del now
    kernel = operation.constant("kernel_sizes")
    kind = str(np.asarray(operation.constant("pad_type", "valid"), object).item())
    pad = operation.constant("pad", np.zeros(1))
    if kernel is None or pad is None or tuple(np.asarray(kernel).tolist()) != before[2:]:
        return None
    if kind not in ("valid", "custom") or (kind == "custom" and np.any(pad)):
        return None
    operator = {"avg_pool": "reduce_mean", "max_pool": "reduce_max"}[operation.type]
    writer = Writer(operation.message, operation.block)
    axes = list(range(2, len(before)))
    arguments = {"axes": writer.integers("axes", axes), "keep_dims": writer.boolean("keep_dims", True)}
    return f"{operator} over axes {axes}", writer.become(operator, {"x": operation.bound("x"), **arguments}).done()


def _slice(operation: Operation, before: Dims, now: Dims) -> Result:
    """``slice_by_index``: what ends at the end of an axis ends there at any size."""
    end = operation.constant("end")
    mask = operation.constant("end_mask", np.zeros(len(before), bool))
    if end is None or mask is None:
        return None
    ends = [axis for axis, size in enumerate(before) if int(end[axis]) == size != now[axis] and not mask[axis]]
    if not ends:
        return None
    writer = Writer(operation.message, operation.block)
    wanted = [bool(flag) or axis in ends for axis, flag in enumerate(mask)]
    return f"slice_by_index to the end of axes {ends}", writer.bind("end_mask", writer.booleans("mask", wanted)).done()


_RULES: Mapping[str, Callable[[Operation, Any, Any], Result]] = {
    "reshape": _reshape,
    "resize_nearest_neighbor": _resize_nearest,
    "resize_bilinear": _resize_bilinear,
    "avg_pool": _pool,
    "max_pool": _pool,
    "slice_by_index": _slice,
}
"""What makes an operation follow its input, by its operator."""
