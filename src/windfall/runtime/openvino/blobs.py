"""Keep what OpenVINO has made of a graph in the cache, so that a later start neither parses nor rewrites the graph.

A blob is OpenVINO's own export of a compiled model, complete with its weights. It is mapped, not read: what OpenVINO
packs into another form is passed over once, and the system takes such pages back when it wants to. It is valid for one
graph, model file, processor, number of threads and release of OpenVINO, all of which are part of its name.

An entry is a line that says what it is, a line of JSON, zeros up to a multiple of 64 bytes, the blob, and a CRC-32 of
all that and its name. To import a damaged blob might end the process, so that is compared first; while OpenVINO is
imported, as both take about as long.
"""

import hashlib
import io
import json
import mmap
import os
import platform
import threading
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from windfall.errors import WindfallError
from windfall.runtime.cache import FORMS, LARGEST, LONGEST_ABOUT, OPENVINO, CompileCache, cache_folder
from windfall.runtime.choices import installed
from windfall.runtime.engine import EngineOptions, available_cores
from windfall.runtime.openvino.binding import binding, core
from windfall.runtime.serialized import SerializedModel

FORM = FORMS[OPENVINO]
LARGEST_BLOB = LARGEST // 2
"""Bytes of the largest blob that is kept, so that no single model fills the cache."""
_ALIGNMENT = 64
_CHECKSUM = 4
_PIECE = 2**20
_CPUINFO = Path("/proc/cpuinfo")
_ONE_PROCESSOR = 2**14


class Blob(NamedTuple):
    """A compiled model that was kept.

    Attributes:
        compiled: OpenVINO's ``CompiledModel``.
        inputs: The names of the graph's inputs, in order.
        outputs: The names of its outputs.
        is_all: Whether OpenVINO computes all of the graph by itself.
        memory: What the compiled model reads weights from; it must live as long.
    """

    compiled: Any
    inputs: list[str]
    outputs: list[str]
    is_all: bool
    memory: NDArray[np.uint8]


def blob_name(model: SerializedModel, options: EngineOptions) -> str | None:
    """Return the name of the entry for a graph on this processor; None if nothing is to be kept of it.

    A program that is run by several threads at once is for a batch, which takes longer than to compile it.
    """
    if model.origin is None or cache_folder() is None or options.streams > 1:
        return None
    threads = options.threads or available_cores()
    parts = (model.origin.key, threads, options.ranged, _processor(), installed("openvino"), installed("windfall"))
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@cache
def _processor() -> tuple[str, ...]:
    """Tell this processor from others that share a cache folder."""
    try:
        with _CPUINFO.open(encoding="utf-8", errors="replace") as file:
            first = file.read(_ONE_PROCESSOR).partition("\n\n")[0].splitlines()
    except OSError:  # a system other than Linux
        return platform.machine(), os.environ.get("PROCESSOR_IDENTIFIER", "")
    return tuple(line for line in first if line.startswith(("model name", "flags")))


def kept_blob(name: str, properties: Mapping[str, Any]) -> Blob | None:
    """Import a blob; None if there is none, or it is damaged."""
    folder = cache_folder()
    path = Path() if folder is None else folder / f"{name}{OPENVINO}"
    try:
        with path.open("rb") as file:
            # OpenVINO takes no memory that may only be read; it has not been seen to write there.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        memory = np.frombuffer(mapped, np.uint8)
        about, start = _read_head(memory)
        if not _is_whole(memory, name):
            return None
        tensor = binding().Tensor(memory[start:-_CHECKSUM], shared_memory=True)
        compiled = core().import_model(tensor, "CPU", properties)
        blob = Blob(compiled, about["inputs"], about["outputs"], about["is_all"], memory)
    except Exception:  # noqa: BLE001  # those of OpenVINO share no other base; the graph is compiled then
        return None
    with suppress(OSError):  # a folder that may only be read
        os.utime(path)
    return blob


def _read_head(memory: NDArray[np.uint8]) -> tuple[Any, int]:
    """Return what the line of JSON says, and where the blob begins."""
    head = memory[: len(FORM) + LONGEST_ABOUT].tobytes()
    if not head.startswith(FORM):
        raise ValueError(head[: len(FORM)])
    end = head.index(b"\n", len(FORM)) + 1
    return json.loads(head[len(FORM) : end]), end + -end % _ALIGNMENT


def _is_whole(memory: NDArray[np.uint8], name: str) -> bool:
    """Tell whether an entry is as it was written; OpenVINO's libraries are loaded meanwhile."""
    found: list[int] = []
    thread = threading.Thread(
        target=lambda: found.append(zlib.crc32(memory[:-_CHECKSUM].data, zlib.crc32(name.encode()))), daemon=True
    )
    thread.start()
    core().get_versions("CPU")
    thread.join()
    return found == [int.from_bytes(memory[-_CHECKSUM:].tobytes(), "little")]


def keep_blob(
    name: str, model: SerializedModel, compiled: Any, inputs: Sequence[str], outputs: Sequence[str], *, is_all: bool
) -> None:
    """Keep a compiled model; nothing happens where it is too large, or the cache cannot be written.

    Args:
        name: The name of the entry.
        model: The graph that was compiled.
        compiled: OpenVINO's ``CompiledModel``.
        inputs: The names of the graph's inputs.
        outputs: The names of its outputs.
        is_all: Whether OpenVINO computes all of the graph by itself.
    """
    folder = cache_folder()
    if folder is None or model.origin is None:
        return
    about = {"model": model.origin.model, "inputs": list(inputs), "outputs": list(outputs), "is_all": is_all}
    head = FORM + json.dumps(about).encode() + b"\n"
    if len(head) > len(FORM) + LONGEST_ABOUT:
        return

    head += bytes(-len(head) % _ALIGNMENT)
    with suppress(Exception):  # those of OpenVINO share no other base
        CompileCache(folder).keep(f"{name}{OPENVINO}", lambda file: _write(file, name, head, compiled))


def _write(file: IO[bytes], name: str, head: bytes, compiled: Any) -> None:
    """Write an entry."""
    file.write(head)
    export = _Export(file)
    compiled.export_model(export)
    if export.error is not None:
        raise export.error
    file.flush()
    # The blob's first bytes were written last, so the checksum is taken of what was written.
    checksum = zlib.crc32(name.encode())
    with Path(file.name).open("rb") as written:
        while piece := written.read(_PIECE):
            checksum = zlib.crc32(piece, checksum)
    file.seek(0, io.SEEK_END)
    file.write(checksum.to_bytes(_CHECKSUM, "little"))


class _Export(io.BytesIO):
    """What OpenVINO exports to; it takes nothing but a ``BytesIO``, and drops errors.

    Attributes:
        error: The first one.
    """

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self.error: Exception | None = None
        self._file = file
        self._start = file.tell()

    def write(self, data: Any) -> int:
        """Write to the file at once."""
        try:
            self._file.write(data)
            if self._file.tell() > LARGEST_BLOB:
                raise WindfallError(f"a blob has over {LARGEST_BLOB:,} bytes")
        except Exception as error:
            self.error = self.error or error
            raise
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place in the blob."""
        return self._file.seek(offset + (self._start if whence == io.SEEK_SET else 0), whence) - self._start

    def tell(self) -> int:
        """Return the place in the blob."""
        return self._file.tell() - self._start
