"""How the weights of an ML program's operators are compressed.

Only the program is looked at: the types and shapes that it declares say how large its weights are, so that none of
the weight files is read.

Source: ``constexpr_*`` among coremltools' operator definitions (iOS 16 ``constexpr_ops.py``, iOS 18
``compression.py``).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from windfall.description.weights import value_count
from windfall.lowering.ml_program.types import TensorType, tensor_type
from windfall.spec.packing import BITS
from windfall.spec.pipelines import all_members
from windfall.spec.programs import operations_of
from windfall.spec.proto import MIL_pb2

_MOST_STEPS = 16
"""So many operations are looked at for one weight, which is made by 1 to 3 of them."""


@dataclass(frozen=True)
class Compression:
    """The compressed weights of all operations of one operator that are stored in one way.

    A weight that several of them share counts once.

    Attributes:
        operator: E.g. ``conv``.
        form: E.g. ``4-bit lookup table``, ``8-bit linear``, ``sparse, 4-bit lookup table``.
        weights: How many there are.
        values: How many numbers they stand for.
        bytes: What they take, their scales, tables and masks with them.
        full_bytes: What the numbers would take in the type that the program declares for them.
    """

    operator: str
    form: str
    weights: int
    values: int
    bytes: int
    full_bytes: int

    @property
    def bits(self) -> float:
        """How many bits each number takes."""
        return 8 * self.bytes / self.values if self.values else 0.0


def describe_compressions(spec: Any) -> tuple[Compression, ...]:
    """Sum up the compressed weights of ML programs by operator and form, the largest first.

    Args:
        spec: The ``Model`` message; of a pipeline, the programs in it count.

    Raises:
        FormatError: Blocks lie too deep in each other.
    """
    found: dict[tuple[str, str], dict[object, _Weight]] = {}
    for number, block in enumerate(_blocks(spec)):
        for operator, weight in _Weights(block).compressed():
            # The same bytes of a file are the same weight, in whichever function.
            key = weight.places or (number, weight.name)
            found.setdefault((operator, weight.form), {}).setdefault(key, weight)
    summed = [_sum(operator, form, list(weights.values())) for (operator, form), weights in found.items()]
    return tuple(sorted(summed, key=lambda one: (-one.full_bytes, one.operator, one.form)))


def _blocks(spec: Any) -> Iterator[Any]:
    """Yield the block of each function that has one for its opset."""
    for model in all_members(spec):
        if model.WhichOneof("Type") == "mlProgram":
            for _, function in sorted(model.mlProgram.functions.items()):
                if function.opset in function.block_specializations:
                    yield function.block_specializations[function.opset]


class _Weight(NamedTuple):
    """A compressed weight; ``places`` are the names and offsets of what it has in weight files."""

    name: str
    form: str
    values: int
    bytes: int
    full_bytes: int
    places: tuple[tuple[str, int], ...]


def _sum(operator: str, form: str, weights: list[_Weight]) -> Compression:
    return Compression(
        operator,
        form,
        len(weights),
        sum(weight.values for weight in weights),
        sum(weight.bytes for weight in weights),
        sum(weight.full_bytes for weight in weights),
    )


class _Argument(NamedTuple):
    """What an operation of the family constexpr is given.

    Attributes:
        type: Its type, None where the program does not declare one.
        name: The name of the value, empty for a constant without one.
        size: The bytes of a constant.
        place: Where a constant lies in a weight file.
        made: Whether another such operation makes it.
    """

    type: TensorType | None
    name: str = ""
    size: int = 0
    place: tuple[str, int] | None = None
    made: bool = False


_Arguments = Mapping[str, _Argument]


class _Weights:
    """The constants of a block, and what is made of them before the program runs."""

    def __init__(self, block: Any) -> None:
        self._operations = [operation for _, operation in operations_of(block)]
        self._makers = {
            output.name: (operation, output.type)
            for operation in self._operations
            if operation.type == "const" or operation.type in _FORMS
            for output in operation.outputs
        }
        # What is known already: a damaged program may have many large references to the same thing.
        self._weights: dict[str, _Weight] = {}
        self._arguments: dict[int, _Arguments] = {}
        self._values: dict[str, _Argument] = {}

    def compressed(self) -> Iterator[tuple[str, _Weight]]:
        """Yield the operator and the compressed weight for each argument that is one."""
        for operation in self._operations:
            if operation.type in _FORMS:
                continue
            for argument in operation.inputs.values():
                for binding in argument.arguments:
                    if binding.name in self._makers and self._makers[binding.name][0].type in _FORMS:
                        yield operation.type, self._weight(binding.name)

    def _weight(self, name: str) -> _Weight:
        if name not in self._weights:
            declared = tensor_type(self._makers[name][1])
            forms, constants = dict[str, None](), dict[object, _Argument]()
            for number, (operation, arguments) in enumerate(self._steps(name)):
                forms[_FORMS[operation.type](arguments)] = None
                # Two steps may share one, a mask for example.
                constants |= {a.place or a.name or (number, key): a for key, a in arguments.items() if not a.made}
            self._weights[name] = _Weight(
                name,
                ", ".join(forms),
                0 if declared is None else _count(declared),
                sum(constant.size for constant in constants.values()),
                0 if declared is None else _bytes(declared),
                tuple(sorted({constant.place for constant in constants.values() if constant.place is not None})),
            )
        return self._weights[name]

    def _steps(self, name: str) -> Iterator[tuple[Any, _Arguments]]:
        """Yield the operation that makes a weight and those that it is made from, each once, with their arguments."""
        waiting, seen = [name], set[int]()
        while waiting and len(seen) < _MOST_STEPS:
            operation = self._makers[waiting.pop(0)][0]
            if id(operation) not in seen:
                seen.add(id(operation))
                arguments = self._arguments_of(operation)
                waiting += [argument.name for argument in arguments.values() if argument.made]
                yield operation, arguments

    def _arguments_of(self, operation: Any) -> _Arguments:
        if id(operation) not in self._arguments:
            found = {name: self._argument(operation, name) for name in _DATA[operation.type]}
            self._arguments[id(operation)] = {name: one for name, one in found.items() if one is not None}
        return self._arguments[id(operation)]

    def _argument(self, operation: Any, name: str) -> _Argument | None:
        if name in operation.attributes:  # as before iOS 18
            value = operation.attributes[name]
            return _constant(value, value.type)
        bindings = operation.inputs[name].arguments if name in operation.inputs else ()
        for binding in bindings[:1]:
            if binding.WhichOneof("binding") == "value":
                return _constant(binding.value, binding.value.type)
            return self._named(binding.name)
        return None

    def _named(self, name: str) -> _Argument | None:
        if name not in self._values and name in self._makers:
            maker, declared = self._makers[name]
            self._values[name] = (
                _Argument(tensor_type(declared), name, made=True)
                if maker.type in _FORMS
                else _constant(maker.attributes.get("val"), declared, name)
            )
        return self._values.get(name)


def _constant(value: Any, value_type: Any, name: str = "") -> _Argument:
    declared = tensor_type(value_type)
    size = 0 if declared is None else _bytes(declared)
    if value is None or value.WhichOneof("value") != "blobFileValue":
        return _Argument(declared, name, size)
    return _Argument(declared, name, size, (value.blobFileValue.fileName, value.blobFileValue.offset))


def _linear(arguments: _Arguments) -> str:
    return f"{_bits(arguments, 'quantized_data', 'data', 'nonzero_data')}linear"


def _table(arguments: _Arguments) -> str:
    lut = arguments["lut"].type if "lut" in arguments else None
    if lut is not None and len(lut.dims) == 1:
        # Before iOS 18 the indices are bytes that hold several each.
        return f"{max(_count(lut), 1).bit_length() - 1}-bit lookup table"
    return f"{_bits(arguments, 'indices', 'indices_nonzero_data')}lookup table"


def _bits(arguments: _Arguments, *names: str) -> str:
    types = (arguments[name].type for name in names if name in arguments)
    found = next((type_ for type_ in types if type_ is not None), None)
    return f"{BITS[found.data_type]}-bit " if found is not None and found.data_type in BITS else ""


_FORMS: Mapping[str, Callable[[_Arguments], str]] = {
    "constexpr_affine_dequantize": _linear,
    "constexpr_blockwise_shift_scale": _linear,
    "constexpr_cast": lambda _: "float16",
    "constexpr_lut_to_dense": _table,
    "constexpr_lut_to_sparse": _table,
    "constexpr_sparse_blockwise_shift_scale": _linear,
    "constexpr_sparse_to_dense": lambda _: "sparse",
}
"""What each operator says of how a weight is stored."""
_DATA: Mapping[str, tuple[str, ...]] = {
    "constexpr_affine_dequantize": ("quantized_data", "scale", "zero_point"),
    "constexpr_blockwise_shift_scale": ("data", "scale", "offset"),
    "constexpr_cast": ("source_val",),
    "constexpr_lut_to_dense": ("indices", "lut"),
    "constexpr_lut_to_sparse": ("indices_nonzero_data", "indices_mask", "lut"),
    "constexpr_sparse_blockwise_shift_scale": ("nonzero_data", "data_mask", "scale", "offset"),
    "constexpr_sparse_to_dense": ("nonzero_data", "mask"),
}
"""The arguments of each that hold numbers; the others say how to read these."""


def _count(type_: TensorType) -> int:
    return value_count(dim or 0 for dim in type_.dims)


def _bytes(type_: TensorType) -> int:
    bits = 8 if type_.data_type == MIL_pb2.BOOL else BITS.get(type_.data_type, 0)
    return (_count(type_) * bits + 7) // 8
