"""Write operations into an ML program in the place of one of its own.

Source: ``Operation``, ``Argument``, ``Value`` in MIL.proto.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from windfall.spec.programs import operations_of
from windfall.spec.proto import MIL_pb2

_FIELDS = {MIL_pb2.INT32: "ints", MIL_pb2.FLOAT32: "floats", MIL_pb2.BOOL: "bools", MIL_pb2.STRING: "strings"}


class Writer:
    """Collects the operations that stand in the place of one; the last gives what that one gave.

    Args:
        operation: The operation to replace; it is not changed.
        block: The block that it stands in.
    """

    def __init__(self, operation: Any, block: Any) -> None:
        self._last = MIL_pb2.Operation()
        self._last.CopyFrom(operation)
        self._new: list[Any] = []
        self._taken = {output.name for _, one in operations_of(block) for output in one.outputs}
        self._prefix = operation.outputs[0].name

    def integers(self, name: str, values: Sequence[int]) -> str:
        """Add a constant vector of integers; returns its name."""
        return self._constant(name, MIL_pb2.INT32, values, (len(values),))

    def booleans(self, name: str, values: Sequence[bool]) -> str:
        """Add a constant vector of truth values."""
        return self._constant(name, MIL_pb2.BOOL, values, (len(values),))

    def boolean(self, name: str, value: bool) -> str:
        """Add a constant truth value."""
        return self._constant(name, MIL_pb2.BOOL, [value], ())

    def floating(self, name: str, value: float) -> str:
        """Add a constant number."""
        return self._constant(name, MIL_pb2.FLOAT32, [value], ())

    def integer(self, name: str, value: int) -> str:
        """Add a constant integer."""
        return self._constant(name, MIL_pb2.INT32, [value], ())

    def operation(self, operator: str, name: str, arguments: Mapping[str, str], dims: Sequence[int]) -> str:
        """Add an operation on integers; returns the name of what it gives.

        Args:
            operator: Its type.
            name: What its name ends in.
            arguments: The names of what its arguments are bound to.
            dims: The shape of what it gives.
        """
        one = self._named(operator, name)
        for argument, value in arguments.items():
            one.inputs[argument].arguments.add().name = value
        _set_type(one.outputs[0].type, MIL_pb2.INT32, dims)
        return str(one.outputs[0].name)

    def joined(self, name: str, values: Sequence[str], length: int) -> str:
        """Add an operation that puts vectors in a row."""
        axis, interleave = self.integer(f"{name}_axis", 0), self.boolean(f"{name}_interleave", False)
        joined = self.operation("concat", name, {"axis": axis, "interleave": interleave}, (length,))
        for value in values:
            self._new[-1].inputs["values"].arguments.add().name = value
        return joined

    def bind(self, argument: str, name: str) -> Self:
        """Bind an argument of the operation itself to a value."""
        self._last.inputs[argument].Clear()
        self._last.inputs[argument].arguments.add().name = name
        return self

    def become(self, operator: str, arguments: Mapping[str, str]) -> Self:
        """Let the operation be another one that gives a value of the same name."""
        self._last.type = operator
        for argument in list(self._last.inputs):
            del self._last.inputs[argument]
        for argument, name in arguments.items():
            self.bind(argument, name)
        return self

    def done(self) -> list[Any]:
        """Return the operations."""
        return [*self._new, self._last]

    def _constant(self, name: str, data_type: int, values: Sequence[Any], dims: Sequence[int]) -> str:
        one = self._named("const", name)
        _set_value(one.attributes["val"], data_type, values, dims)
        _set_type(one.outputs[0].type, data_type, dims)
        return str(one.outputs[0].name)

    def _named(self, operator: str, name: str) -> Any:
        one = MIL_pb2.Operation(type=operator)
        full = f"{self._prefix}_{name}"
        while full in self._taken:
            full += "_"
        self._taken.add(full)
        one.outputs.add(name=full)
        _set_value(one.attributes["name"], MIL_pb2.STRING, [full], ())
        self._new.append(one)
        return one


def _set_type(value_type: Any, data_type: int, dims: Sequence[int]) -> None:
    tensor = value_type.tensorType
    tensor.dataType = data_type
    tensor.rank = len(dims)
    for size in dims:
        tensor.dimensions.add().constant.size = size


def _set_value(value: Any, data_type: int, values: Sequence[Any], dims: Sequence[int]) -> None:
    _set_type(value.type, data_type, dims)
    getattr(value.immediateValue.tensor, _FIELDS[data_type]).values.extend(values)
