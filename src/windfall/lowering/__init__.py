"""From a Core ML model to an ONNX graph; a folder for each kind of model."""

from collections.abc import Sequence

import onnx_ir as ir

from windfall.lowering.neural_network.network import lower_network
from windfall.lowering.shapes import InputShapes
from windfall.passes import optimize
from windfall.spec.modelfile import ModelFile

__all__ = ["InputShapes", "lower"]


def lower(file: ModelFile, input_shapes: InputShapes, outputs: Sequence[str]) -> ir.Model:
    """Lower a model and rewrite its graph into a fast one; see ``lower_network``.

    Graph inputs and outputs carry the names of the model's features, or of the inner values asked for.
    """
    model = lower_network(file, input_shapes, outputs)
    optimize(model)
    return model
