"""Compiled models of Apple's compiler: folders ``<name>.mlmodelc``.

An ML program is there as text, ``model.mil``, beside its weight files. Older kinds of models have lost their layers:
they are compiled to forms that only Core ML itself can read.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from windfall.errors import FormatError, UnsupportedError, WindfallError
from windfall.spec.compiled_description import (
    Binary,
    description_of_metadata,
    description_of_program,
    name_predictions,
    parse_binary,
    parse_metadata,
)
from windfall.spec.miltext import parse_program
from windfall.spec.openfile import AGAIN, open_file, path_inside, shown
from windfall.spec.package import WEIGHTS
from windfall.spec.proto import Model_pb2

_TEXT, _BINARY, _METADATA = "model.mil", "coremldata.bin", "metadata.json"
_LARGEST = {_TEXT: 2**30, _BINARY: 2**26, _METADATA: 2**26}
_FIRST_PROGRAMS = 6
"""The specificationVersion of the first ML programs, of opset CoreML5; each opset has had its own since."""
_MOST_NAMED = 10
_ASK = "ask for the .mlmodel or .mlpackage that it was compiled from"


def read_compiled(folder: Path) -> tuple[Any, Path]:
    """Read a compiled ML program.

    Args:
        folder: The folder, ``@model_path`` in the program; no part of its path is a link.

    Returns:
        The ``Model`` message, and the folder of the weight files, which need not be there.

    Raises:
        FormatError: A file is missing or damaged, or breaks a rule.
        UnsupportedError: It is no ML program, or has values that windfall cannot read.
    """
    if not os.path.lexists(folder / _TEXT):
        raise _no_program(folder)
    spec = Model_pb2.Model()
    spec.mlProgram.CopyFrom(parse_program(_read(folder, _TEXT), f"{folder.name}/{_TEXT}"))
    binary, metadata = _binary(folder), _metadata(folder)
    described = binary is not None and binary.model_type == "mlProgram"
    if binary is not None and described:
        spec.description.CopyFrom(binary.description)
    elif metadata:
        spec.description.CopyFrom(description_of_metadata(metadata, f"{folder.name}/{_METADATA}"))
        name_predictions(spec.description, spec.mlProgram)
    else:
        spec.description.CopyFrom(description_of_program(spec.mlProgram, f"{folder.name}/{_TEXT}"))
        name_predictions(spec.description, spec.mlProgram)
    spec.specificationVersion = _version(binary if described else None, metadata, spec.mlProgram, folder.name)
    return spec, folder / WEIGHTS


def read_compiled_description(folder: Path) -> Any:
    """Read what a compiled model of any kind says of itself.

    Args:
        folder: The folder; no part of its path is a link.

    Returns:
        A ``Model`` message with its description and specificationVersion, 0 if that is unknown; it has no type.

    Raises:
        FormatError: Neither of the files with a description is there, or one is damaged.
    """
    binary, metadata = _binary(folder), _metadata(folder)
    spec = Model_pb2.Model()
    if binary is not None:
        spec.description.CopyFrom(binary.description)
    elif metadata:
        spec.description.CopyFrom(description_of_metadata(metadata, f"{folder.name}/{_METADATA}"))
    else:
        raise FormatError(f"{folder.name} has neither a {_METADATA} nor a {_BINARY} that can be read; {AGAIN}")
    spec.specificationVersion = _given_version(binary, metadata) or 0
    return spec


def _no_program(folder: Path) -> WindfallError:
    """Return the error of a folder without a program."""
    if os.path.lexists(folder / "model0"):
        return UnsupportedError(
            f"{folder.name} is a compiled pipeline of several models, which windfall cannot read{_interface(folder)}; "
            f"{_ASK}"
        )
    old = any(os.path.lexists(folder / part) for part in ("model.espresso.net", "model", "neural_network_optionals"))
    if old:
        return UnsupportedError(
            f"{folder.name} is compiled to the older espresso form, which only Core ML can read{_interface(folder)}; "
            f"{_ASK}, or compile it from its source as an ML program"
        )
    if os.path.lexists(folder / _METADATA) or os.path.lexists(folder / _BINARY):
        return UnsupportedError(
            f"{folder.name} is compiled without a {_TEXT}, so that only Core ML can read it{_interface(folder)}; {_ASK}"
        )
    return FormatError(f"{folder.name} has no {_TEXT}, which every compiled ML program has; {AGAIN}")


def _interface(folder: Path) -> str:
    """Name the inputs and outputs of a model that cannot be read; nothing if they are not known either."""
    try:
        description = read_compiled_description(folder).description
    except WindfallError:
        return ""
    sides = (("inputs", description.input), ("outputs", description.output))
    texts = [f"{side} {_names(features)}" for side, features in sides if features]
    return f" ({'; '.join(texts)})" if texts else ""


def _names(features: Sequence[Any]) -> str:
    more = f" and {len(features) - _MOST_NAMED} more" if len(features) > _MOST_NAMED else ""
    return ", ".join(shown(feature.name) for feature in features[:_MOST_NAMED]) + more


def _read(folder: Path, name: str) -> bytes:
    owner = f"{name} of {folder.name}"
    file = open_file(path_inside(folder, name, folder.name), folder.name, owner)
    try:
        if file.size > _LARGEST[name]:
            raise FormatError(f"{owner} has {file.size} bytes, may have {_LARGEST[name]}; {AGAIN}")
        return file.read(0, file.size).tobytes()
    finally:
        file.handle.close()


def _binary(folder: Path) -> Binary | None:
    return parse_binary(_read(folder, _BINARY)) if os.path.lexists(folder / _BINARY) else None


def _metadata(folder: Path) -> Mapping[str, Any]:
    if not os.path.lexists(folder / _METADATA):
        return {}
    return parse_metadata(_read(folder, _METADATA), f"{folder.name}/{_METADATA}")


def _given_version(binary: Binary | None, metadata: Mapping[str, Any]) -> int | None:
    given = metadata.get("specificationVersion", binary.version if binary else None)
    return given if isinstance(given, int) and 0 < given < 2**31 else None


def _version(binary: Binary | None, metadata: Mapping[str, Any], program: Any, name: str) -> int:
    given = _given_version(binary, metadata)
    if given is not None:
        return given
    opsets = [function.opset.removeprefix("CoreML") for function in program.functions.values()]
    numbers = [int(opset) for opset in opsets if opset.isascii() and opset.isdigit() and len(opset) < 4]
    if not numbers:
        raise FormatError(
            f"{name} says nowhere what its specificationVersion is, and has no function of an opset that tells; "
            "compile the model again"
        )
    return max(numbers) + _FIRST_PROGRAMS - 5
