"""Which opset a wish needs, and how a program is raised to it.

Source: the versions that coremltools registers its operators for; ``Function`` in MIL.proto; ``specificationVersion``
in Model.proto.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from windfall.errors import UnsupportedError
from windfall.quantization.programs.forms import IOS18
from windfall.quantization.programs.values import opset_number, set_type
from windfall.spec.packing import UNSIGNED
from windfall.spec.programs import operations_of
from windfall.spec.proto import MIL_pb2

SYSTEMS: Mapping[int, str] = {5: "iOS 15", 6: "iOS 16", 7: "iOS 17", 8: "iOS 18"}
"""The systems that opsets came with, by the opset's number."""
_FIRST = 6
_VERSION_AHEAD = 1
"""An opset's number is one below the specification version that it came with."""
_CHANGED: Mapping[int, Mapping[str, str]] = {
    7: {
        "crop_resize": "takes boxes in place of roi",
        "non_maximum_suppression": "has no score_threshold",
    }
}
"""Operators whose arguments of an earlier opset do not exist any more, by the opset that changed them."""


def least_opset(bits: int, granularity: str, *, has_table: bool) -> int:
    """Return the number of the first opset that can hold such weights.

    Args:
        bits: 1 to 8, or 16.
        granularity: ``per_tensor`` and so on.
        has_table: Whether there are lookup tables, not scales.
    """
    if bits == 16:
        return _FIRST
    if has_table:
        return _FIRST if bits != 3 and granularity == "per_tensor" else IOS18
    return _FIRST if bits == 8 and granularity in ("per_tensor", "per_channel") else IOS18


def system(opset: int) -> str:
    """Return what users call an opset."""
    return f"CoreML{opset} ({SYSTEMS.get(opset, 'a later system')})"


def upgrade(program: Any, opset: int, name: str) -> None:
    """Raise the functions of a program to an opset, where they have an earlier one.

    Args:
        program: The ``Program`` message; it is changed.
        opset: The opset's number.
        name: What messages call the model.

    Raises:
        UnsupportedError: The program has an operator whose arguments the opset does not have.
    """
    for function in program.functions.values():
        now = opset_number(function.opset)
        if not 0 < now < opset or function.opset not in function.block_specializations:
            continue
        block = function.block_specializations[function.opset]
        _refuse_changed(block, now, opset, name)
        if opset >= IOS18:
            for _, operation in operations_of(block):
                _RAISED.get(operation.type, _as_it_is)(operation)
        old, function.opset = function.opset, f"CoreML{opset}"
        function.block_specializations[function.opset].CopyFrom(block)
        del function.block_specializations[old]


def raise_version(models: Iterable[Any], opset: int) -> None:
    """Give models the specification version of an opset, where theirs is earlier."""
    for model in models:
        model.specificationVersion = max(model.specificationVersion, opset + _VERSION_AHEAD)


def _refuse_changed(block: Any, now: int, opset: int, name: str) -> None:
    changed = {kind: how for first, kinds in _CHANGED.items() if now < first <= opset for kind, how in kinds.items()}
    for path, operation in operations_of(block):
        if operation.type in changed:
            raise UnsupportedError(
                f"{name} cannot be raised to {system(opset)}: operation {path!r} is {operation.type}, which "
                f"{changed[operation.type]} there; convert the model anew for that system"
            )


def _as_it_is(_operation: Any) -> None:
    """Leave an operation alone."""


def _raise_table(operation: Any) -> None:
    """Write a lookup table as it is from iOS 18 on: indices of their own type and shape, a table for one block."""
    dims = _output_dims(operation)
    indices, table = operation.attributes["indices"], operation.attributes["lut"]
    entries = table.type.tensorType.dimensions[0].constant.size
    set_type(indices.type, UNSIGNED[entries.bit_length() - 1], dims)
    set_type(table.type, table.type.tensorType.dataType, (*(1 for _ in dims), entries, 1))
    _to_inputs(operation, ("indices", "lut"))


def _raise_sparse(operation: Any) -> None:
    """Write a sparse tensor as it is from iOS 18 on: a mask of bits in the tensor's shape."""
    set_type(operation.attributes["mask"].type, MIL_pb2.UINT1, _output_dims(operation))
    _to_inputs(operation, ("nonzero_data", "mask"))


def _raise_cast(operation: Any) -> None:
    _to_inputs(operation, ("source_val", "output_dtype"))


def _output_dims(operation: Any) -> tuple[int, ...]:
    return tuple(dimension.constant.size for dimension in operation.outputs[0].type.tensorType.dimensions)


def _to_inputs(operation: Any, arguments: tuple[str, ...]) -> None:
    for argument in arguments:
        operation.inputs[argument].arguments.add().value.CopyFrom(operation.attributes[argument])
    for attribute in [name for name in operation.attributes if name != "name"]:
        del operation.attributes[attribute]


_RAISED = {
    "constexpr_lut_to_dense": _raise_table,
    "constexpr_sparse_to_dense": _raise_sparse,
    "constexpr_cast": _raise_cast,
}
"""Operators that have other parameters from iOS 18 on."""
