"""What a model is: its inputs and outputs, makers, sizes, layers and dependencies.

Works for every type of model, those that cannot be run here among them.
"""

from windfall.description.compression import Compression
from windfall.description.model import ClassLabels, Metadata, ModelDescription, describe
from windfall.description.parts import LayerDescription, MemberDescription
from windfall.description.programs import FunctionDescription
from windfall.description.support import Dependency
from windfall.description.weights import WeightPrecision
from windfall.features.described import (
    ArrayType,
    DictionaryType,
    FeatureDescription,
    ImageType,
    ScalarType,
    SequenceType,
    SizeRange,
    StateType,
)

__all__ = [
    "ArrayType",
    "ClassLabels",
    "Compression",
    "Dependency",
    "DictionaryType",
    "FeatureDescription",
    "FunctionDescription",
    "ImageType",
    "LayerDescription",
    "MemberDescription",
    "Metadata",
    "ModelDescription",
    "ScalarType",
    "SequenceType",
    "SizeRange",
    "StateType",
    "WeightPrecision",
    "describe",
]
