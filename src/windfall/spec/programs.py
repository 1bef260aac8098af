"""Questions about ML programs that their messages alone answer.

Source: ``Program``, ``Function`` in MIL.proto; ``ModelDescription``, ``FunctionDescription`` in Model.proto.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from windfall.errors import FormatError
from windfall.spec.modelfile import ModelFile

_MOST_NESTED = 64


class Interface(NamedTuple):
    """A function as it is seen from outside.

    Attributes:
        function: Its name in the program.
        description: The message that describes it; a ``ModelDescription`` has the fields of a ``FunctionDescription``.
        inputs: Its inputs in the program, states included.
    """

    function: str
    description: Any
    inputs: Sequence[Any]


def interface(file: ModelFile, function: str = "") -> Interface:
    """Return a function as it is seen from outside; the model's own if no name is given.

    Raises:
        FormatError: There is no such function.
    """
    spec = file.spec
    described = {d.name: d for d in spec.description.functions}
    name = function or spec.description.defaultFunctionName or "main"
    functions = spec.mlProgram.functions
    if name not in functions or (described and name not in described):
        known = ", ".join(sorted(described or functions))
        raise FormatError(f"{file.name} has no function {name!r}; its functions are {known or 'none'}")
    return Interface(name, described.get(name, spec.description), functions[name].inputs)


def block_of(file: ModelFile, function: str = "") -> tuple[Any, str]:
    """Return the block of a function that is to be run, and its opset.

    Raises:
        FormatError: There is none.
    """
    name = interface(file, function).function
    found = file.spec.mlProgram.functions[name]
    if found.opset not in found.block_specializations:
        raise FormatError(f"{file.name}: function {name!r} has no block for its opset {found.opset!r}")
    return found.block_specializations[found.opset], str(found.opset)


def all_operations(program: Any, function: str | None = None) -> Iterator[tuple[str, Any]]:
    """Yield the operations of a program, those in nested blocks included, each with its path."""
    for name in sorted(program.functions):
        if function is None or name == function:
            for block in program.functions[name].block_specializations.values():
                yield from operations_of(block, name if len(program.functions) > 1 else "")


def operations_of(block: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the operations of a block and those inside them, each with its path: ``loop/1/add``.

    Raises:
        FormatError: Blocks lie too deep in each other.
    """
    if depth > _MOST_NESTED:
        raise FormatError(f"the program has blocks in more than {_MOST_NESTED} others, the most there may be")
    for operation in block.operations:
        name = operation.outputs[0].name if operation.outputs else operation.type
        here = f"{path}/{name}" if path else name
        yield here, operation
        for index, inner in enumerate(operation.blocks):
            yield from operations_of(inner, f"{here}/{index}", depth + 1)


def state_outputs(block: Any) -> list[str]:
    """Name the states that a block writes, in the order in which it does."""
    written = (
        binding.name
        for _, operation in operations_of(block)
        for argument in _STATE_ARGUMENTS.get(operation.type, ())
        if argument in operation.inputs
        for binding in operation.inputs[argument].arguments
    )
    return list(dict.fromkeys(written))


_STATE_ARGUMENTS = {"write_state": ("input",), "coreml_update_state": ("state",)}


def classify_operation(block: Any) -> Any:
    """Return the operation that makes a label of probabilities, None if there is none."""
    return next((operation for operation in block.operations if operation.type == "classify"), None)


def class_labels(file: ModelFile, block: Any, classify: Any) -> tuple[str, list[Any]]:
    """Return the value that holds a classifier's probabilities, and its labels.

    Raises:
        FormatError: The probabilities have no name, or the labels are no constant.
    """
    source, classes = (_binding(classify, argument) for argument in ("probabilities", "classes"))
    stored = None if classes is None else _constant(block, classes)
    if source is None or not source.name or stored is None:
        raise FormatError(
            f"{file.name} is a classifier and must name its probabilities and a constant with its classes; "
            "convert it again"
        )
    return str(source.name), _labels(stored.immediateValue)


def _binding(operation: Any, argument: str) -> Any:
    """Return what an argument is bound to, None if there is none."""
    bindings = operation.inputs[argument].arguments if argument in operation.inputs else []
    return bindings[0] if bindings else None


def _constant(block: Any, binding: Any) -> Any:
    """Return the ``Value`` message of a constant that is bound itself or by its name, None if there is none."""
    if binding.WhichOneof("binding") == "value":
        return binding.value
    found = (o for o in block.operations if o.type == "const" and o.outputs and o.outputs[0].name == binding.name)
    constant = next(found, None)
    return None if constant is None or "val" not in constant.attributes else constant.attributes["val"]


def _labels(immediate: Any) -> list[Any]:
    tensors = [item.immediateValue.tensor for item in immediate.list.values] or [immediate.tensor]
    kinds = ("strings", "longInts", "ints")
    return [label for tensor in tensors for kind in kinds for label in getattr(tensor, kind).values]
