"""Model files that another model names: they are looked for in folders that the user allows, and nowhere else.

Source: ``LinkedModelFile`` in LinkedModel.proto.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from windfall.errors import FormatError, UnsupportedError
from windfall.features import arrays, images
from windfall.spec.modelfile import ModelFile, read_model_file
from windfall.spec.openfile import path_inside, path_parts, shown

_COMPILED = ".mlmodelc"
_UNCOMPILED = (".mlmodel", ".mlpackage")
_MOST_PATHS = 100
Folders = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class LinkedFolders:
    """The folders in which linked models may lie.

    Args:
        folders: One path or several.

    Raises:
        UnsupportedError: They are no paths.
        FormatError: One of them is no folder.
    """

    def __init__(self, folders: Folders) -> None:
        if isinstance(folders, str | os.PathLike):
            folders = [folders]
        if not isinstance(folders, Iterable):
            raise UnsupportedError(f"linked_models is {folders!r}, must be the path of a folder, or a list of them")
        self.folders = [_real_folder(folder) for folder in folders]

    def find(self, file: ModelFile) -> ModelFile:
        """Open the model file that a ``linkedModel`` names.

        Its search path counts inside the folders, and so does a place on the device that it was made for, such as
        ``$BUNDLE_MAIN`` or an absolute path: each folder itself stands for it. An app has its models compiled; where
        the name is that of a compiled one, a file or a package of that name is taken too.

        Raises:
            FormatError: It is in none of the folders, its path leads out of them, or it is no model.
        """
        name = linked_name(file.spec)
        for folder in self.folders:
            for parts in _places(file, name):
                if os.path.lexists(folder.joinpath(*parts)):
                    return read_model_file(path_inside(folder, "/".join(parts), file.name))
        searched = ", ".join(map(str, self.folders)) or "no folder at all"
        raise FormatError(
            f"{file.name} needs the model file {shown(name)}, which is not in {searched}; put it there, or give its "
            "folder: load(..., linked_models=FOLDER)"
        )


def linked_name(spec: Any) -> str:
    """Return the name of the file that a ``linkedModel`` needs."""
    return str(spec.linkedModel.linkedModelFile.linkedModelFileName.defaultValue)


def _real_folder(folder: Any) -> Path:
    try:
        path = Path(os.fsdecode(folder))
        if path.is_dir():
            return path.resolve()
    except TypeError as error:
        raise UnsupportedError(
            f"linked_models has {folder!r}, must be the path of a folder, or a list of them"
        ) from error
    except (OSError, ValueError):  # ValueError: a character that no path may have
        pass
    raise FormatError(f"linked_models has {str(folder)!r}, which is no folder; check the path")


def _places(file: ModelFile, name: str) -> Iterator[list[str]]:
    """Yield the places inside a folder where a linked model may be."""
    names = _names(file, name)
    paths = file.spec.linkedModel.linkedModelFile.linkedModelSearchPath.defaultValue.split(":")
    if len(paths) > _MOST_PATHS:
        raise FormatError(f"{file.name} has {len(paths)} search paths for its linked model, may have {_MOST_PATHS}")
    for path in dict.fromkeys(map(_inner_path, paths)):
        folder = path_parts(path, file.name) if path.strip("./") else []
        if ".." in path.split("/"):
            raise FormatError(f"{file.name} has the path {shown(path)}, which must lie inside its folder")
        yield from ([*folder, one] for one in names)


def _inner_path(path: str) -> str:
    """Return a search path inside a folder; empty, the folder itself, for a place on a device."""
    return "" if path.startswith(("/", "$")) else path


def _names(file: ModelFile, name: str) -> list[str]:
    if len(path_parts(name, file.name)) > 1 or "/" in name:
        raise FormatError(f"{file.name} links to {shown(name)}, must be the name of a file, without a folder")
    path = Path(name)
    others = _UNCOMPILED if path.suffix.lower() == _COMPILED else ()
    return [name, *(f"{path.stem}{suffix}" for suffix in others)]


def check_fits(file: ModelFile, linked: ModelFile) -> None:
    """Check that a linked model takes and gives what the model that names it declares.

    Raises:
        FormatError: An input or output is missing, too much, or of another type.
    """
    ours, theirs = _interface(file.spec), _interface(linked.spec)
    for what, declared, given in (("input", ours.input, theirs.input), ("output", ours.output, theirs.output)):
        found = {feature.name: feature for feature in given}
        more = sorted(found.keys() - {feature.name for feature in declared})
        if more:
            raise _unfit(linked, file, what, more[0], "the model that links to it does not have")
        for feature in declared:
            if feature.name not in found:
                raise _unfit(file, linked, what, feature.name, "the linked model does not have")
            if not _same_type(feature.type, found[feature.name].type):
                raise _unfit(file, linked, what, feature.name, "the linked model declares in another type or size")


def _unfit(file: ModelFile, other: ModelFile, what: str, name: str, why: str) -> FormatError:
    return FormatError(
        f"{file.name} has the {what} {name!r}, which {why} ({other.name}); give the file that was made for it"
    )


def _interface(spec: Any) -> Any:
    """Return what has the inputs and outputs: the description, or that of the default function."""
    functions = list(spec.description.functions)
    default = spec.description.defaultFunctionName
    return next((f for f in functions if f.name == default), functions[0] if functions else spec.description)


def _same_type(one: Any, other: Any) -> bool:
    kind = one.WhichOneof("Type")
    return kind == other.WhichOneof("Type") and _SAME.get(kind, lambda _one, _other: True)(one, other)


def _same_array(one: Any, other: Any) -> bool:
    shape, array = arrays.default_shape(one.multiArrayType), other.multiArrayType
    return not shape or not arrays.default_shape(array) or arrays.fits(shape, array)


def _same_image(one: Any, other: Any) -> bool:
    return images.fits(images.default_size(one.imageType), other.imageType)


_SAME: Mapping[str | None, Callable[[Any, Any], bool]] = {
    "multiArrayType": _same_array,
    "imageType": _same_image,
    "dictionaryType": lambda one, other: (
        one.dictionaryType.WhichOneof("KeyType") == other.dictionaryType.WhichOneof("KeyType")
    ),
    "sequenceType": lambda one, other: one.sequenceType.WhichOneof("Type") == other.sequenceType.WhichOneof("Type"),
}
"""Whether two features of a type are the same, by the member of the oneof ``Type`` of ``FeatureType``."""
