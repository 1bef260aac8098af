"""Models of the user's own: what their classes derive from.

Source: CustomModel.proto; its namesake in Core ML is the protocol ``MLCustomModel``.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from windfall.errors import UnsupportedError
from windfall.text import brief

if TYPE_CHECKING:
    from windfall.description import ModelDescription
    from windfall.runtime.engine import EngineOptions


class CustomModel:
    """The base of classes that stand for custom models; they need ``predict``.

    An object is made once for each place of a model in a pipeline, before the first prediction, and may be used from
    many threads at once.

    Args:
        description: The model's inputs, outputs and metadata.
        parameters: The parameters in the file: numbers, texts, truth values and bytes by their names.
    """

    def __init__(self, description: "ModelDescription", parameters: Mapping[str, Any]) -> None:
        self.description = description
        self.parameters = parameters

    def predict(self, inputs: Mapping[str, Any], options: "EngineOptions") -> Mapping[str, Any]:
        """Return a value for each output, in any form that ``windfall.Model.predict`` takes for such a value.

        Args:
            inputs: A value for each input: a Pillow image, a NumPy array, a number, a text, a dictionary or a list, in
                the type that it is declared with; None for an optional one that is left out.
            options: The ``threads`` and ``compute_units`` that the model is loaded with.
        """
        raise NotImplementedError

    def predict_batch(
        self, batch: Sequence[Mapping[str, Any]], options: "EngineOptions"
    ) -> Sequence[Mapping[str, Any]]:
        """Return the outputs of several predictions, where there is more to gain than one by one, as it is here.

        Args:
            batch: The inputs of each prediction.
            options: As for ``predict``.
        """
        return [self.predict(inputs, options) for inputs in batch]


def check_model_class(found: Any, what: str) -> None:
    """Check what is to stand for a custom model.

    Raises:
        UnsupportedError: It is no class for models, or lacks a method.
    """
    if not isinstance(found, type) or not issubclass(found, CustomModel):
        raise UnsupportedError(f"{what} is {brief(found)}, must be a class derived from windfall.CustomModel")
    if found.predict is CustomModel.predict:
        raise UnsupportedError(f"{what} is {found.__qualname__}, which has no predict; must have one")
