"""Programs with weights, made in memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.programs import Name, Output, add_input, add_operation, new_program, set_value


def add_constant(block: Any, name: str, array: NDArray[Any]) -> Name:
    """Add a constant that operations may take by its name."""
    operation = add_operation(block, "const", {name: Output(array.dtype, array.shape)})
    set_value(operation.attributes["val"], array)
    return Name(name)


def linear_spec(
    weight: NDArray[Any], opset: int = 8, operator: str = "linear", constant: str = "fc_weight", **arguments: Any
) -> Any:
    """Return a model of one operation that takes a weight: a float32 input [1, n], or what ``x`` is given as.

    Args:
        weight: float32 or float16; the output is of the same type.
        opset: 5 for iOS 15 to 8 for iOS 18.
        operator: ``linear``, ``conv``, ``conv_transpose`` or ``matmul``.
        constant: The weight's name.
        arguments: More arguments, ``x`` and the output's shape ``dims`` among them.
    """
    spec, function, block = new_program(opset)
    x = np.asarray(arguments.pop("x", np.zeros((1, weight.shape[-1]))), weight.dtype)
    dims = arguments.pop("dims", (x.shape[0], weight.shape[0]))
    add_input(spec, function, "x", x, x.shape)
    argument = "y" if operator == "matmul" else "weight"
    given = {"x": Name("x"), argument: add_constant(block, constant, weight), **arguments}
    add_operation(block, operator, {"fc": Output(weight.dtype, dims)}, **given)
    block.outputs.append("fc")
    kind = spec.description.output.add(name="fc").type.multiArrayType
    kind.dataType = spec.description.input[0].type.multiArrayType.dataType
    return spec
