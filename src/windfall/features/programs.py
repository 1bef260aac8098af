"""Values in and out of ML programs.

Source: ``Function`` in MIL.proto, ``FunctionDescription`` in Model.proto.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.features import arrays
from windfall.features.binding import Binder, GraphShapes, image_channels
from windfall.features.labels import ClassLabels
from windfall.graph.limits import LARGEST_TENSOR
from windfall.spec.modelfile import ModelFile
from windfall.spec.programs import block_of, class_labels, classify_operation, interface
from windfall.spec.proto import MIL_pb2


class ProgramBinder(Binder):
    """Turns inputs into tensors and tensors into outputs for one function of an ML program.

    One graph serves all shapes: what the program leaves open stays symbolic.
    """

    _takes = "ML programs take images and arrays"

    def __init__(self, file: ModelFile, function: str = "") -> None:
        found = interface(file, function)
        block, _ = block_of(file, function)
        self._types = {declared.name: declared.type.tensorType for declared in found.inputs}
        for feature in found.description.input:
            _check_input(file, feature, self._types.get(feature.name))
        labels = _labels(file, block, found.description)
        names = [feature.name for feature in found.description.output]
        inner = [output.name for operation in block.operations for output in operation.outputs]
        super().__init__(found.description, inner, names if labels is None else labels.sources(names), labels)
        self._file_name = file.name
        described = {feature.name: feature for feature in found.description.state}
        self.states = {
            declared.name: _state(file, declared, described[declared.name])
            for declared in found.inputs
            if declared.name in described
        }

    def default_shapes(self) -> GraphShapes:
        """Return the shapes to compile for, which are the same whatever is given."""
        return {name: self._graph_shape(feature) for name, feature in self.inputs.items()}

    def graph_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> GraphShapes:
        """Return the shapes to compile for, which are the same whatever is given."""
        del feeds
        return self.default_shapes()

    def _graph_shape(self, feature: Any) -> tuple[int | str, ...]:
        self._default_shape(feature)  # raises for what is neither an image nor an array
        dims = tuple(
            _dim(dim, f"{feature.name}.{axis}") for axis, dim in enumerate(self._types[feature.name].dimensions)
        )
        if not feature.type.HasField("imageType"):
            return dims
        if len(dims) != 4:
            raise FormatError(
                f"{self._file_name}: image {feature.name!r} has {len(dims)} axes in the program, must be 4"
            )
        return 1, dims[2], dims[3], image_channels(feature)

    def _array(self, feature: Any, value: Any) -> NDArray[Any]:
        dtype = _FEEDS.get(self._types[feature.name].dataType, np.dtype(np.float32))
        return arrays.to_exact(arrays.to_numbers(value, feature.name, dtype), feature)

    def _array_result(self, tensor: NDArray[Any], feature: Any) -> NDArray[Any]:
        dtype = arrays.DTYPES.get(feature.type.multiArrayType.dataType, tensor.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # numbers that the type cannot hold are the model's own
            return tensor.astype(dtype, copy=False)


_FEEDS: Mapping[int, np.dtype[Any]] = {
    MIL_pb2.INT32: np.dtype(np.int32),
    MIL_pb2.INT16: np.dtype(np.int16),
    MIL_pb2.INT8: np.dtype(np.int8),
    MIL_pb2.UINT16: np.dtype(np.uint16),
    MIL_pb2.UINT8: np.dtype(np.uint8),
    MIL_pb2.BOOL: np.dtype(np.bool_),
}


def _check_input(file: ModelFile, feature: Any, tensor: Any) -> None:
    if tensor is None:
        raise FormatError(f"{file.name} describes an input {feature.name!r} that its program does not have")
    if tensor.dataType == 0 or tensor.rank != len(tensor.dimensions):
        raise FormatError(f"{file.name}: input {feature.name!r} must be a tensor of known rank in the program")
    for axis, sizes in enumerate(_described_sizes(feature.type)):
        dimension = tensor.dimensions[axis] if axis < tensor.rank else None
        if dimension is not None and dimension.HasField("constant") and sizes - {int(dimension.constant.size)}:
            raise FormatError(
                f"{file.name}: the description allows other sizes of {feature.name!r} along axis {axis} than "
                f"{dimension.constant.size}, the program does not; convert the model again"
            )


def _described_sizes(kind: Any) -> list[set[int | None]]:
    """Return the sizes that a flexible input may have along each axis of its tensor, ranges by their two ends."""
    if kind.WhichOneof("Type") == "multiArrayType":
        array = kind.multiArrayType
        return [set(ends) for ends in arrays.size_ranges(array)] or _columns(arrays.enumerated_shapes(array))
    image = kind.imageType
    shapes = [(size.height, size.width) for size in image.enumeratedSizes.sizes]
    if not shapes and not image.HasField("imageSizeRange"):
        return []
    ranges = (image.imageSizeRange.heightRange, image.imageSizeRange.widthRange)
    ends = [{int(one.lowerBound), None if one.upperBound < 0 else int(one.upperBound)} for one in ranges]
    return [{1}, set(), *(_columns(shapes) or ends)]


def _columns(shapes: Sequence[tuple[int, ...]]) -> list[set[int | None]]:
    """Return the sizes along each axis; nothing where shapes differ in rank."""
    return [set(sizes) for sizes in zip(*shapes, strict=True)] if len({len(shape) for shape in shapes}) == 1 else []


def _state(file: ModelFile, declared: Any, feature: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape of a state and its declared type."""
    tensor = declared.type.stateType.wrappedType.tensorType
    dims = tuple(int(dim.constant.size) for dim in tensor.dimensions)
    array = feature.type.stateType.arrayType
    if tensor.rank != len(dims) or 0 in dims or tuple(array.shape) != dims or array.dataType not in arrays.DTYPES:
        raise FormatError(
            f"{file.name}: state {declared.name!r} is {list(array.shape)} in the description and {list(dims)} in the "
            "program, must be an array of the same known shape; convert the model again"
        )
    if math.prod(dims) * 4 > LARGEST_TENSOR:
        raise FormatError(
            f"{file.name}: state {declared.name!r} of shape {list(dims)} needs over {LARGEST_TENSOR:,} bytes"
        )
    return dims, arrays.DTYPES[array.dataType]


def _dim(dimension: Any, symbol: str) -> int | str:
    return int(dimension.constant.size) if dimension.HasField("constant") else symbol


def _labels(file: ModelFile, block: Any, description: Any) -> ClassLabels | None:
    operation = classify_operation(block)
    if operation is None:
        return None
    source, labels = class_labels(file, block, operation)
    return ClassLabels.of(labels, source, description, file.name)
