"""Packages, damaged: the manifest, the weight file, and what lies where."""

import json
import os
import random
import shutil
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.mutations.harness import Group, Mutation
from tests.mutations.messages import EXTREMES, mutate_bytes
from tests.mutations.programs import classifier, compressed, fresh, write_package
from windfall.spec.package import LARGEST_MANIFEST

PER_GROUP = 450
_MANIFEST = {
    "fileFormatVersion": "1.0.0",
    "itemInfoEntries": {
        "A": {"author": "com.apple.CoreML", "description": "a model", "name": "model.mlmodel",
              "path": "com.apple.CoreML/model.mlmodel"},
        "B": {"author": "com.apple.CoreML", "description": "its weights", "name": "weights",
              "path": "com.apple.CoreML/weights"},
    },
    "rootModelIdentifier": "A",
}  # fmt: skip
_PATHS = ("", ".", "..", "/", "/etc/passwd", "../m.mlpackage", "com.apple.CoreML/../../..", "com.apple.CoreML",
          "com.apple.CoreML/weights", "com.apple.CoreML/weights/weight.bin", "C:\\model", "\0", "\n", "é" * 300,
          "a/" * 3000 + "b", "./com.apple.CoreML//model.mlmodel", "\ud800")  # fmt: skip
_KINDS = (None, True, 0, -1, 2**70, 1e308, "", "1.0.0", "9.9.9", [], {}, [[]], {"path": 5})
_SENTINEL = b"\xef\xbe\xad\xde"
# Where the numbers lie in a blob's header; the file's has the first two.
_NUMBERS = ((0, "<I"), (4, "<I"), (8, "<Q"), (16, "<Q"), (24, "<Q"))
_FIELDS = ("fileFormatVersion", "itemInfoEntries", "rootModelIdentifier", "path", "name", "author")


def damaged_manifest(_index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a package whose manifest has other values, or other bytes."""
    mutation = write_package(fresh(compressed), rng, folder)
    manifest = mutation.model / "Manifest.json"
    text = json.dumps(_MANIFEST, indent=4)
    if rng.random() < 0.3:
        manifest.write_bytes(mutate_bytes(text.encode(), rng))
        return mutation
    content = json.loads(text)
    for _ in range(rng.choice((1, 1, 2))):
        _change(content, rng)
    text = json.dumps(content)
    if rng.random() < 0.05:
        text = rng.choice((text + " " * LARGEST_MANIFEST, "[" * 100_000, text.replace("1.0.0", "NaN"), '{"a":' * 5000))
    manifest.write_text(text)
    return mutation


def _change(content: Any, rng: random.Random) -> None:
    """Change a value somewhere in what JSON has."""
    holders = [holder for holder in _holders(content) if holder]
    holder = rng.choice(holders)
    key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    kind = rng.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice((*_FIELDS, *holder))] = holder.pop(key)
    elif kind == 2:
        holder[key] = rng.choice(_KINDS)
    else:
        holder[key] = rng.choice(_PATHS)


def _holders(content: Any) -> list[Any]:
    if not isinstance(content, dict | list):
        return []
    children = content.values() if isinstance(content, dict) else content
    return [content, *(inner for child in children for inner in _holders(child))]


def damaged_weights(_index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a package whose weight file has other bytes, or other numbers in its headers."""
    base = fresh(compressed)
    ((name, data),) = base.blobs.items()
    if rng.random() < 0.4:
        data = mutate_bytes(data, rng)
    else:
        for _ in range(rng.choice((1, 1, 2))):
            data = _change_number(data, rng)
    return write_package(base._replace(blobs={name: data}), rng, folder)


def _change_number(data: bytes, rng: random.Random) -> bytes:
    """Give a number of the file's header, or of a blob's, another value."""
    starts = [at for at in range(0, len(data) - 63, 64) if at == 0 or data[at : at + 4] == _SENTINEL]
    start = rng.choice(starts)
    at, form = rng.choice(_NUMBERS if start else _NUMBERS[:2])
    (old,) = struct.unpack_from(form, data, start + at)
    near = (old + 1, old - 1, old + 64, old - 64, old * 2, old // 2, 64, len(data), len(data) - 64, rng.randrange(20))
    number = rng.choice((*near, *EXTREMES)) % 2 ** (8 * struct.calcsize(form))
    out = bytearray(data)
    struct.pack_into(form, out, start + at, number)
    return bytes(out)


def damaged_structure(_index: int, rng: random.Random, folder: Path) -> Mutation:
    """Return a package in which files are missing, too many, links, pipes or of another kind."""
    base = fresh(rng.choice((compressed, compressed, classifier)))
    blobs = base.blobs or {"weights/weight.bin": b"", "weights/a/b.bin": bytes(64)}
    mutation = write_package(base._replace(blobs=blobs), rng, folder)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = sorted(mutation.model.rglob("*"))
        if places:
            rng.choice(_CHANGES)(rng.choice(places), rng, folder)
    return mutation


def _remove(place: Path, _rng: random.Random, _folder: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


def _rename(place: Path, rng: random.Random, _folder: Path) -> None:
    new = place.with_name(rng.choice(("model.mlmodel", "weights", "weight.bin", "Data", "é", "x" * 200)))
    if not os.path.lexists(new):
        place.rename(new)


def _make_directory(place: Path, rng: random.Random, folder: Path) -> None:
    _remove(place, rng, folder)
    place.mkdir()


def _make_file(place: Path, rng: random.Random, folder: Path) -> None:
    _remove(place, rng, folder)
    place.write_bytes(rng.choice((b"", b"{}", bytes(64), bytes(5000), b"version https://git-lfs.github.com/spec/v1\n")))


def _make_link(place: Path, rng: random.Random, folder: Path) -> None:
    """Put a link into a file's or folder's place: to it, moved away; to itself, a folder around it, nothing."""
    moved = folder / f"moved{rng.random()}"
    place.rename(moved)
    place.symlink_to(rng.choice((moved, moved, folder, place, Path("/dev/zero"), Path("/nothing"), Path(".."))))


def _make_pipe(place: Path, rng: random.Random, folder: Path) -> None:
    _remove(place, rng, folder)
    os.mkfifo(place)


def _make_sparse(place: Path, rng: random.Random, folder: Path) -> None:
    """Put a file of 3 GiB into a place; it needs nothing on disk where the system has files with holes."""
    content = place.read_bytes() if place.is_file() and not place.is_symlink() else b""
    _remove(place, rng, folder)
    with place.open("wb") as file:
        file.write(content)
        file.truncate(rng.choice((len(content) // 2, 3 * 2**30)))


def _add_many(place: Path, rng: random.Random, _folder: Path) -> None:
    target = place if place.is_dir() else place.parent
    for index in range(rng.choice((1, 3, 30))):
        (target / f"more{index}").write_bytes(b"more")


_CHANGES: Sequence[Callable[[Path, random.Random, Path], None]] = (
    _remove, _rename, _make_directory, _make_file, _make_sparse, _add_many,
    *((_make_link, _make_link, _make_pipe) if sys.platform != "win32" else ()),
)  # fmt: skip

GROUPS: Mapping[str, Group] = {
    "package-manifest": Group(PER_GROUP, damaged_manifest),
    "package-weights": Group(PER_GROUP, damaged_weights),
    "package-structure": Group(PER_GROUP, damaged_structure),
}
