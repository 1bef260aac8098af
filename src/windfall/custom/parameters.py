"""Parameters of custom layers and models, as Python values.

Source: ``CustomLayerParamValue`` in NeuralNetwork.proto, ``CustomModelParamValue`` in CustomModel.proto.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from windfall.errors import FormatError, UnsupportedError
from windfall.text import brief

_INT32 = 2**31
_INT64 = 2**63


def read_parameters(message: Any, who: str) -> Mapping[str, Any]:
    """Return the parameters of a layer or a model.

    Args:
        message: The ``CustomLayerParams`` or ``CustomModel`` message.
        who: What messages call it.

    Raises:
        FormatError: One of them has no value.
    """
    found = {}
    for name, value in message.parameters.items():
        kind = value.WhichOneof("value")
        if kind is None:
            raise FormatError(f"{who}: the parameter {brief(name)} has no value, must have one")
        found[name] = getattr(value, kind)
    return MappingProxyType(found)


def write_parameters(message: Any, parameters: Mapping[str, Any], who: str) -> None:
    """Put parameters into a message: ``bool``, ``int``, ``float``, ``str``, for models ``bytes`` too.

    An integer becomes an ``intValue`` where 32 bits hold it and it is not an ``np.int64``, else a ``longValue``.

    Raises:
        UnsupportedError: A name is empty, or a value is of another type or too large.
    """
    for name, value in parameters.items():
        if not isinstance(name, str) or not name:
            raise UnsupportedError(f"{who} has a parameter named {brief(name)}, must be a text that is not empty")
        field = next((field(value) for kind, field in _FIELDS if isinstance(value, kind)), None)
        target = message.parameters[name]
        if field is None or field not in target.DESCRIPTOR.fields_by_name:
            kinds = "bool, int, float, str" + (", bytes" if "bytesValue" in target.DESCRIPTOR.fields_by_name else "")
            raise UnsupportedError(f"{who}: the parameter {name!r} is {brief(value)}, must be one of: {kinds}")
        setattr(target, field, _PLAIN.get(field, lambda plain: plain)(value))


def _integer(value: int | np.integer[Any]) -> str | None:
    if not -_INT64 <= value < _INT64:
        return None
    return "longValue" if isinstance(value, np.int64) or not -_INT32 <= value < _INT32 else "intValue"


_FIELDS: tuple[tuple[Any, Callable[[Any], str | None]], ...] = (
    ((bool, np.bool_), lambda _: "boolValue"),
    ((int, np.integer), _integer),
    ((float, np.floating), lambda _: "doubleValue"),
    (str, lambda _: "stringValue"),
    ((bytes, bytearray, memoryview), lambda _: "bytesValue"),
)
"""The field for a value, by its type; the first that fits."""
_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    "boolValue": bool, "intValue": int, "longValue": int, "doubleValue": float, "bytesValue": bytes,
}  # fmt: skip
