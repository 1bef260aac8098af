"""Read a model file: its message at once, its weights when they are wanted."""

import mmap
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.spec.blobfolder import Blob, BlobFolder
from windfall.spec.detach import Extent, ScanError, detach, payloads
from windfall.spec.openfile import OpenFile, Place, open_file
from windfall.spec.package import SUFFIX, WEIGHTS, root_model
from windfall.spec.proto import NEWEST_SPECIFICATION, Model_pb2

__all__ = ["Blob", "ModelFile", "Place", "from_spec", "read_model_file"]

# protobuf itself stops here; larger models are packages that keep their weights outside the message.
LARGEST_FILE = 2**31 - 1
_COMPILED = ".mlmodelc"


class ModelFile:
    """A Core ML model as a message, with a way to its weights.

    Attributes:
        spec: The ``Model`` message. Large weights are detached from it; ``full_spec`` has them all.
        path: Where the model lies, None if it was given as a message.
        size: The serialized model's size in bytes, its weight files included.
        blobs: The weight files of a package or of a compiled model.
    """

    def __init__(
        self,
        spec: Any,
        path: Path | None = None,
        source: OpenFile | None = None,
        extents: Sequence[Extent] = (),
        blobs: BlobFolder | None = None,
        title: str = "",
        members: Mapping[int, "ModelFile"] | None = None,
    ) -> None:
        self.spec = spec
        self._members = members or {}
        self._title = title
        self.path = path
        self.blobs = blobs
        self.size = (source.size if source else spec.ByteSize()) + (blobs.size if blobs else 0)
        self._source = source
        self._extents = extents

    @property
    def name(self) -> str:
        """The file's name, for messages; behind that of a pipeline's member."""
        return self._title or (self.path.name if self.path else "the model")

    def member(self, name: str, spec: Any, index: int | None = None) -> "ModelFile":
        """Return a model inside this one, whose weights lie in the same files unless it comes from elsewhere.

        Args:
            name: Its name.
            spec: Its ``Model`` message, which is a part of this one's.
            index: Its place among the members.
        """
        if index is not None and index in self._members:
            return self._members[index]
        return ModelFile(spec, self.path, self._source, self._extents, self.blobs, f"{name!r} of {self.name}")

    def with_spec(self, spec: Any, members: Mapping[int, "ModelFile"]) -> "ModelFile":
        """Return a model made of parts of this one.

        Args:
            spec: Its ``Model`` message.
            members: Those of its members, by their places, that have weights of their own or are made of such.
        """
        return ModelFile(spec, self.path, self._source, self._extents, self.blobs, self.name, members)

    def unpacked(self, spec: Any) -> "ModelFile":
        """Return a model whose message was inside of this one's as bytes: none of its weights is detached."""
        return ModelFile(spec, self.path, blobs=self.blobs, title=self.name)

    @property
    def is_package(self) -> bool:
        """Whether it has weight files, which a single ``.mlmodel`` cannot hold."""
        return self.blobs is not None

    def payload(self, weight_params: Any, field: int) -> bytes | NDArray[np.uint8] | None:
        """Return the raw bytes of a weight's detached payload, None if it is not detached."""
        numbers = payloads(weight_params).get(field)
        if not numbers or self._source is None:
            return None
        if len(numbers) > 1 or numbers[0] >= len(self._extents):
            raise FormatError(f"is stored in {len(numbers)} pieces, must be one")
        return self._source.read(*self._extents[numbers[0]])

    def place(self, weight_params: Any, field: int) -> Place | None:
        """Return where a detached payload lies on disk; None if it is not detached, or the file was replaced since."""
        numbers = payloads(weight_params).get(field)
        if not numbers or self._source is None or self._source.stamp() is None:
            return None
        return Place(self._source.path, *self._extents[numbers[0]])

    def blob(self, file_name: str, offset: int) -> Blob:
        """Return a weight that lies in a weight file, as a ``BlobFileValue`` of MIL.proto names it.

        Raises:
            FormatError: The model has no weight files, the weight is not there, or it breaks a rule of the format.
        """
        if self.blobs is None:
            raise FormatError(f"{self.name} came without its weight files; load the {SUFFIX} that it belongs to")
        return self.blobs.blob(file_name, offset)

    @property
    def folder(self) -> Path | None:
        """The folder that the places of its weights really lie in, None if the model was given as a message."""
        if self.blobs is not None and not self._extents:
            return self.blobs.weights
        return None if self._source is None else self._source.path.parent

    def stamp(self) -> tuple[object, ...] | None:
        """Tell this model from all others; None if it was written to since it was loaded, or is no longer there.

        None also where some of its members lie in other files.
        """
        if self._is_foreign(self.path):
            return None
        stamps = tuple(part.stamp() for part in (self._source, self.blobs) if part is not None)
        return None if not stamps or None in stamps else stamps

    def _is_foreign(self, path: Path | None) -> bool:
        """Whether it lies elsewhere than another model, or has a member that does."""
        return self.path != path or any(member._is_foreign(path) for member in self._members.values())

    def payload_size(self, weight_params: Any, field: int) -> int:
        """Return the size in bytes of a weight's detached payloads of one field, 0 if there is none."""
        return sum(self._extents[n].length for n in payloads(weight_params).get(field, ()) if n < len(self._extents))

    def full_spec(self) -> Any:
        """Return a ``Model`` message of its own with every weight in it that is not in a weight file."""
        message = Model_pb2.Model()
        message.MergeFromString(self.serialized())
        return message

    def serialized(self) -> bytes:
        """Return the message as the bytes of an ``.mlmodel`` file; weight files are not in it."""
        if self._source is None:
            return bytes(self.spec.SerializeToString())
        return self._source.read(0, self._source.size).tobytes()


def from_spec(spec: Any) -> ModelFile:
    """Wrap a ``Model`` message that is already in memory; it is checked, and not copied.

    Raises:
        FormatError: It is no ``Model`` message, is not filled in, or is newer than this code.
    """
    if not isinstance(spec, Message) or spec.DESCRIPTOR.full_name != Model_pb2.Model.DESCRIPTOR.full_name:
        raise FormatError(
            f"the model is of type {type(spec).__name__}, must be the path of a file or a Model message; "
            "of a coremltools MLModel, give get_spec()"
        )
    _check(spec, "the model")
    return ModelFile(spec)


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Open an ``.mlmodel`` file, an ``.mlpackage`` or an ``.mlmodelc``.

    Raises:
        FormatError: The file is missing, is no model, is damaged, or is newer than this code.
    """
    path = Path(os.fsdecode(path))
    if not _is_folder(path):
        return _read_single(path)
    real = path.resolve()
    suffixes = {path.suffix.lower(), real.suffix.lower()}
    if SUFFIX in suffixes:
        return _read_package(path, real)
    if _COMPILED in suffixes:
        return _read_compiled(path, real)
    raise FormatError(f"{path.name} is a directory, must be an .mlmodel file, an {SUFFIX} or an {_COMPILED}")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # ValueError: a character that no path may have; opening it says what is wrong
        return False


def _read_single(path: Path) -> ModelFile:
    source, spec, extents = _read_message(path, path.name, path.name, "an .mlmodel file")
    return ModelFile(spec, path, source, extents)


def _read_package(path: Path, real: Path) -> ModelFile:
    model = root_model(real, path.name)
    blobs = BlobFolder(model.parent, model.parent / WEIGHTS, path.name)
    source, spec, extents = _read_message(model, path.name, f"{model.name} of {path.name}", "a file")
    return ModelFile(spec, path, source, extents, blobs)


def _read_compiled(path: Path, real: Path) -> ModelFile:
    from windfall.spec.compiled import read_compiled  # its reader of MIL text is not needed for other files

    # Listed first, so that what changes meanwhile is noticed.
    before = BlobFolder(real, real / WEIGHTS, path.name)
    spec, weights = read_compiled(real)
    _check(spec, path.name)
    blobs = before if weights == before.weights else BlobFolder(real, weights, path.name)
    return ModelFile(spec, path, blobs=blobs)


def _read_message(path: Path, owner: str, name: str, kind: str) -> tuple[OpenFile, Any, list[Extent]]:
    """Open a file and parse the ``Model`` message in it; see ``open_file`` for the arguments."""
    source = open_file(path, owner, name, kind)
    try:
        _check_size(source.size, name)
        spec, extents = _parse(source, name)
        _check(spec, name)
    except BaseException:
        source.handle.close()
        raise
    return source, spec, extents


def _check_size(size: int, name: str) -> None:
    if size == 0:
        raise FormatError(f"{name} is empty, must be a Core ML model; download or convert it again")
    if size > LARGEST_FILE:
        raise FormatError(
            f"{name} has {size} bytes, an .mlmodel may have {LARGEST_FILE}; convert it to an {SUFFIX} with weight files"
        )


def _parse(source: OpenFile, name: str) -> tuple[Any, list[Extent]]:
    message = Model_pb2.Model()
    mapped = mmap.mmap(source.handle.fileno(), source.size, access=mmap.ACCESS_READ)
    with mapped, memoryview(mapped) as buffer:
        try:
            small, extents = detach(buffer, Model_pb2.Model.DESCRIPTOR)
            message.ParseFromString(small)
        except (ScanError, DecodeError, RecursionError) as error:
            hint = "it is text, not a model" if _is_text(bytes(buffer[:4096])) else "it is not one, or is cut off"
            raise FormatError(
                f"{name} cannot be read as a Core ML model: {hint}; download or convert it again"
            ) from error
    return message, extents


def _is_text(start: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n" for byte in start)


def _check(spec: Any, name: str) -> None:
    version = spec.specificationVersion
    if spec.WhichOneof("Type") is None or version < 1:
        raise FormatError(
            f"{name} is not a Core ML model: specificationVersion is {version}, must be at least 1, "
            f"and its type is {spec.WhichOneof('Type') or 'not set'}; download or convert it again"
        )
    if version > NEWEST_SPECIFICATION:
        raise FormatError(
            f"{name} has specificationVersion {version}, this windfall knows up to {NEWEST_SPECIFICATION}; "
            "upgrade with: pip install -U windfall"
        )
