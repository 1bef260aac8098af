"""Where the results of a batch go: pictures in a folder, or one file of rows."""

import csv
import io
import json
import os
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from windfall.cli.photos import Photo
from windfall.cli.results import finite, rank
from windfall.description import ModelDescription
from windfall.errors import FeatureError, UnsupportedError, WindfallError
from windfall.spec.writing import write_file

_CHUNK = 1000
"""Rows of a Parquet file that are in memory at once."""


class CannotWriteError(WindfallError):
    """A result cannot be written: none of those that follow could be."""


class Sink(ABC):
    """Takes results; ``put`` is called in several threads.

    Attributes:
        journal: The path of the journal.
        errors: The path of the file with the items that failed.
    """

    journal: Path
    errors: Path

    @abstractmethod
    def put(self, number: int, photo: Photo, result: dict[str, Any]) -> str:
        """Write what belongs to one item; returns its line for the journal."""

    @abstractmethod
    def end(self, records: Iterable[dict[str, Any]]) -> None:
        """Write what belongs to all items, given their lines."""


def sink_for(output: Path, description: ModelDescription, photos: Sequence[Photo], top: int | None) -> Sink:
    """Return where results go: into a file, if the name ends like one of rows, else into a folder.

    Raises:
        FeatureError: It cannot hold what the model gives, or a result would overwrite a photo.
        UnsupportedError: Parquet is not installed.
    """
    pictures = [feature.name for feature in description.outputs if feature.kind == "image"]
    suffix = output.suffix.lower()
    if suffix in _WRITERS and not output.is_dir():
        if pictures:
            raise FeatureError(f"output {pictures[0]!r} is a picture, which {output} cannot hold; give a folder")
        if suffix == ".parquet" and find_spec("pyarrow") is None:
            raise UnsupportedError(
                f"{output} needs pyarrow, which is not installed: pip install 'windfall[parquet]', or name a .jsonl or "
                ".csv file"
            )
        return RowFile(output, [feature.name for feature in description.outputs], top)
    if suffix and not output.is_dir():
        raise FeatureError(
            f"{output} ends in {output.suffix}, must end in {', '.join(_WRITERS)}, or be a folder; make a folder of "
            "that name first, if it is to be one"
        )
    if not pictures:
        names = ", ".join(repr(feature.name) for feature in description.outputs[:10]) or "nothing"
        raise FeatureError(
            f"the model gives no picture, but {names}; name a file with --output that ends in {', '.join(_WRITERS)}"
        )
    return PictureFolder(output, pictures, photos, top)


class PictureFolder(Sink):
    """Writes the pictures that a model gives for a photo where the photo lies within its folder.

    Args:
        folder: Where they go.
        pictures: The names of the outputs that are pictures.
        photos: All photos.
        top: How many classes to keep of what is no picture, None for all.

    Raises:
        FeatureError: A picture would overwrite a photo.
    """

    def __init__(self, folder: Path, pictures: Sequence[str], photos: Sequence[Photo], top: int | None) -> None:
        self.journal = folder / ".windfall-batch.jsonl"
        self.errors = folder / "errors.jsonl"
        self._folder = folder
        self._pictures = pictures
        self._top = top
        self._stems = _stems(photos)
        self._folders = _folders(folder, pictures)
        inputs = {os.path.realpath(photo.path) for photo in photos}
        for place in self._folders.values():
            self._refuse_inputs(place, inputs)

    def _refuse_inputs(self, folder: Path, inputs: set[str]) -> None:
        real = os.path.realpath(folder)
        for stem in self._stems:
            for suffix in (".png", ".tiff"):
                path = f"{stem}{suffix}"
                if os.path.normpath(os.path.join(real, path)) in inputs:  # noqa: PTH118  # many times as fast
                    raise FeatureError(
                        f"the output {folder / path} would overwrite a photo; give another folder with --output"
                    )

    def put(self, number: int, photo: Photo, result: dict[str, Any]) -> str:
        """Write the pictures, and what else there is as a JSON file beside them."""
        files = []
        for name in self._pictures:
            picture = result.pop(name)
            suffix, kind = (".tiff", "TIFF") if picture.mode == "F" else (".png", "PNG")
            buffer = io.BytesIO()
            picture.save(buffer, kind)
            files.append(self._write(self._folders[name] / f"{self._stems[number]}{suffix}", buffer.getvalue()))
        if result:
            text = json.dumps(finite(_record(result, self._top)), ensure_ascii=False, allow_nan=False)
            files.append(self._write(self._folder / f"{self._stems[number]}.json", text.encode()))
        return json.dumps({"input": photo.name, "files": files}, ensure_ascii=False)

    def _write(self, path: Path, data: bytes) -> str:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, data)
        except OSError as error:
            raise CannotWriteError(f"cannot make the folder {path.parent}: {error.strerror}") from error
        except WindfallError as error:
            raise CannotWriteError(str(error)) from error
        return path.relative_to(self._folder).as_posix()

    def end(self, records: Iterable[dict[str, Any]]) -> None:
        """Nothing is left to write."""


def _folders(folder: Path, pictures: Sequence[str]) -> dict[str, Path]:
    """Return where the pictures of each output go: for several outputs a folder each."""
    if len(pictures) == 1:
        return {pictures[0]: folder}
    # Names of outputs come from the model's file: nothing of them may lead out of the folder.
    clean = [re.sub(r"[^\w-]", "_", name)[:100] or "_" for name in pictures]
    unlike = len({name.casefold() for name in clean}) == len(clean)
    return {
        name: folder / (short if unlike else f"{number}_{short}")
        for number, (name, short) in enumerate(zip(pictures, clean, strict=True), 1)
    }


def _stems(photos: Sequence[Photo]) -> list[str]:
    """Return what the names of results begin with: those of the photos, made unlike where they are alike."""
    used: set[str] = set()
    stems = []
    for photo in photos:
        stem = unused = str(PurePosixPath(photo.name).with_suffix(""))
        number = 1
        while unused.casefold() in used:
            number += 1
            unused = f"{stem}_{number}"
        used.add(unused.casefold())
        stems.append(unused)
    return stems


class RowFile(Sink):
    """Writes one file with a row for each photo, once all are there.

    Args:
        path: The file.
        names: The names of the outputs.
        top: How many classes to keep, None for all.
    """

    def __init__(self, path: Path, names: Sequence[str], top: int | None) -> None:
        self.journal = path.with_name(f"{path.name}.partial")
        self.errors = path.with_name(f"{path.name}.errors.jsonl")
        self._path = path
        self._names = names
        self._top = top

    def put(self, _number: int, photo: Photo, result: dict[str, Any]) -> str:
        """Return the row."""
        return json.dumps({"input": photo.name, "outputs": _record(result, self._top)}, ensure_ascii=False)

    def end(self, records: Iterable[dict[str, Any]]) -> None:
        """Write the file beside its place, rename it into it, and remove the journal."""
        rows = (record for record in records if "error" not in record)
        temporary = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}")
        try:
            _WRITERS[self._path.suffix.lower()](temporary, rows, self._names)
            temporary.replace(self._path)
            self.journal.unlink()
        except OSError as error:
            raise WindfallError(f"cannot write {str(self._path)!r}: {error.strerror}; check the folder") from error
        finally:
            temporary.unlink(missing_ok=True)


def _record(result: Mapping[str, Any], top: int | None) -> dict[str, Any]:
    return {name: _plain(value, top) for name, value in result.items()}


def _plain(value: Any, top: int | None) -> Any:
    """Return a value as JSON has it: arrays as nested lists, classes by their probabilities, largest first."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(label): float(number) for label, number in sorted(value.items(), key=rank)[:top]}
    return value


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]], _names: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(finite(row), ensure_ascii=False, allow_nan=False) + "\n")


def _write_csv(path: Path, rows: Iterator[dict[str, Any]], names: Sequence[str]) -> None:
    """Arrays and dictionaries are JSON in their cells."""
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["input", *names])
        for row in rows:
            writer.writerow([row["input"], *(_cell(row["outputs"].get(name)) for name in names)])


def _cell(value: Any) -> Any:
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False) if isinstance(value, list | dict) else value


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]], names: Sequence[str]) -> None:
    """Arrays are lists, dictionaries JSON."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer, schema = None, None
    while chunk := list(islice(rows, _CHUNK)):
        columns = {"input": [row["input"] for row in chunk]}
        for name in names:
            values = [row["outputs"].get(name) for row in chunk]
            columns[name] = [_cell(value) if isinstance(value, dict) else value for value in values]
        table = pa.Table.from_pydict(columns, schema=schema)
        schema = table.schema
        writer = writer or pq.ParquetWriter(path, schema)
        writer.write_table(table)
    if writer is None:
        pq.write_table(pa.table({"input": pa.array([], pa.string())}), path)
    else:
        writer.close()


_WRITERS: Mapping[str, Callable[[Path, Iterator[dict[str, Any]], Sequence[str]], None]] = {
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
"""What writes a file of rows, by the ending of its name."""
