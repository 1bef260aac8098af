"""The new weight file of a model whose weights have changed."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from windfall.quantization.programs.values import set_immediate, set_type
from windfall.spec.blobfile import BlobWriter, parse_metadata
from windfall.spec.blobfolder import MODEL_PATH, BlobFolder
from windfall.spec.modelfile import Blob, ModelFile
from windfall.spec.openfile import OpenFile, open_file
from windfall.spec.package import WEIGHTS
from windfall.spec.packing import SUB_BYTE
from windfall.spec.proto import MIL_pb2
from windfall.spec.scratch import ScratchFolder

_NAME = f"{MODEL_PATH}{WEIGHTS}/weight.bin"
_NEW = "\0new"
"""The file's name until all weights are in it: no model's own file can be called so."""
_SMALLEST = 10
"""So many numbers go into the file; fewer stay in the message. coremltools does the same."""
_Place = tuple[str, int]
"""The name of a weight file, and where in it something starts."""
_VALUE = "CoreML.Specification.MILSpec.Value"


class WeightFile:
    """A weight file in a temporary folder; it is removed with the model that it belongs to."""

    def __init__(self) -> None:
        self._scratch = ScratchFolder()
        folder = self._scratch.path / WEIGHTS
        folder.mkdir()
        self._path = folder / "weight.bin"
        self._writer = BlobWriter(self._path)
        self._reader: OpenFile | None = None

    def put(self, value: Any, array: NDArray[Any], data_type: int) -> None:
        """Let a ``Value`` message hold numbers; many of them lie in the file.

        Args:
            value: The message.
            array: The numbers, as ``spec.packing`` gives them for the data type.
            data_type: The ``DataType`` of MIL.proto.
        """
        value.Clear()
        if array.size < _SMALLEST:
            set_immediate(value, array, data_type)
            return
        set_type(value.type, data_type, array.shape)
        value.blobFileValue.fileName = _NEW
        value.blobFileValue.offset = self._writer.append(array, data_type)

    def blob(self, offset: int) -> Blob:
        """Return what was put, by the offset that its message has.

        Raises:
            FormatError: Nothing was put there.
        """
        size = self._writer.flush()
        if self._reader is None or self._reader.size != size:
            self._reader = open_file(self._path, _NAME, _NAME)
        found = parse_metadata(self._reader.read, size, offset, _NAME)
        return Blob(found.data_type, found.count, found.size, found.offset, self._reader)

    def finish(self, file: ModelFile, spec: Any) -> BlobFolder:
        """Move in what is still in the files of the model that it was made of, and close the file.

        Args:
            file: That model.
            spec: The new model's ``Model`` message.
        """
        moved: dict[tuple[str, int, int], int] = {}
        for value in _blob_values(spec):
            place = value.blobFileValue
            if place.fileName != _NEW:
                # A program that was raised to a later opset may have another type for the same bytes.
                key = (place.fileName, place.offset, int(value.type.tensorType.dataType))
                if key not in moved:
                    moved[key] = self._copy(file, value)
                place.offset = moved[key]
            place.fileName = _NAME
        self.close()
        folder = self._scratch.path
        return BlobFolder(folder, folder / WEIGHTS, file.name, self._scratch)

    def _copy(self, file: ModelFile, value: Any) -> int:
        blob = file.blob(value.blobFileValue.fileName, value.blobFileValue.offset)
        declared = value.type.tensorType
        if blob.data_type == MIL_pb2.UINT8 and declared.dataType in SUB_BYTE:
            return self._writer.append(blob.raw().tobytes(), declared.dataType, _count(value))
        return self._writer.append(blob.raw().tobytes(), blob.data_type, blob.count)

    def close(self) -> None:
        """Close the file where it is not finished."""
        self._reader = None
        self._writer.close()


class UnfinishedFile(ModelFile):
    """A model some of whose weights lie in a weight file that is still being written.

    Args:
        file: The model that has its other weights.
        spec: Its ``Model`` message.
        weights: The weight file.
        types: The data types and sizes of small numbers by their places; those that the message declares if left out.
    """

    def __init__(
        self, file: ModelFile, spec: Any, weights: WeightFile, types: Mapping[_Place, tuple[int, int]] | None = None
    ) -> None:
        super().__init__(spec, file.path, blobs=file.blobs, title=file.name)
        self._weights = weights
        self._types = _small_types(spec) if types is None else types

    def with_spec(self, spec: Any, members: Mapping[int, ModelFile]) -> "UnfinishedFile":  # noqa: ARG002
        """Return a program of this model; programs have no members."""
        return UnfinishedFile(self, spec, self._weights, self._types)

    def blob(self, file_name: str, offset: int) -> Blob:
        """Return a weight, of the type that a program has for it since it was raised; see ``ModelFile.blob``."""
        if file_name == _NEW:
            return self._weights.blob(offset)
        blob = super().blob(file_name, offset)
        small = self._types.get((file_name, offset))
        if small is None or blob.data_type != MIL_pb2.UINT8:
            return blob
        return replace(blob, data_type=small[0], count=small[1])


def _small_types(message: Any) -> dict[_Place, tuple[int, int]]:
    """Return the type and the number of the small numbers that a message refers to."""
    return {
        (value.blobFileValue.fileName, value.blobFileValue.offset): (value.type.tensorType.dataType, _count(value))
        for value in _blob_values(message)
        if value.type.tensorType.dataType in SUB_BYTE
    }


def _count(value: Any) -> int:
    return math.prod(int(dimension.constant.size) for dimension in value.type.tensorType.dimensions)


def _blob_values(message: Any) -> Iterator[Any]:
    """Yield every ``Value`` at any depth of a message that refers to a weight file."""
    if message.DESCRIPTOR.full_name == _VALUE and message.WhichOneof("value") == "blobFileValue":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        is_map = field.message_type.GetOptions().map_entry
        if is_map and field.message_type.fields_by_name["value"].message_type is None:
            continue
        children = value.values() if is_map else [value] if hasattr(value, "DESCRIPTOR") else value
        for child in children:
            yield from _blob_values(child)
