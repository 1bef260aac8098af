"""What a batch is made of: inputs as ``predict`` takes them, pictures, and paths of pictures."""

import os
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windfall.errors import FeatureError
from windfall.text import brief

if TYPE_CHECKING:
    from PIL import Image

    from windfall.features.described import FeatureDescription, ImageType
    from windfall.model import Model


class ItemReader:
    """Turns an item into the inputs of a prediction.

    Args:
        model: What is to be run.
        fit: How pictures are brought to its size, one of ``windfall.features.fitting.FITS``.

    Raises:
        FeatureError: ``fit`` is none of them.
    """

    def __init__(self, model: "Model", fit: str) -> None:
        from windfall.features.fitting import FITS

        if fit not in FITS:
            raise FeatureError(f"fit is {brief(fit)}, must be one of: {', '.join(FITS)}")
        self._model = model
        self._fit = fit
        self._lock = threading.Lock()

    def read(self, item: Any) -> Mapping[str, Any]:
        """Return the inputs that an item stands for.

        Raises:
            FeatureError: It is a picture that cannot be read, or is no picture and no dictionary.
        """
        if isinstance(item, dict):  # mostly
            return item
        if isinstance(item, str | os.PathLike):
            return self._path(Path(item))
        if _is_picture(item):
            from windfall.features.fitting import upright

            return self._fitted(upright(item), "the item")
        return item  # type: ignore[no-any-return]  # what is no dictionary, the binder refuses

    def _path(self, path: Path) -> Mapping[str, Any]:
        from windfall.features.fitting import fit_file

        feature = self._feature_for(str(path))
        return {feature.name: fit_file(path, self._image(feature), self._fit)}

    def _fitted(self, picture: "Image.Image", name: str) -> Mapping[str, Any]:
        from windfall.features.fitting import fit_photo

        feature = self._feature_for(name)
        return {feature.name: fit_photo(picture, self._image(feature), self._fit)}

    def _feature_for(self, name: str) -> "FeatureDescription":
        with self._lock:
            feature = self._feature
        if feature is None:
            listed = self._described[:10]
            inputs = ", ".join(f"{brief(feature.name)} ({feature.kind})" for feature in listed) or "none"
            raise FeatureError(
                f"{name} is a picture, and the model is not one of one image input; give dictionaries, its inputs are "
                f"{inputs}"
            )
        return feature

    @staticmethod
    def _image(feature: "FeatureDescription") -> "ImageType":
        from windfall.features.described import ImageType

        assert isinstance(feature.type, ImageType)
        return feature.type

    @cached_property
    def _feature(self) -> "FeatureDescription | None":
        from windfall.features.fitting import picture_input

        return picture_input(self._described)

    @cached_property
    def _described(self) -> "list[FeatureDescription]":
        from windfall.features.described import describe_feature

        return [describe_feature(feature) for feature in self._model._binder.inputs.values()]


def _is_picture(item: Any) -> bool:
    if isinstance(item, Mapping):
        return False
    from PIL import Image

    return isinstance(item, Image.Image)
