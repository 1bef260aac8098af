"""The journal of a batch: a line for each item that is done, so that it can go on whenever it was stopped."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from filelock import FileLock, Timeout

from windfall.cli.photos import Photo
from windfall.errors import WindfallError

_FORM = "windfall batch 1"
_WORDS = {"model": "another model", "options": "other options", "inputs": "other photos"}
_END = {"finished": True}
_START = json.dumps({"form": _FORM})[:-1].encode()
Header = Mapping[str, Any]


class Journal:
    """A file of JSON lines: what the batch is, what became of each item in order, and whether it has finished.

    A line counts once it is complete. What a process that was killed left of another is cut off.

    Args:
        path: The file.
        header: The fingerprints of the batch, see ``header_of``.
        resume: Whether to go on with what is there.

    Attributes:
        done: How many items are done.
        failed: The records of those that failed.
        finished: Whether the batch has come to its end.

    Raises:
        WindfallError: It is another batch's, is not finished and not to be resumed, is used by another process, or
            cannot be written.
    """

    def __init__(self, path: Path, header: Header, *, resume: bool) -> None:
        self.path = path
        self.done = 0
        self.failed: list[dict[str, Any]] = []
        self.finished = False
        self._header = {"form": _FORM, **header}
        self._lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            self._file = self._open(resume)
        except Timeout as error:
            raise WindfallError(
                f"{path} is written by another process; wait for it, or give another --output"
            ) from error
        except BaseException as error:
            self._unlock()
            if isinstance(error, OSError):
                raise WindfallError(f"cannot write {str(path)!r}: {error.strerror}; check the folder") from error
            raise

    def _unlock(self) -> None:
        if self._lock.is_locked:
            with suppress(OSError):  # Windows: not while it is locked
                Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()

    def _open(self, resume: bool) -> BinaryIO:
        file = self.path.open("r+b" if self.path.exists() else "w+b")
        try:
            self._read(file, resume)
        except BaseException:
            file.close()
            raise
        return file

    def _read(self, file: BinaryIO, resume: bool) -> None:
        """Count what is there, and leave the file at the end of its last complete line."""
        start = file.read(len(_START))
        if not _START.startswith(start):
            raise WindfallError(f"{self.path} is no journal of a batch; remove it, or give another --output")
        file.seek(0)
        lines = complete_lines(file)
        header, end = next(lines, (None, 0))
        if header is not None:
            end = self._go_on(header, lines, end) if resume else self._begin_anew(header, lines)
        file.seek(end)
        file.truncate()
        if end == 0:
            self.add(self._header, file)

    def _go_on(self, header: dict[str, Any], lines: Iterator[tuple[dict[str, Any], int]], end: int) -> int:
        changed = [word for key, word in _WORDS.items() if header.get(key) != self._header[key]]
        if changed:
            what = " and ".join(changed)
            raise WindfallError(
                f"{self.path} was begun with {what}, and cannot be resumed; give the same, or remove it to begin anew"
            )
        for record, place in lines:
            end = place
            if record == _END:
                self.finished = True
                break
            self.done += 1
            if "error" in record:
                self.failed.append(record)
        return end

    def _begin_anew(self, _header: dict[str, Any], lines: Iterator[tuple[dict[str, Any], int]]) -> int:
        last = None
        for last, _ in lines:  # noqa: B007  # the last one is used
            pass
        if last is not None and last != _END:
            raise WindfallError(
                f"{self.path} is of a batch that was stopped; add --resume to go on, or remove it to begin anew"
            )
        return 0

    def add(self, record: Mapping[str, Any], file: BinaryIO | None = None) -> None:
        """Add a line; it is the system's at once, and so outlives this process.

        Raises:
            WindfallError: It cannot be written.
        """
        self.add_text(json.dumps(record, ensure_ascii=False), file)

    def add_text(self, line: str, file: BinaryIO | None = None) -> None:
        """Add a line of JSON; see ``add``."""
        target = file or self._file
        try:
            target.write(line.encode("utf-8", "surrogateescape") + b"\n")
            target.flush()
        except OSError as error:
            raise WindfallError(
                f"cannot write {str(self.path)!r}: {error.strerror}; go on with --resume when there is room"
            ) from error

    def finish(self) -> None:
        """Say that the batch has come to its end; no line may follow."""
        if not self.finished:
            self.add(_END)
        self.finished = True
        self._file.close()

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the record of each item."""
        with self.path.open("rb") as file:
            lines = complete_lines(file)
            next(lines)
            yield from (record for record, _ in lines if record != _END)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._unlock()


def complete_lines(file: BinaryIO) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each line that holds a JSON object, and where it ends; up to the first that is not complete."""
    end = 0
    for line in file:
        end += len(line)
        try:
            record = json.loads(line.decode("utf-8", "surrogateescape")) if line.endswith(b"\n") else None
        except ValueError:
            return
        if not isinstance(record, dict):
            return
        yield record, end


def header_of(model: Path, options: Mapping[str, Any], photos: Iterable[Photo]) -> Header:
    """Return what tells a batch from others: digests of the model's bytes and of the photos' names, sizes and times."""
    digest = hashlib.sha256()
    for photo in photos:
        try:
            stat = photo.path.stat()
            told = (photo.name, stat.st_size, stat.st_mtime_ns)
        except OSError:
            told = (photo.name, -1, -1)
        digest.update(os.fsencode(repr(told)) + b"\n")
    return {"model": _digest_of(model), "options": dict(options), "inputs": digest.hexdigest()}


def _digest_of(model: Path) -> str:
    files = sorted(path for path in model.rglob("*") if path.is_file()) if model.is_dir() else [model]
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
        digest.update(os.fsencode(str(path.relative_to(model))))
    return digest.hexdigest()
