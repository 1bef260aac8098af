"""What a lowering sees of the layer it lowers and of the graph it adds to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError, LoweringError
from windfall.graph.builder import GraphBuilder
from windfall.graph.compressed import Compressed, CompressedTensor
from windfall.graph.stored import StoredTensor
from windfall.lowering.context import GraphContext, Value
from windfall.spec.modelfile import ModelFile
from windfall.spec.weights import FLOAT16, FLOAT32, INT8, Encoding, check, decode, encoding, numbers, quantization_of
from windfall.text import one_line

if TYPE_CHECKING:
    from windfall.lowering.neural_network.blobs import Blobs

__all__ = ["LayerContext", "Value"]

_SMALLEST_STORED = 1024


class LayerContext(GraphContext):
    """One layer and the graph being built.

    Attributes:
        layer: The ``NeuralNetworkLayer`` message.
        layer_type: The member of its oneof that is set, e.g. ``convolution``.
        params: That member's message.
        file: The model that the layer is part of; weights are read from it.
        graph: The graph being built; ``op`` and its neighbours here are shortcuts to it.
        blobs: The values by their names in the model; only layers that hold networks look at them.
    """

    def __init__(self, layer: Any, file: ModelFile, graph: GraphBuilder, blobs: "Blobs") -> None:
        self.layer = layer
        self.layer_type: str = layer.WhichOneof("layer")
        self.params = getattr(layer, self.layer_type)
        self.file = file
        self.graph = graph
        self.blobs = blobs

    def weights(
        self, field: str, dims: Sequence[int], *, message: Any = None, channel_axis: int = 0
    ) -> NDArray[np.float32]:
        """Return the weight in one field of the layer's parameters as a float32 array.

        Args:
            field: The field's name, e.g. ``weights`` or ``bias``.
            dims: The shape that the other parameters ask for.
            message: The message that has the field, the layer's parameters by default.
            channel_axis: The axis that a per-channel quantization scale runs along.

        Raises:
            LoweringError: The stored values do not fit.
        """
        params = getattr(self.params if message is None else message, field)
        try:
            return decode(self.file, params, tuple(int(d) for d in dims), channel_axis)
        except FormatError as error:
            raise self.error(field, str(error), value=None) from error

    def weight(self, field: str, dims: Sequence[int], *, channel_axis: int = 0) -> Value:
        """Return a weight as a graph value; a large one stays in the file until an engine reads it.

        Only for weights that engines pack into a form of their own: what they leave as it is stays mapped from the
        file for as long as the program lives, and the process would die if the file were cut short.

        Args: as for ``weights``.

        Raises:
            LoweringError: The stored values do not fit.
        """
        params = getattr(self.params, field)
        shape_ = tuple(int(d) for d in dims)
        try:
            stored = check(self.file, params, shape_)
        except FormatError as error:
            raise self.error(field, str(error), value=None) from error
        is_float = stored is not None and stored.field in (FLOAT16, FLOAT32)
        # Small ones may be shared. How long a row of narrow numbers is as float32 counts, not how it is stored.
        if stored is None or (stored.size if is_float else stored.size * 32 // stored.bits) < _SMALLEST_STORED:
            return self.constant(self.weights(field, dims, channel_axis=channel_axis), field)
        if not is_float:
            return self.graph.stored(self._quantized(field, stored, shape_, channel_axis), field)
        tensor = StoredTensor(
            lambda: decode(self.file, params, shape_),
            shape_,
            field,
            lambda: self.file.place(params, stored.field),
        )
        return self.graph.stored(tensor, field)

    def _quantized(self, field: str, stored: Encoding, dims: tuple[int, ...], channel_axis: int) -> CompressedTensor:
        file, params = self.file, getattr(self.params, field)
        try:
            found = quantization_of(params, stored, dims, channel_axis)
        except FormatError as error:
            raise self.error(field, str(error), value=None) from error
        single = (1,) * len(dims)
        compressed = Compressed(
            lambda: numbers(file, params, dims),
            dims,
            stored.bits,
            signed=stored.field == INT8,
            scale=found.scale,
            bias=found.bias,
            table=None if found.table is None else found.table.reshape(*single, -1),
            place=lambda: file.place(params, stored.field) if stored.bits == 8 else None,
        )
        return CompressedTensor(lambda: decode(file, params, dims, channel_axis), dims, field, lambda: compressed)

    def columns(self, field: str, dims: Sequence[int]) -> Value:
        """Return a matrix that is stored column by column as one of rows, [a, b] -> [b, a]; see ``weight``."""
        stored = self.weight(field, dims)
        tensor = stored.const_value
        if isinstance(tensor, CompressedTensor):
            return self.graph.stored(tensor.transposed((1, 0)), field)
        return self.constant(np.ascontiguousarray(self.weights(field, dims).T), field)

    def is_quantized(self, field: str) -> bool:
        """Whether the weight in one field of the layer's parameters is stored as whole numbers."""
        try:
            stored = encoding(self.file, getattr(self.params, field))
        except FormatError as error:
            raise self.error(field, str(error), value=None) from error
        return stored is not None and stored.field not in (FLOAT16, FLOAT32)

    def vector(self, field: str, counts: Sequence[int], *, message: Any = None) -> NDArray[np.float32]:
        """Return a weight that may have one of several lengths, usually 1 or one for each channel."""
        params = getattr(self.params if message is None else message, field)
        try:
            stored = encoding(self.file, params)
        except FormatError as error:
            raise self.error(field, str(error), value=None) from error
        for count in counts:
            if stored is not None and stored.size == (count * stored.bits + 7) // 8:
                return self.weights(field, (count,), message=message)
        have = stored.size * 8 // stored.bits if stored else 0
        raise self.error(field, f"has {have} values, must have {' or '.join(map(str, counts))}", value=None)

    def error(self, field: str, rule: str, value: object = ...) -> LoweringError:
        """Return the error for a field that breaks a rule.

        Args:
            field: The field's name in the spec.
            rule: What is wrong, e.g. "must be at least 2".
            value: The value it has; read from the parameters by default, None to say nothing of it.
        """
        if value is ...:
            value = getattr(self.params, field, None)
        shown = "" if value is None else f" is {_brief(value)}"
        separator = "," if shown else ""
        return LoweringError(
            f"cannot lower layer {self.layer.name!r} ({self.layer_type}) of {self.file.name}: "
            f"{field}{shown}{separator} {rule}"
        )


def _brief(value: object) -> str:
    text = str(list(value) if hasattr(value, "__len__") and not isinstance(value, str) else value)  # type: ignore[call-overload]
    return one_line(text, 60)  # messages print as several lines
