"""The samples that models are compared on: inputs of the user's, pictures, folders of pictures."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from windfall.description import ImageType
from windfall.errors import FeatureError
from windfall.features.fitting import SUFFIXES, fit_photo, open_photo, picture_input, upright
from windfall.text import brief

if TYPE_CHECKING:
    from windfall.comparison.contenders import Contender

Label = str | int
_NOTHING = object()


@dataclass(frozen=True)
class Sample:
    """What all models are run on once.

    Attributes:
        name: What it is called in messages and reports.
        read: Returns the inputs for one of the models.
        label: Its true class, None where that is not known.
    """

    name: str
    read: Callable[["Contender"], Mapping[str, Any]]
    label: Label | None = None


def samples_of(samples: Any, labels: Iterable[Label] | None, fit: str) -> Iterator[Sample]:
    """Yield the samples that a user gives, one after another.

    Args:
        samples: An iterable of dictionaries, pictures and paths of pictures; or a path: of a picture, of a folder of
            pictures, or of a folder with a folder of pictures for each class.
        labels: The true class of each, None where it is not known or the folders' names tell it.
        fit: How pictures are brought to a model's size, one of ``windfall.features.fitting.FITS``.

    Raises:
        FeatureError: They are nothing of that kind, or their labels are of another number.
    """
    if labels is not None and (isinstance(labels, str | bytes | Mapping) or not isinstance(labels, Iterable)):
        raise FeatureError(f"labels is {brief(labels)}, must be a list with the class of each sample")
    if isinstance(samples, str | os.PathLike):
        found = in_path(Path(samples), fit)
    elif isinstance(samples, bytes | Mapping | Image.Image) or not isinstance(samples, Iterable):
        raise FeatureError(
            f"the samples are of type {type(samples).__name__}, must be a list of dictionaries or pictures, or a folder"
        )
    else:
        found = (_sample(value, number, fit) for number, value in enumerate(samples, 1))
    return found if labels is None else _labelled(found, labels)


def _labelled(samples: Iterator[Sample], labels: Iterable[Label]) -> Iterator[Sample]:
    rest = iter(labels)
    for number, sample in enumerate(samples, 1):
        if sample.label is not None:
            raise FeatureError("labels are given, and the samples lie in a folder for each class; leave labels out")
        label = next(rest, _NOTHING)
        if label is _NOTHING:
            raise FeatureError(f"there are {number - 1} labels for more samples, must be one for each")
        yield Sample(sample.name, sample.read, as_label(label))
    if next(rest, _NOTHING) is not _NOTHING:
        raise FeatureError("there are more labels than samples, must be one for each")


def as_label(label: Any) -> Label:
    """Return a label as a text or an integer.

    Raises:
        FeatureError: It is neither.
    """
    if isinstance(label, str):
        return label
    try:
        return int(label.__index__())  # NumPy's integers too
    except (AttributeError, TypeError) as error:
        raise FeatureError(f"labels has {brief(label)}, must have texts or integers") from error


def _sample(value: Any, number: int, fit: str) -> Sample:
    name = f"sample {number}"
    if isinstance(value, Mapping):
        return Sample(name, lambda _: value)
    if isinstance(value, str | os.PathLike):
        return photo(Path(value), fit)
    if isinstance(value, Image.Image):
        picture = upright(value)
        return Sample(name, lambda contender: _fitted(picture, name, contender, fit))
    raise FeatureError(
        f"{name} is of type {type(value).__name__}, must be a dictionary of inputs, a picture or the path of one"
    )


def photo(path: Path, fit: str, label: Label | None = None) -> Sample:
    """Return a picture file as a sample; it is read once for all models."""
    opened = cache(lambda: open_photo(path))
    return Sample(str(path), lambda contender: _fitted(opened(), str(path), contender, fit), label)


def _fitted(picture: Image.Image, name: str, contender: "Contender", fit: str) -> Mapping[str, Any]:
    feature = picture_input(contender.inputs)
    if feature is None:
        inputs = ", ".join(f"{brief(f.name)} ({f.kind})" for f in contender.inputs[:10])
        raise FeatureError(
            f"{name} is a picture, and {contender.name} is not a model of one image input; "
            f"give dictionaries, its inputs are {inputs or 'none'}"
        )
    assert isinstance(feature.type, ImageType)
    return {feature.name: fit_photo(picture, feature.type, fit)}


def in_path(path: Path, fit: str) -> Iterator[Sample]:
    """Yield the pictures of a path: a file, a folder of pictures, or a folder with a folder for each class.

    Raises:
        FeatureError: There is nothing of that kind.
    """
    if not path.is_dir():
        return iter([photo(path, fit)])
    pictures = pictures_in(path)
    return (photo(picture, fit) for picture in pictures) if pictures else in_classes(path, fit)


def in_classes(folder: Path, fit: str) -> Iterator[Sample]:
    """Yield the pictures in the folders of a folder, with their folder's name as their label.

    Raises:
        FeatureError: There are none.
    """
    classes = {path.name: pictures_in(path) for path in _listed(folder) if path.is_dir()}
    if not any(classes.values()):
        raise FeatureError(
            f"{folder} has no pictures ({', '.join(sorted(SUFFIXES))}) in its folders, must have one folder of them "
            "for each class, or pictures of its own"
        )
    return (photo(path, fit, name) for name, paths in classes.items() for path in paths)


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures that lie in a folder itself, by name."""
    return [path for path in _listed(folder) if path.suffix.lower() in SUFFIXES and path.is_file()]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise FeatureError(f"cannot open {folder}: {error.strerror}; check the path") from error
