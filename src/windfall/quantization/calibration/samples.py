"""The samples that a user gives to calibrate with, and what became of each weight."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from windfall.errors import FeatureError

if TYPE_CHECKING:
    from windfall.model import Model

CALIBRATED = "calibrated"


@dataclass(frozen=True)
class Calibration:
    """Samples to quantize a model with.

    Attributes:
        samples: What ``windfall.compare`` takes: dictionaries with a value for each input; or, for models with one
            image input, pictures, their paths, or a folder of them.
        fit: How pictures are brought to the model's size: ``centerCrop``, ``scaleFit`` or ``scaleFill``.
        outcomes: After quantizing, for each weight by its layer and field: ``calibrated``, or why it was quantized
            without.
    """

    samples: Any
    fit: str = "centerCrop"
    outcomes: dict[tuple[str, str], str] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, given: Any) -> "Calibration | None":
        """Return what a user gives, samples or a ``Calibration``, as the latter."""
        return given if given is None or isinstance(given, Calibration) else cls(given)

    def outcome(self, layer: str) -> str:
        """Return ``calibrated`` if all weights of a layer that changed were, else why one was not; "" for others."""
        found = [outcome for (name, _), outcome in self.outcomes.items() if name == layer]
        return next((outcome for outcome in found if outcome != CALIBRATED), CALIBRATED if found else "")

    def inputs(self, model: "Model") -> list[tuple[str, Mapping[str, Any]]]:
        """Return the inputs of each sample, behind its name; the model is run on each, so that all fit.

        Raises:
            FeatureError: There are no samples, or one does not fit the model.
        """
        # Comparing needs Pillow and more.
        from windfall.comparison.contenders import Contender
        from windfall.comparison.samples import samples_of

        contender = Contender(model, model._file.name)
        found = []
        for sample in samples_of(self.samples, None, self.fit):
            inputs = sample.read(contender)
            contender.predict(inputs, sample.name)
            found.append((sample.name, inputs))
        if not found:
            raise FeatureError("there are no samples to calibrate with, must be at least one")
        return found
