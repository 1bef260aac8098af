"""Inputs as they are written on the command line, turned into values for ``predict``."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from windfall.description import ArrayType, DictionaryType, FeatureDescription, ImageType, ModelDescription
from windfall.errors import FeatureError
from windfall.features.fitting import fit_photo, open_photo

_Values = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One prediction to be made.

    Attributes:
        name: What it is called in messages.
        stem: What the names of its output files begin with.
        read: Returns its inputs.
    """

    name: str
    stem: str
    read: Callable[[], _Values]


class InputReader:
    """Reads the inputs of one model.

    Args:
        description: What the model takes.
        fit: How photos are brought to the model's size, one of ``windfall.features.fitting.FITS``.

    Attributes:
        files: The full paths of all files that were named so far.
    """

    def __init__(self, description: ModelDescription, fit: str) -> None:
        self.files: set[Path] = set()
        self._description = description
        self._inputs = {feature.name: feature for feature in description.inputs}
        self._fit = fit

    def cases(self, arguments: Sequence[str]) -> list[Case]:
        """Return the predictions that the arguments ask for.

        Raises:
            FeatureError: An argument is no file and names no input, or a shared value cannot be read.
        """
        shared: dict[str, str] = {}
        paths: list[Path] = []
        for argument in arguments:
            name, equals, text = argument.partition("=")
            if equals and name in self._inputs:
                if name in shared:
                    raise FeatureError(f"input {name!r} is given twice; give it once")
                shared[name] = text
            else:
                paths.append(self._path(argument))
        values = {name: self._parse(self._inputs[name], text, Path()) for name, text in shared.items()}
        if not paths:
            return [Case(self._description.name, self._stem(shared), lambda: values)]
        return [self._case(path, values) for path in paths]

    def _path(self, argument: str) -> Path:
        path = Path(argument)
        if path.exists():
            return path
        if "=" in argument:
            raise FeatureError(
                f"the model has no input {argument.partition('=')[0]!r}; its inputs are {self._names(self._inputs)}"
            )
        raise FeatureError(f"cannot open {argument}: no such file; give a file, or name=value")

    @staticmethod
    def _names(features: Mapping[str, Any] | Sequence[str]) -> str:
        names = [repr(name) for name in features]
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        return (", ".join(names[:10]) + more) or "none"

    def _stem(self, shared: Mapping[str, str]) -> str:
        """Name outputs after the picture where there is one, else after the model."""
        pictures = [text for name, text in shared.items() if self._inputs[name].kind == "image"]
        return Path(pictures[0]).stem if pictures else Path(self._description.name).stem

    def _case(self, path: Path, shared: _Values) -> Case:
        if path.is_dir():
            raise FeatureError(f"{path} is a directory, must be a file; name the files in it")
        self.files.add(path.resolve())
        if path.suffix.lower() == ".json":
            return Case(str(path), path.stem, lambda: shared | self._object(path))
        name = self._only("array" if path.suffix.lower() == ".npy" else "image", path, shared)
        feature = self._inputs[name]
        return Case(str(path), path.stem, lambda: shared | {name: self._parse(feature, str(path), Path())})

    def _only(self, kind: str, path: Path, shared: _Values) -> str:
        """Return the name of the one input of a kind that has no value yet."""
        named = [name for name, feature in self._inputs.items() if feature.kind == kind]
        free = [name for name in named if name not in shared]
        if len(free) == 1:
            return free[0]
        if len(free) > 1:
            raise FeatureError(f"the model has {len(free)} {kind} inputs, say which: {free[0]}={path}")
        if named:
            raise FeatureError(f"input {named[0]!r} is given already; leave out {path}")
        raise FeatureError(
            f"the model has no {kind} input for {path}; its inputs are {self._names(self._inputs)}, give name=value"
        )

    def _object(self, path: Path) -> _Values:
        values = _load_json(path)
        if not isinstance(values, dict):
            raise FeatureError(f"{path} holds {_kind(values)}, must hold an object with a value for each input")
        return {
            name: self._from_json(self._inputs[name], value, path.parent) if name in self._inputs else value
            for name, value in values.items()
        }

    def _from_json(self, feature: FeatureDescription, value: Any, folder: Path) -> Any:
        if feature.kind == "image" and not isinstance(value, str):
            raise FeatureError(
                f"input {feature.name!r} is an image, its value is {_kind(value)}; give the name of a picture file"
            )
        names_file = isinstance(value, str) and feature.kind in ("image", "array")
        return self._parse(feature, value, folder) if names_file else _typed(value, feature)

    def _parse(self, feature: FeatureDescription, text: str, folder: Path) -> Any:
        """Return a value from its text."""
        if feature.kind == "string":
            return text
        if text.lower().endswith(".npy"):
            return self._array(folder / text)
        if feature.kind == "image":
            return self._photo(feature, folder / text, text)
        if text.lower().endswith(".json"):
            self.files.add((folder / text).resolve())
            return _typed(_load_json(folder / text), feature)
        try:
            value = json.loads(_NUMBERS.get(text.strip().lower(), text))
        except (ValueError, RecursionError) as error:
            raise FeatureError(
                f"input {feature.name!r} is {_short(text)}, must be {_WANTED.get(feature.kind, 'JSON')}"
            ) from error
        return _shaped(_typed(value, feature), feature)

    def _photo(self, feature: FeatureDescription, path: Path, text: str) -> Any:
        if not path.exists():
            raise FeatureError(
                f"input {feature.name!r} is an image, and {_short(text)} is no file; give a picture file"
            )
        assert isinstance(feature.type, ImageType)
        self.files.add(path.resolve())
        return fit_photo(open_photo(path), feature.type, self._fit)

    def _array(self, path: Path) -> Any:
        self.files.add(path.resolve())
        try:
            return np.load(path, allow_pickle=False)
        except FileNotFoundError as error:
            raise FeatureError(f"cannot open {path}: no such file; check the path") from error
        except (OSError, ValueError, EOFError) as error:
            raise FeatureError(f"{path} cannot be read as a .npy file: {error}; write it with numpy.save") from error


# What JSON in Python calls them, for those who write them as Python's float() does.
_NUMBERS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
# As int() reads it, but in one spelling each, and no longer than int64 can hold.
_INTEGER = re.compile("0|-?[1-9][0-9]{0,18}")
_WANTED = {
    "array": "a number, a JSON list or a .npy file",
    "int64": "an integer",
    "double": "a number",
    "dictionary": "a JSON object or a .json file",
    "sequence": "a JSON list",
}


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FeatureError(f"cannot open {path}: {error.strerror}; check the path") from error
    except (ValueError, RecursionError) as error:
        raise FeatureError(f"{path} cannot be read as JSON: {error}") from error


def _typed(value: Any, feature: FeatureDescription) -> Any:
    """Return a dictionary with integers as keys where it must have them: in JSON, all keys are texts."""
    has_integers = isinstance(feature.type, DictionaryType) and feature.type.key == "int64"
    if not has_integers or not isinstance(value, dict):
        return value
    wrong = [key for key in value if not _INTEGER.fullmatch(key)]
    if wrong:
        raise FeatureError(f"input {feature.name!r} has the key {_short(wrong[0])}, must have integers as keys")
    return {int(key): number for key, number in value.items()}


def _shaped(value: Any, feature: FeatureDescription) -> Any:
    """Return a single number in the shape of an array that holds one."""
    shape = feature.type.shape if isinstance(feature.type, ArrayType) else ()
    is_single = bool(shape) and math.prod(shape) == 1 and isinstance(value, int | float)
    return np.full(shape, value) if is_single else value


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null", bool: "a truth value"}
    return names.get(type(value), f"the number {value}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
