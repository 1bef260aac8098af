"""Values in and out of classical models: numbers and arrays.

Source: ``FeatureType`` in FeatureTypes.proto.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.errors import FeatureError, UnsupportedError
from windfall.features import arrays
from windfall.features.binding import Binder
from windfall.spec.modelfile import ModelFile

_SCALARS: Mapping[str | None, np.dtype[Any]] = {"doubleType": np.dtype(np.float64), "int64Type": np.dtype(np.int64)}


class ClassicalBinder(Binder):
    """Turns inputs into tensors and tensors into outputs for a classical model; all is computed in doubles."""

    _takes = "such models take numbers and arrays"

    def __init__(self, file: ModelFile, function: str = "") -> None:
        if function:
            raise UnsupportedError(
                f"{file.name} has no function {function!r}, only ML programs have any; load it without"
            )
        description = file.spec.description
        super().__init__(description, [], [feature.name for feature in description.output], None)

    def _default_shape(self, feature: Any) -> tuple[int | str, ...]:
        kind = feature.type.WhichOneof("Type")
        if kind == "imageType":
            raise UnsupportedError(f"input {feature.name!r} is of type {kind}; {self._takes}")
        return (1,) if kind in _SCALARS else super()._default_shape(feature)

    def _feed(self, feature: Any, value: Any) -> NDArray[Any]:
        self._check_given(feature, value)
        dtype = _SCALARS.get(feature.type.WhichOneof("Type"))
        if dtype is None:
            return super()._feed(feature, value)
        number = arrays.to_numbers(0 if value is None else value, feature.name, dtype)
        if number.size != 1:
            raise FeatureError(f"input {feature.name!r} has shape {list(number.shape)}, must be one number")
        return number.reshape(1)

    def _array(self, feature: Any, value: Any) -> NDArray[Any]:
        return arrays.to_exact(arrays.to_numbers(value, feature.name, np.dtype(np.float64)), feature)
