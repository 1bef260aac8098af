"""From a Core ML model to an ONNX graph; a folder for each kind of model."""

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from windfall.lowering.classical.models import LOWERINGS as CLASSICAL
from windfall.lowering.ml_program.program import lower_program
from windfall.lowering.neural_network.network import lower_network
from windfall.lowering.pipeline import lower_pipeline
from windfall.lowering.shapes import InputShapes
from windfall.passes import optimize
from windfall.spec.modelfile import ModelFile
from windfall.spec.pipelines import PIPELINES
from windfall.spec.proto import NEURAL_NETWORK_TYPES

__all__ = ["InputShapes", "lower"]

_LOWERINGS: Mapping[str | None, Callable[[ModelFile, InputShapes, Sequence[str], str], ir.Model]] = {
    **dict.fromkeys(NEURAL_NETWORK_TYPES, lower_network),
    "mlProgram": lower_program,
    **dict.fromkeys((*CLASSICAL, *PIPELINES), lower_pipeline),
}


def lower(
    file: ModelFile,
    input_shapes: InputShapes,
    outputs: Sequence[str],
    function: str = "",
    *,
    compressed: bool = False,
    whole: bool = True,
    attention: bool = True,
) -> ir.Model:
    """Lower a model of any kind and rewrite its graph into a fast one; see ``lower_network``, ``lower_program``.

    Graph inputs and outputs carry the names of the model's features, or of the inner values asked for.

    Args:
        file: The model.
        input_shapes: The shape of each graph input, by feature name.
        outputs: Names of the values to compute.
        function: The function of an ML program; empty for its default one, and for other models.
        compressed: Whether quantized weights are to stay as they are stored, for the graph to expand while it runs.
        whole: Whether layers between rounded activations are to compute with whole numbers.
        attention: Whether one operator may stand for attention.
    """
    model = _LOWERINGS[file.spec.WhichOneof("Type")](file, input_shapes, outputs, function)
    optimize(model, compressed=compressed, whole=whole, attention=attention)
    return model
