"""What a model is: to be filled in."""

from dataclasses import dataclass

from windfall.spec.modelfile import ModelFile


@dataclass(frozen=True)
class ModelDescription:
    """What a model takes and gives."""

    type: str


def describe(file: ModelFile) -> ModelDescription:
    """Describe a model."""
    return ModelDescription(file.spec.WhichOneof("Type"))
