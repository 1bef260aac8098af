"""Layers run with sizes that are known only at run time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support import layer_spec
from windfall.lowering.neural_network.network import lower_network
from windfall.runtime.engine import checked_options, engine_named
from windfall.runtime.serialize import serialize
from windfall.spec.modelfile import from_spec


def run_symbolic(layer_type: str, *inputs: NDArray[Any], fixed: tuple[int, ...] = (), **fields: Any) -> NDArray[Any]:
    """Run a layer of one output with symbolic input sizes, but for the axes ``fixed``, which every input has."""
    spec = layer_spec(layer_type, *inputs, **fields)
    shapes = {
        f"x{i}": tuple(n if axis in fixed else f"x{i}_{axis}" for axis, n in enumerate(array.shape))
        for i, array in enumerate(inputs)
    }
    lowered = lower_network(from_spec(spec), shapes)
    program = engine_named("onnxruntime").compile(serialize(lowered), checked_options(1, "all"))
    (result,) = program.run({f"x{i}": array.astype(np.float32) for i, array in enumerate(inputs)})
    return result
