"""Layers of the user's own: what their classes derive from, and the graph that they may add operators to.

Source: ``CustomLayerParams`` in NeuralNetwork.proto; its namesake in Core ML is the protocol ``MLCustomLayer``.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from windfall.errors import UnsupportedError
from windfall.text import brief

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import ArrayLike

    from windfall.graph.builder import GraphBuilder

Size = int | str | None
"""A size: a number; a text for one that is known only at run time, equal where the text is; None for any other."""
Shape = Sequence[Size]
Arrays = list[NDArray[Any]]


class CustomLayer:
    """The base of classes that stand for custom layers.

    A class needs ``encode``, or ``evaluate`` and ``output_shapes``. With ``encode`` its layers become ONNX operators of
    the graph around them; else the graph is cut there, and ``evaluate`` computes them with NumPy. Tensors are float32,
    and have the axes that the network has: in one with ``RANK5_ARRAY_MAPPING``, as older converters wrote them, these
    are [Seq, Batch, C, H, W].

    An object is made once for each layer, before the first prediction, and may be used from many threads at once.

    Args:
        parameters: The parameters in the file: numbers, texts and truth values by their names.
        weights: The weights in the file, a flat float32 array each, dequantized; not to be written to.

    Attributes:
        name: The layer's name.
        description: What the file says about the layer.
        allows_nan: Whether what ``evaluate`` returns may have NaN where its inputs have none.
    """

    name: str = ""
    description: str = ""
    allows_nan: bool = False

    def __init__(self, parameters: Mapping[str, Any], weights: Sequence[NDArray[Any]]) -> None:
        self.parameters = parameters
        self.weights = weights

    def output_shapes(self, input_shapes: list[Shape]) -> Sequence[Shape]:
        """Return the shape of each output.

        Args:
            input_shapes: The shape of each input. A size that is known only at run time is a text; one that is returned
                unchanged says that the sizes are the same, and None that a size is not known yet.
        """
        raise NotImplementedError

    def evaluate(self, inputs: Arrays) -> Sequence[NDArray[Any]]:
        """Return the outputs: float32 arrays in the shapes that ``output_shapes`` gives; they belong to windfall then.

        Args:
            inputs: The inputs, not to be written to; they may be kept.
        """
        raise NotImplementedError

    def evaluate_batch(self, batch: list[Arrays]) -> Sequence[Sequence[NDArray[Any]]]:
        """Return the outputs of several predictions, where there is more to gain than one by one, as it is here.

        Args:
            batch: The inputs of each prediction.
        """
        return [self.evaluate(inputs) for inputs in batch]

    def encode(self, graph: "LayerGraph", inputs: "list[ir.Value]") -> "ir.Value | Sequence[ir.Value]":
        """Add the layer to a graph as ONNX operators, and return its outputs.

        Args:
            graph: Adds operators and constants.
            inputs: The inputs.
        """
        raise NotImplementedError


def overrides(found: type, method: str) -> bool:
    """Whether a class has a method of its own."""
    return getattr(found, method) is not getattr(CustomLayer, method)


def check_layer_class(found: Any, what: str) -> None:
    """Check what is to stand for a custom layer.

    Raises:
        UnsupportedError: It is no class for layers, or lacks a method.
    """
    if not isinstance(found, type) or not issubclass(found, CustomLayer):
        raise UnsupportedError(f"{what} is {brief(found)}, must be a class derived from windfall.CustomLayer")
    if overrides(found, "encode"):
        return
    missing = [method for method in ("evaluate", "output_shapes") if not overrides(found, method)]
    if missing:
        raise UnsupportedError(
            f"{what} is {found.__qualname__}, which has no {missing[0]}; must have encode, or both evaluate and "
            "output_shapes"
        )


class LayerGraph:
    """The graph that ``CustomLayer.encode`` adds its layer to.

    The type and shape of each value are known as soon as it is there, and what does not fit is an error at once.
    """

    def __init__(self, builder: "GraphBuilder") -> None:
        self._builder = builder

    def op(
        self, op_type: str, *inputs: "ir.Value | None", name: str = "", domain: str = "", **attributes: Any
    ) -> "ir.Value":
        """Add an operator with one output and return that.

        Args:
            op_type: An operator of ONNX.
            inputs: Its inputs; None for an optional one that is left out.
            name: The name of its output within the layer.
            domain: The operator's domain; ONNX's default one if empty.
            attributes: The operator's attributes.

        Raises:
            ValueError: The inputs do not fit each other, or the output would be too large.
        """
        return self._builder.op(op_type, *inputs, name=name, domain=domain, **attributes)

    def ops(
        self, op_type: str, *inputs: "ir.Value | None", outputs: int, domain: str = "", **attributes: Any
    ) -> "Sequence[ir.Value]":
        """Add an operator with several outputs and return them; see ``op``."""
        return self._builder.ops(op_type, *inputs, outputs=outputs, domain=domain, **attributes)

    def constant(self, array: "ArrayLike", name: str = "const") -> "ir.Value":
        """Add an array as it is; float32 for numbers that meet tensors, int64 for shapes, axes and indices."""
        return self._builder.constant(array, name)

    def shape(self, value: "ir.Value") -> tuple[int | None, ...]:
        """Return a value's shape, None for sizes that are known only at run time."""
        from windfall.graph.shapes import shape

        return shape(value)

    def sizes(self, value: "ir.Value", start: int = 0, end: int | None = None) -> "ir.Value":
        """Return some of a value's sizes as an int64 vector: a constant where they are known."""
        return self._builder.sizes(value, start, end)

    def reshape(self, value: "ir.Value", *parts: "int | Sequence[int] | ir.Value") -> "ir.Value":
        """Reshape a value to sizes given as numbers, sequences and int64 vectors in a row; one may be -1."""
        return self._builder.reshape(value, *parts)

    def planes(self, value: "ir.Value") -> "ir.Value":
        """Return a value of rank 3 or more as [N, C, H, W], the form of most of ONNX's operators on images.

        In networks of rank 5 the layers before and after work in that form too, and no reshaping stays between them.
        """
        return self._builder.planes(value)

    def restore(self, value: "ir.Value", like: "ir.Value") -> "ir.Value":
        """Give [N, C, H, W] the leading axes of another value again; the inverse of ``planes``."""
        return self._builder.restore(value, like)
