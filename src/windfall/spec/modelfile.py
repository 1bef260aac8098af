"""Read a model file: its message at once, its weights when they are wanted."""

import mmap
import os
import stat
import threading
import weakref
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.spec.detach import Extent, ScanError, detach, payloads
from windfall.spec.proto import NEWEST_SPECIFICATION, Model_pb2

# protobuf itself stops here; larger models are packages that keep their weights outside the message.
LARGEST_FILE = 2**31 - 1


class Place(NamedTuple):
    """Where a weight's bytes lie: row-major, little-endian, as ONNX's external data wants them."""

    path: Path
    offset: int
    length: int


class ModelFile:
    """A Core ML model as a message, with a way to its weights.

    Attributes:
        spec: The ``Model`` message. Large weights are detached from it; ``full_spec`` has them all.
        path: Where the model lies, None if it was given as a message.
        size: The serialized model's size in bytes.
    """

    def __init__(self, spec: Any, path: Path | None, handle: BinaryIO | None, extents: list[Extent], size: int) -> None:
        self.spec = spec
        self.path = path
        self.size = size
        self._handle = handle
        self._extents = extents
        # Without links, as engines want it; looked up once, not for each weight.
        self._real_path = None if path is None else path.resolve()
        self._lock = threading.Lock()
        if handle is not None:
            self._stamp = _stamp(handle)
            weakref.finalize(self, handle.close)

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name if self.path else "the model"

    def payload(self, weight_params: Any, field: int) -> bytes | NDArray[np.uint8] | None:
        """Return the raw bytes of a weight's detached payload, None if it is not detached."""
        numbers = payloads(weight_params).get(field)
        if not numbers or self._handle is None:
            return None
        if len(numbers) > 1 or numbers[0] >= len(self._extents):
            raise FormatError(f"is stored in {len(numbers)} pieces, must be one")
        return self._read(self._extents[numbers[0]])

    def place(self, weight_params: Any, field: int) -> Place | None:
        """Return where a detached payload lies on disk; None if it is not detached, or the file was replaced since."""
        numbers = payloads(weight_params).get(field)
        if not numbers or self._real_path is None or self.stamp() is None:
            return None
        extent = self._extents[numbers[0]]
        return Place(self._real_path, extent.offset, extent.length)

    @property
    def folder(self) -> Path | None:
        """The folder that the file really lies in, None if the model was given as a message."""
        return None if self._real_path is None else self._real_path.parent

    def stamp(self) -> tuple[object, ...] | None:
        """Tell this file from all others; None if it was written to since it was opened, or is no longer there."""
        if self._real_path is None or self._handle is None:
            return None
        opened = os.fstat(self._handle.fileno())
        try:
            now = self._real_path.stat()
        except OSError:
            return None
        if not os.path.samestat(opened, now) or _stamp(self._handle) != self._stamp:
            return None
        return str(self._real_path), now.st_size, now.st_mtime_ns, now.st_ctime_ns

    def payload_size(self, weight_params: Any, field: int) -> int:
        """Return the size in bytes of a weight's detached payloads of one field, 0 if there is none."""
        return sum(self._extents[n].length for n in payloads(weight_params).get(field, ()) if n < len(self._extents))

    def full_spec(self) -> Any:
        """Return a ``Model`` message of its own with every weight in it."""
        message = Model_pb2.Model()
        message.MergeFromString(self.serialized())
        return message

    def serialized(self) -> bytes:
        """Return the model as the bytes of an ``.mlmodel`` file."""
        if self._handle is None:
            return bytes(self.spec.SerializeToString())
        return self._read(Extent(0, self.size)).tobytes()

    def _read(self, extent: Extent) -> NDArray[np.uint8]:
        """Read a piece of the file into memory that is aligned for every data type."""
        assert self._handle is not None
        values = np.empty(extent.length, dtype=np.uint8)
        rest = values.data
        with self._lock:
            self._handle.seek(extent.offset)
            # One call reads less than 2 GiB on some systems.
            while rest and (read := self._handle.readinto(rest)):  # type: ignore[attr-defined]  # typeshed: raw files
                rest = rest[read:]
            changed = _stamp(self._handle) != self._stamp
        if rest or changed:
            raise FormatError(f"{self.name} changed on disk after it was loaded; load it again")
        return values


def _stamp(handle: BinaryIO) -> tuple[int, int]:
    """Return what tells that an open file was written to: its size and the time of its last change."""
    status = os.fstat(handle.fileno())
    return status.st_size, status.st_mtime_ns


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
    return ModelFile(spec, None, None, [], spec.ByteSize())


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Open an ``.mlmodel`` file.

    Raises:
        FormatError: The file is missing, is no model, is damaged, or is newer than this code.
    """
    path = Path(os.fsdecode(path))
    handle, size = _open(path)
    try:
        spec, extents = _parse(handle, size, path.name)
        _check(spec, path.name)
    except BaseException:
        handle.close()
        raise
    return ModelFile(spec, path, handle, extents, size)


def _open(path: Path) -> tuple[BinaryIO, int]:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise FormatError(
                f"{path.name} is a directory, must be an .mlmodel file; .mlpackage and .mlmodelc are not supported yet"
            )
        # Opening a pipe would wait for its other end.
        if not stat.S_ISREG(mode):
            raise FormatError(f"{path.name} is a pipe or a device, must be an .mlmodel file; copy it to a file first")
        handle = path.open("rb", buffering=0)
    except OSError as error:
        raise FormatError(f"cannot open {path}: {error.strerror}; check the path") from error
    except ValueError as error:
        raise FormatError(
            f"cannot open {str(path)!r}: it has a character that no path may have; check the path"
        ) from error
    size = os.fstat(handle.fileno()).st_size
    problem = None
    if size == 0:
        problem = "is empty, must be a Core ML model; download or convert it again"
    elif size > LARGEST_FILE:
        problem = f"has {size} bytes, an .mlmodel may have {LARGEST_FILE}; convert it to an .mlpackage"
    if problem:
        handle.close()
        raise FormatError(f"{path.name} {problem}")
    return handle, size


def _parse(handle: BinaryIO, size: int, name: str) -> tuple[Any, list[Extent]]:
    message = Model_pb2.Model()
    with mmap.mmap(handle.fileno(), size, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as buffer:
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
