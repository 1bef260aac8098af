"""Models that lie in another model as bytes.

Source: ``SerializedModel`` in Model.proto.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import DecodeError

from windfall.errors import FormatError
from windfall.spec.modelfile import ModelFile
from windfall.spec.openfile import AGAIN, shown
from windfall.spec.proto import NEWEST_SPECIFICATION, Model_pb2

_MODEL = Model_pb2.Model.DESCRIPTOR
_TYPES: Mapping[str, str] = {field.message_type.full_name: field.name for field in _MODEL.oneofs_by_name["Type"].fields}
"""The members of the oneof ``Type`` by the full names of their messages."""


def packed_type(identifier: str) -> str | None:
    """Return what an ``identifier`` stands for: a member of the oneof ``Type``, or empty for a whole model.

    None if it is none of the names of the format.

    >>> packed_type("CoreML.Specification.Scaler")
    'scaler'
    """
    return "" if identifier in (_MODEL.full_name, _MODEL.name) else _TYPES.get(identifier)


def unpack(file: ModelFile) -> ModelFile | None:
    """Return the model in a ``serializedModel``, with the description of the one around it; None if it is private.

    Raises:
        FormatError: The bytes are not what the identifier says.
    """
    packed = file.spec.serializedModel
    kind = packed_type(packed.identifier)
    if kind is None:
        return None
    spec = Model_pb2.Model()
    try:
        (getattr(spec, kind) if kind else spec).ParseFromString(packed.model)
    except (DecodeError, RecursionError) as error:
        raise _damaged(file, "which cannot be read") from error
    if kind:
        getattr(spec, kind).SetInParent()  # a message without content is one too
    if spec.WhichOneof("Type") is None:
        raise _damaged(file, "which has no type")
    if spec.specificationVersion > NEWEST_SPECIFICATION:
        raise _damaged(
            file, f"of specificationVersion {spec.specificationVersion}, must be up to {NEWEST_SPECIFICATION}"
        )
    _describe(spec, file.spec)
    return file.unpacked(spec)


def _describe(spec: Any, around: Any) -> None:
    spec.description.CopyFrom(around.description)
    spec.specificationVersion = max(spec.specificationVersion, around.specificationVersion)


def _damaged(file: ModelFile, what: str) -> FormatError:
    identifier = file.spec.serializedModel.identifier
    return FormatError(f"{file.name} is a serializedModel of a {shown(identifier)}, {what}; {AGAIN}")
