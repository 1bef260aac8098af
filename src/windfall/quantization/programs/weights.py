"""The weights of ML programs: constants that operators take, by the operators that take them.

Source: coremltools' operator definitions say which axis of an argument its output channels lie along.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.quantization.programs.values import names_used, read_constant, steps, stored_values, value_size
from windfall.quantization.weight import Weight
from windfall.spec.modelfile import ModelFile
from windfall.spec.packing import BITS
from windfall.spec.programs import operations_of
from windfall.spec.proto import MIL_pb2
from windfall.spec.weights import FLOAT16, FLOAT32, RAW, Encoding

_FLOATS = {MIL_pb2.FLOAT16: FLOAT16, MIL_pb2.FLOAT32: FLOAT32}
_CONSTANT, _COMPRESSED = "const", "constexpr_"
_LARGEST = 2**40


@dataclass(frozen=True)
class Site:
    """Where in a program a weight lies.

    Attributes:
        function: The message of the function.
        block: That of the block that has the constant.
        makers: The operations that hold constants or decompress them, by the names of their outputs.
        operation: The first one that takes the weight.
    """

    function: Any
    block: Any
    makers: Mapping[str, Any]
    operation: Any


@dataclass(frozen=True)
class ProgramWeight(Weight):
    """A constant of a program that an operator takes as it takes weights.

    ``layer`` is the path of the first operation that takes it, ``layer_type`` its operator, ``field`` the argument.

    Attributes:
        constant: The constant's own name.
    """

    constant: str = ""
    data_type: int = field(default=MIL_pb2.FLOAT32, repr=False)
    site: Site = field(default=Site(None, None, {}, None), repr=False, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """What patterns may call it: the operation, or the constant."""
        return (*super().names, self.constant)

    @property
    def maker(self) -> Any:
        """The operation that makes it."""
        return self.site.makers[self.constant]

    @property
    def made_by(self) -> list[Any]:
        """The operations that make it, in order."""
        return steps(self.site.makers, self.constant)

    def encoding(self, file: ModelFile) -> Encoding | None:  # noqa: ARG002  # networks need it
        """Return how it is stored, its scales and tables counted."""
        size = sum(value_size(value) for operation in self.made_by for value in stored_values(operation))
        if not self.size:
            return None
        if self.maker.type == _CONSTANT:
            return Encoding(_FLOATS[self.data_type], size, BITS[self.data_type])
        if self.maker.type == "constexpr_cast":
            return Encoding(FLOAT16, size, 16)
        return Encoding(RAW, size, _code_bits(self.made_by, self.size))

    def values(self, file: ModelFile) -> NDArray[np.float32]:
        """Return its numbers in its shape.

        Raises:
            FormatError: It is damaged.
        """
        array = read_constant(file, self.made_by, self.constant, self.site.function.opset)
        if array.shape != self.shape:
            raise FormatError(f"has the shape {list(array.shape)}, is declared as {list(self.shape)}")
        return array.astype(np.float32, copy=False)


def _code_bits(made_by: list[Any], count: int) -> int:
    """Return how many bits the small numbers have that stand for a weight's."""
    sizes = [value_size(value) for operation in made_by for value in stored_values(operation)]
    return max(1, min(8, max(sizes, default=0) * 8 // max(count, 1)))


def program_weights(program: Any, prefix: str) -> Iterator[tuple[str, Any, list[ProgramWeight]]]:
    """Yield each operation that takes weights: its path, its message, and the weights that no earlier one took.

    Args:
        program: The ``Program`` message.
        prefix: Goes before the paths.

    Raises:
        FormatError: Blocks lie too deep in each other.
    """
    several = len(program.functions) > 1
    for name in sorted(program.functions):
        function = program.functions[name]
        for block in function.block_specializations.values():
            found = list(operations_of(block, f"{prefix}{name}" if several else prefix.rstrip("/")))
            makers = {o.outputs[0].name: o for _, o in found if is_constant(o) and o.outputs}
            yield from _users(found, makers, function, block)


def _users(
    found: list[tuple[str, Any]], makers: Mapping[str, Any], function: Any, block: Any
) -> Iterator[tuple[str, Any, list[ProgramWeight]]]:
    seen = set[str]()
    for path, operation in found:
        if is_constant(operation) or operation.type in _NOT_WEIGHTS:
            continue
        weights = []
        for weight in _taken(path, operation, Site(function, block, makers, operation)):
            if weight.constant not in seen:
                seen.add(weight.constant)
                weights.append(weight)
        if weights:
            yield path, operation, weights


def is_constant(operation: Any) -> bool:
    """Whether an operation holds a constant or decompresses one."""
    return bool(operation.type == _CONSTANT or operation.type.startswith(_COMPRESSED))


def _taken(path: str, operation: Any, site: Site) -> Iterator[ProgramWeight]:
    # Sorted, since the order in a protobuf map is not the same in each copy.
    for argument in sorted(operation.inputs):
        for name in (b.name for b in operation.inputs[argument].arguments if b.WhichOneof("binding") == "name"):
            if name in site.makers:
                weight = _weight(path, operation, argument, name, site)
                if weight is not None:
                    yield weight


def _weight(path: str, operation: Any, argument: str, name: str, site: Site) -> ProgramWeight | None:
    tensor = site.makers[name].outputs[0].type.tensorType
    shape = tuple(int(dimension.constant.size) for dimension in tensor.dimensions)
    if tensor.dataType not in _FLOATS or not shape or 0 in shape or math.prod(shape) > _LARGEST:
        return None
    find = _CHANNEL_AXES.get((operation.type, argument), _first)
    axis = find(operation, site, len(shape))
    return ProgramWeight(
        layer=path,
        layer_type=operation.type,
        field=argument,
        shape=shape,
        is_vector=sum(size > 1 for size in shape) < 2,
        channel_axis=axis % len(shape),
        constant=name,
        data_type=tensor.dataType,
        site=site,
    )


def _first(_operation: Any, _site: Site, _rank: int) -> int:
    return 0


def _second(_operation: Any, _site: Site, rank: int) -> int:
    return min(1, rank - 1)


def _matmul(transposed: str, other: int) -> Callable[[Any, Site, int], int]:
    """Return a function that finds the axis of a factor that stays in the product."""

    def find(operation: Any, site: Site, rank: int) -> int:
        axis = -3 - other if _flag(operation, site, transposed) else other
        return axis % rank if -rank <= axis else 0

    return find


def _flag(operation: Any, site: Site, argument: str) -> bool:
    """Return a boolean argument; False where it is left out or not known."""
    bindings = operation.inputs[argument].arguments if argument in operation.inputs else ()
    for binding in bindings:
        value = binding.value
        if binding.WhichOneof("binding") == "name":
            maker = site.makers.get(binding.name)
            value = None if maker is None or "val" not in maker.attributes else maker.attributes["val"]
        if value is not None:
            return any(value.immediateValue.tensor.bools.values)
    return False


_CHANNEL_AXES: Mapping[tuple[str, str], Callable[[Any, Site, int], int]] = {
    ("conv_transpose", "weight"): _second,  # [C_in, C_out / groups, ...]
    ("matmul", "x"): _matmul("transpose_x", -2),
    ("matmul", "y"): _matmul("transpose_y", -1),
}
"""The axis of the output channels where it is not the first."""
_NOT_WEIGHTS = frozenset({"classify"})


def remove_unused(program: Any) -> None:
    """Remove the constants of a program that nothing takes any more."""
    for function in program.functions.values():
        for block in function.block_specializations.values():
            while _remove_once(block):
                pass


def _remove_once(block: Any) -> bool:
    blocks = list(_blocks(block))
    used = {name for _, operation in operations_of(block) for name in names_used(operation)}
    used.update(name for inner in blocks for name in inner.outputs)
    return any([_remove(inner, used) for inner in blocks])  # noqa: C419  # all of them, not up to the first


def _blocks(block: Any) -> Iterator[Any]:
    yield block
    for operation in block.operations:
        for inner in operation.blocks:
            yield from _blocks(inner)


def _remove(block: Any, used: set[str]) -> bool:
    operations = block.operations
    unused = [
        at for at, o in enumerate(operations) if is_constant(o) and not any(output.name in used for output in o.outputs)
    ]
    for at in reversed(unused):
        del operations[at]
    return bool(unused)
