"""Packages in and out.

A package is a folder with ``Manifest.json`` and ``Data``. The manifest gives each item an identifier and a path inside
``Data``, and names the item that is the model. Its message lies there as in an ``.mlmodel`` file; what it calls
``@model_path`` is the folder of that file.
"""

import json
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windfall.errors import FormatError, WindfallError
from windfall.spec.openfile import AGAIN, open_file, path_inside, path_parts, shown
from windfall.spec.writing import write_folder

if TYPE_CHECKING:
    from windfall.spec.modelfile import ModelFile

MANIFEST = "Manifest.json"
_DATA = "Data"
WEIGHTS = "weights"
SUFFIX = ".mlpackage"
LARGEST_MANIFEST = 2**20
"""Bytes; a real manifest has 600."""
_VERSION = "1.0.0"
_AUTHOR = "com.apple.CoreML"
_MODEL_PATH = f"{_AUTHOR}/model.mlmodel"
_WEIGHTS_PATH = f"{_AUTHOR}/{WEIGHTS}"
_DESCRIPTIONS = {_MODEL_PATH: "CoreML Model Specification", _WEIGHTS_PATH: "CoreML Model Weights"}


def root_model(package: Path, name: str) -> Path:
    """Return the path of a package's model file.

    Args:
        package: The package; no part of its path is a link.
        name: What messages call it.

    Raises:
        FormatError: The manifest is missing, damaged or newer than this code, or an item is not where it says.
    """
    manifest = _read_manifest(package, name)
    entries = _checked_entries(manifest, name)
    data = path_inside(package, _DATA, name)
    places = {key: path_inside(data, path, f"{MANIFEST} of {name}") for key, path in entries.items()}
    root = manifest.get("rootModelIdentifier")
    if not isinstance(root, str):
        raise FormatError(f"{MANIFEST} of {name} has no rootModelIdentifier, which says what the model is; {AGAIN}")
    if root not in places:
        raise FormatError(
            f"{MANIFEST} of {name} has the rootModelIdentifier {shown(root)}, must be in itemInfoEntries; {AGAIN}"
        )
    if places[root].is_dir():
        raise FormatError(f"{MANIFEST} of {name} has the path {shown(entries[root])}, must be a model file; {AGAIN}")
    return places[root]


def _read_manifest(package: Path, name: str) -> Mapping[str, Any]:
    if not os.path.lexists(package / MANIFEST):
        raise FormatError(f"{name} has no {MANIFEST}, which every package must have; {AGAIN}")
    file = open_file(path_inside(package, MANIFEST, name), name, f"{MANIFEST} of {name}")
    if file.size > LARGEST_MANIFEST:
        raise FormatError(f"{MANIFEST} of {name} has {file.size} bytes, may have {LARGEST_MANIFEST}; {AGAIN}")
    try:
        manifest = json.loads(file.read(0, file.size).tobytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{MANIFEST} of {name} is not JSON, or is cut off; {AGAIN}") from error
    return _mapping(manifest, f"{MANIFEST} of {name}")


def _checked_entries(manifest: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return the path of each item."""
    version = manifest.get("fileFormatVersion")
    if not isinstance(version, str) or version.split(".")[0] != _VERSION.split(".", maxsplit=1)[0]:
        raise FormatError(
            f"{MANIFEST} of {name} has the fileFormatVersion {shown(str(version))}, this windfall knows {_VERSION}; "
            "upgrade with: pip install -U windfall"
        )
    source = f"itemInfoEntries in {MANIFEST} of {name}"
    entries = _mapping(manifest.get("itemInfoEntries"), source)
    paths = {key: _mapping(entry, source).get("path") for key, entry in entries.items()}
    if not all(isinstance(path, str) for path in paths.values()):
        raise FormatError(f"{source} has an item without a path; {AGAIN}")
    return {key: str(path) for key, path in paths.items()}


def _mapping(value: Any, source: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise FormatError(f"{source} holds {type(value).__name__}, must hold names and values; {AGAIN}")
    return value


def write_package(file: "ModelFile", path: Path, spec: Any = None) -> Path:
    """Write a model as a package, which appears whole or not at all; a package that is there already is replaced.

    Args:
        file: The model; its folder of weight files is copied.
        path: Where the package is to be.
        spec: A ``Model`` message to write in place of the model's own.

    Raises:
        WindfallError: It cannot be written.
        FormatError: The model's files have changed since it was loaded.
    """
    message = file.serialized() if spec is None else spec.SerializeToString()
    if file.blobs is not None:
        return _write(path, message, file.blobs.copy_weights)
    # Apple's tools expect a program to have the folder, even where all of its constants are in the message.
    is_program = (file.spec if spec is None else spec).WhichOneof("Type") == "mlProgram"
    return _write(path, message, Path.mkdir if is_program else None)


def write_package_files(path: Path, spec: Any, blobs: Mapping[str, bytes]) -> Path:
    """Write a package of a ``Model`` message and of the contents of its weight files.

    Args:
        path: Where the package is to be.
        spec: The message.
        blobs: The contents by their paths, which start with ``weights/``.

    Raises:
        FormatError: A path does not lie in the folder of the weights.
        WindfallError: The package cannot be written.
    """
    places = {name: path_parts(name, "the package to write", WEIGHTS) for name in blobs}

    def fill(weights: Path) -> None:
        weights.mkdir()
        for name, parts in places.items():
            target = weights.parent.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(blobs[name])

    return _write(path, spec.SerializeToString(), fill if blobs or spec.WhichOneof("Type") == "mlProgram" else None)


def _write(path: Path, message: bytes, write_weights: Callable[[Path], None] | None) -> Path:
    """Write a package.

    Args:
        path: Where it is to be.
        message: Its model.
        write_weights: Makes the folder of its weight files.
    """
    if path.suffix.lower() != SUFFIX:
        raise WindfallError(f"cannot write {str(path)!r}: the name of a package must end in {SUFFIX}; rename it")
    items = [_MODEL_PATH] if write_weights is None else [_MODEL_PATH, _WEIGHTS_PATH]

    def fill(package: Path) -> None:
        (package / MANIFEST).write_bytes(_new_manifest(items))
        model = package / _DATA / _MODEL_PATH
        model.parent.mkdir(parents=True)
        model.write_bytes(message)
        if write_weights is not None:
            write_weights(package / _DATA / _WEIGHTS_PATH)

    return write_folder(path, fill, MANIFEST)


def _new_manifest(paths: list[str]) -> bytes:
    """Return a manifest for items at some paths; the first is the model."""
    identifiers = {path: str(uuid.uuid4()).upper() for path in paths}
    entries = {
        identifiers[path]: {
            "author": _AUTHOR,
            "description": _DESCRIPTIONS[path],
            "name": path.rpartition("/")[2],
            "path": path,
        }
        for path in paths
    }
    manifest = {
        "fileFormatVersion": _VERSION,
        "itemInfoEntries": entries,
        "rootModelIdentifier": identifiers[paths[0]],
    }
    return json.dumps(manifest, indent=4).encode() + b"\n"
