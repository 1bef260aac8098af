"""From the arguments of an operation to the parameters of the function that lowers it.

The function's signature says what each of the operator's parameters is: ``Value`` for one that may be computed,
``int``, ``str``, ``Ints``, ``Array`` for one that must be known before the program runs, ``Sequence[Value]`` for any
number of values, ``Sequence[Constant]`` for any number of constants of various types. A default makes it optional.
Names are the operator's own; ``input_`` stands for ``input``.

Source: ``Operation``, ``Argument`` in MIL.proto.
"""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from windfall.lowering.ml_program.constants import Constant, constant_of
from windfall.lowering.ml_program.context import Array, Ints, OperationContext, Value

Entry = Value | Constant
"""What a name in a program stands for."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of an operator.

    Attributes:
        convert: Makes what the lowering wants of what the operation has.
        optional: Whether it may be left out.
    """

    convert: "Callable[[OperationContext, str, Sequence[Entry]], Any]"
    optional: bool


@dataclass(frozen=True)
class Lowering:
    """A function that lowers one operator, and the operator's parameters."""

    function: Callable[..., Any]
    parameters: Mapping[str, Parameter]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Lowering":
        """Read the parameters from the function's signature: all but the first, ``ctx``."""
        found = list(inspect.signature(function).parameters.values())[1:]
        return cls(function, {p.name.rstrip("_"): _parameter(p) for p in found})

    def bind(self, ctx: OperationContext) -> dict[str, Any]:
        """Return the function's arguments for an operation.

        Raises:
            LoweringError: An argument is missing, unknown, undefined, or not what the operator takes.
        """
        given = {name: [_entry(ctx, name, b) for b in arg.arguments] for name, arg in ctx.operation.inputs.items()}
        # Operators of the family constexpr had their parameters here before iOS 18.
        stored = ctx.operation.attributes
        given |= {name: [constant_of(ctx.file, stored[name])] for name in stored if name in self.parameters}
        unknown = [name for name in given if name not in self.parameters]
        if unknown:
            raise ctx.error(unknown[0], f"is not a parameter of the operator; it has {', '.join(self.parameters)}")
        missing = [name for name, p in self.parameters.items() if not p.optional and not given.get(name)]
        if missing:
            raise ctx.error(missing[0], "is missing, must be given")
        return {
            _python_name(self.function, name): self.parameters[name].convert(ctx, name, entries)
            for name, entries in given.items()
            if entries
        }


def _python_name(function: Callable[..., Any], name: str) -> str:
    return name if name in inspect.signature(function).parameters else f"{name}_"


def _entry(ctx: OperationContext, argument: str, binding: Any) -> Entry:
    if binding.WhichOneof("binding") == "value":
        return constant_of(ctx.file, binding.value)
    found = ctx.scope.find(binding.name)
    if found is None:
        raise ctx.error(argument, "must be the output of an earlier operation or an input", value=repr(binding.name))
    return found


def _parameter(parameter: inspect.Parameter) -> Parameter:
    annotation = parameter.annotation
    if get_origin(annotation) in (types.UnionType, Union):
        annotation = next(part for part in get_args(annotation) if part is not types.NoneType)
    return Parameter(_CONVERTERS[annotation], parameter.default is not parameter.empty)


def _single(ctx: OperationContext, argument: str, entries: Sequence[Entry]) -> Entry:
    if len(entries) != 1:
        raise ctx.error(argument, "must be one value", value=f"{len(entries)} values")
    return entries[0]


def _value(ctx: OperationContext, argument: str, entries: Sequence[Entry]) -> Value:
    return _as_value(ctx, argument, _single(ctx, argument, entries))


def _values(ctx: OperationContext, argument: str, entries: Sequence[Entry]) -> Sequence[Value]:
    return [_as_value(ctx, argument, entry) for entry in entries]


def _as_value(ctx: OperationContext, argument: str, entry: Entry) -> Value:
    return entry.value(ctx.graph, argument) if isinstance(entry, Constant) else entry


def _array(ctx: OperationContext, argument: str, entries: Sequence[Entry]) -> Array:
    entry = _single(ctx, argument, entries)
    if isinstance(entry, Constant):
        return entry.array
    known = ctx.known(entry)
    if known is None:
        raise ctx.error(argument, "is computed, must be known before the program runs")
    return known


def _constant(ctx: OperationContext, argument: str, entries: Sequence[Entry]) -> Constant:
    entry = _single(ctx, argument, entries)
    if not isinstance(entry, Constant):
        raise ctx.error(argument, "is computed, must be a constant of the program")
    return entry


def _constants(ctx: OperationContext, argument: str, entries: Sequence[Entry]) -> Sequence[Constant]:
    return [_constant(ctx, argument, [entry]) for entry in entries]


def _scalar(kind: type, kinds: str, what: str) -> Callable[[OperationContext, str, Sequence[Entry]], Any]:
    def convert(ctx: OperationContext, argument: str, entries: Sequence[Entry]) -> Any:
        array = _array(ctx, argument, entries)
        if array.size != 1 or array.dtype.kind not in kinds:
            raise ctx.error(argument, f"must be {what}", value=array.tolist())
        return kind(array.item())

    return convert


def _vector(kind: type, kinds: str, what: str) -> Callable[[OperationContext, str, Sequence[Entry]], Any]:
    def convert(ctx: OperationContext, argument: str, entries: Sequence[Entry]) -> Any:
        array = _array(ctx, argument, entries)
        if array.size and array.dtype.kind not in kinds:
            raise ctx.error(argument, f"must be {what}", value=array.tolist())
        return tuple(kind(item) for item in array.reshape(-1).tolist())

    return convert


_CONVERTERS: Mapping[object, Callable[[OperationContext, str, Sequence[Entry]], Any]] = {
    Value: _value,
    Sequence[Value]: _values,
    Array: _array,
    Constant: _constant,
    Sequence[Constant]: _constants,
    int: _scalar(int, "iu", "an integer"),
    float: _scalar(float, "fiu", "a number"),
    bool: _scalar(bool, "b", "true or false"),
    str: _scalar(str, "OU", "a string"),
    Ints: _vector(int, "iu", "a vector of integers"),
    tuple[float, ...]: _vector(float, "fiu", "a vector of numbers"),
    tuple[bool, ...]: _vector(bool, "b", "a vector of true and false"),
    tuple[str, ...]: _vector(str, "OU", "a vector of strings"),
}
