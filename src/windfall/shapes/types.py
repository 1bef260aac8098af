"""The types of values in an ML program, as far as they follow from the sizes of its inputs.

Source: ``TensorType``, ``Dimension`` in MIL.proto.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from windfall.shapes.probing import Probe
from windfall.spec.modelfile import ModelFile
from windfall.spec.programs import block_of, interface, operations_of

# A squeeze without axes removes those that its type lacks; the others must still be told from these.
_KEEPS_ONES = "squeeze"


def open_types(file: ModelFile, function: str) -> None:
    """Let all sizes in a function be unknown, so that it can be probed at any; constants keep theirs."""
    for keeps_ones, named in _values(file, function):
        for dimension in _dimensions(named):
            if not (keeps_ones and dimension.constant.size == 1):
                _set_unknown(dimension)


def settle_types(file: ModelFile, function: str, probes: Sequence[Probe]) -> None:
    """Let the sizes in a function be those that all probes share, and unknown where they differ.

    Args:
        file: The model; its message is changed.
        function: The function; empty for the default one.
        probes: What happens at different sizes.
    """
    for _, named in _values(file, function):
        shapes = [probe.shapes[named.name] for probe in probes if named.name in probe.shapes]
        dimensions = _dimensions(named)
        if not shapes or any(len(shape) != len(dimensions) for shape in shapes):
            continue
        for dimension, sizes in zip(dimensions, zip(*shapes, strict=True), strict=True):
            if len(set(sizes)) > 1 or sizes[0] is None:
                _set_unknown(dimension)
            else:
                dimension.constant.size = sizes[0]


def _values(file: ModelFile, function: str) -> Iterator[tuple[bool, Any]]:
    """Yield the values of a function that are no constants, each with whether it keeps its sizes of 1."""
    found = interface(file, function)
    block, _ = block_of(file, function)
    yield from ((False, named) for named in found.inputs)
    yield from ((False, named) for named in block.inputs)
    for _, operation in operations_of(block):
        if operation.type != "const" and not operation.type.startswith("constexpr"):
            yield from ((operation.type == _KEEPS_ONES, named) for named in operation.outputs)
        for inner in operation.blocks:
            yield from ((False, named) for named in inner.inputs)


def _dimensions(named: Any) -> Sequence[Any]:
    """Return the dimensions of a value that is a tensor; none for others, such as states and lists."""
    if named.type.WhichOneof("type") != "tensorType":
        return ()
    dimensions: Sequence[Any] = named.type.tensorType.dimensions
    return dimensions


def _set_unknown(dimension: Any) -> None:
    dimension.unknown.variadic = False
