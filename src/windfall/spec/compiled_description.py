"""What a compiled model says of its inputs and outputs, as a ``ModelDescription`` message.

Apple's compiler writes it twice: whole, into ``coremldata.bin``; and for people, into ``metadata.json``.
``coremldata.bin`` is little-endian: ::

    0     uint32, the model's type: its number in the oneof ``Type`` of ``Model``
    28    uint64, length n of a word, "generic"; then the word
    36+n  uint32, specificationVersion
    68+n  uint64, length of the ``ModelDescription`` message; then the message
          for each function, 16 bytes

Source: Model.proto, FeatureTypes.proto; for ``metadata.json``, mlmodel/src/DataType.cpp of coremltools.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from windfall.errors import FormatError
from windfall.spec.openfile import shown
from windfall.spec.proto import FeatureTypes_pb2, MIL_pb2, Model_pb2

_Array = FeatureTypes_pb2.ArrayFeatureType
_Image = FeatureTypes_pb2.ImageFeatureType
_WORD, _LONGEST_WORD = 28, 256
_MOST_SIZES = 100_000
_AGAIN = "compile the model again"


class Binary(NamedTuple):
    """What ``coremldata.bin`` holds.

    Attributes:
        model_type: The model's type, as a member of the oneof ``Type`` of ``Model``; empty if it is unknown.
        version: Its specificationVersion.
        description: Its ``ModelDescription`` message.
    """

    model_type: str
    version: int
    description: Any


def parse_binary(data: bytes) -> Binary | None:
    """Read ``coremldata.bin``; None if it is not of the form that is known."""
    try:
        number, (length,) = struct.unpack_from("<I", data)[0], struct.unpack_from("<Q", data, _WORD)
        if length > _LONGEST_WORD:
            return None
        (version,) = struct.unpack_from("<I", data, _WORD + 8 + length)
        start = _WORD + 40 + length + 8
        (size,) = struct.unpack_from("<Q", data, start - 8)
        if start + size > len(data):
            return None
        description = Model_pb2.ModelDescription.FromString(data[start : start + size])
    except (struct.error, DecodeError):
        return None
    if not (description.input or description.output or description.functions):
        return None
    field = Model_pb2.Model.DESCRIPTOR.fields_by_number.get(number)
    return Binary(str(field.name) if field is not None else "", version, description)


def parse_metadata(data: bytes, name: str) -> Mapping[str, Any]:
    """Read ``metadata.json``, a list of one object.

    Args:
        data: The file's content.
        name: What messages call it.

    Raises:
        FormatError: It is none.
    """
    try:
        models = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name} is not JSON, or is cut off; {_AGAIN}") from error
    if not isinstance(models, list) or len(models) != 1 or not isinstance(models[0], dict):
        raise FormatError(f"{name} must hold a list of one object; {_AGAIN}")
    model: Mapping[str, Any] = models[0]
    return model


def description_of_metadata(model: Mapping[str, Any], name: str) -> Any:
    """Return the ``ModelDescription`` message that the object in ``metadata.json`` stands for.

    It does not say which outputs are a classifier's; see ``name_predictions``.

    Raises:
        FormatError: It breaks a rule.
    """
    description = Model_pb2.ModelDescription()
    functions = list(_objects(model, "functions", name))
    if not functions and "inputSchema" not in model:
        raise FormatError(f"{name} has neither inputSchema nor functions, must have one; {_AGAIN}")
    for function in functions:
        described = description.functions.add(name=_text(function, "name", name))
        _fill_features(described, function, name)
    if functions:
        description.defaultFunctionName = _text(model, "defaultFunctionName", name)
    else:
        _fill_features(description, model, name)
    metadata = description.metadata
    metadata.shortDescription = _text(model, "shortDescription", name)
    metadata.versionString = _text(model, "version", name)
    metadata.author, metadata.license = _text(model, "author", name), _text(model, "license", name)
    defined = model.get("userDefinedMetadata")
    for key, value in (defined if isinstance(defined, dict) else {}).items():
        metadata.userDefined[_encodable(key, name)] = _encodable(str(value), name)
    return description


def description_of_program(program: Any, name: str) -> Any:
    """Return a ``ModelDescription`` message made of what a program's functions take and return.

    Sizes that are open may have any value; a program does not say more.

    Raises:
        FormatError: A function has an input or output that no model can have.
    """
    description = Model_pb2.ModelDescription()
    names = sorted(program.functions)
    for function in names:
        target = description if names == ["main"] else description.functions.add(name=function)
        _fill_program_features(target, program.functions[function], name)
    if names != ["main"] and names:
        description.defaultFunctionName = "main" if "main" in names else names[0]
    return description


def name_predictions(description: Any, program: Any) -> None:
    """Say which outputs are a classifier's label and probabilities: those of the operation that classifies."""
    for described in description.functions or [description]:
        function = program.functions.get(described.name if description.functions else "main")
        if function is None or described.predictedFeatureName:
            continue
        operations = function.block_specializations[function.opset].operations
        returned = {feature.name for feature in described.output}
        named = [output.name for o in operations if o.type == "classify" for output in o.outputs]
        named = [output for output in named if output in returned]
        if named:
            described.predictedFeatureName, *rest = named
            described.predictedProbabilitiesName = rest[0] if rest else ""


def _fill_program_features(target: Any, function: Any, name: str) -> None:
    for value in function.inputs:
        is_state = value.type.HasField("stateType")
        feature = (target.state if is_state else target.input).add(name=value.name)
        if is_state:
            _program_array(feature.type.stateType.arrayType, value.type.stateType.wrappedType, value.name, name)
        else:
            _program_array(feature.type.multiArrayType, value.type, value.name, name)
    block = function.block_specializations[function.opset]
    types = {v.name: v.type for v in [*function.inputs, *(v for o in block.operations for v in o.outputs)]}
    for output in block.outputs:
        if output not in types:
            raise FormatError(f"{name} returns {shown(output)}, which no operation makes; {_AGAIN}")
        _program_output(target.output.add(name=output).type, types[output], output, name)


def _program_output(feature_type: Any, value_type: Any, value: str, name: str) -> None:
    tensor = value_type.tensorType
    if value_type.HasField("dictionaryType"):
        is_number = value_type.dictionaryType.keyType.tensorType.dataType != MIL_pb2.STRING
        keys = feature_type.dictionaryType
        (keys.int64KeyType if is_number else keys.stringKeyType).SetInParent()
    elif not tensor.dimensions and tensor.dataType in _SCALARS:
        getattr(feature_type, _SCALARS[tensor.dataType]).SetInParent()
    else:
        _program_array(feature_type.multiArrayType, value_type, value, name)


_SCALARS = {MIL_pb2.STRING: "stringType", MIL_pb2.INT64: "int64Type"}
_ARRAY_TYPES = {
    MIL_pb2.FLOAT16: _Array.FLOAT16,
    MIL_pb2.FLOAT32: _Array.FLOAT32,
    MIL_pb2.FLOAT64: _Array.DOUBLE,
    MIL_pb2.INT32: _Array.INT32,
    MIL_pb2.INT8: _Array.INT8,
}


def _program_array(array: Any, value_type: Any, value: str, name: str) -> None:
    tensor = value_type.tensorType
    if not value_type.HasField("tensorType") or tensor.dataType not in _ARRAY_TYPES:
        raise FormatError(
            f"{name} has {shown(value)} as an input or output, of a type that none can have, and neither "
            f"coremldata.bin nor metadata.json says what it is; {_AGAIN}"
        )
    array.dataType = _ARRAY_TYPES[tensor.dataType]
    sizes = [int(d.constant.size) if d.HasField("constant") else None for d in tensor.dimensions]
    # An open size is 1 where no other is asked for.
    array.shape.extend(1 if size is None else min(size, 2**63 - 1) for size in sizes)
    if None in sizes:
        for size in sizes:
            low, high = (1, -1) if size is None else (size, min(size, 2**63 - 1))
            array.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)


def _fill_features(target: Any, schema: Mapping[str, Any], name: str) -> None:
    for key, features in (
        ("inputSchema", target.input),
        ("outputSchema", target.output),
        ("stateSchema", target.state),
    ):
        for feature in _objects(schema, key, name):
            message = features.add(name=_text(feature, "name", name))
            message.shortDescription = _text(feature, "shortDescription", name)
            message.type.isOptional = feature.get("isOptional") == "1"
            kind = feature.get("type")
            fill = _FEATURES.get(kind) if isinstance(kind, str) else None
            if fill is None:
                raise FormatError(
                    f"{name}: {shown(message.name)} has the type {shown(str(kind))}, must have one of "
                    f"{', '.join(_FEATURES)}; {_AGAIN}"
                )
            try:
                fill(message.type, feature)
            except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
                raise FormatError(f"{name}: the type of {shown(message.name)} is damaged; {_AGAIN}") from error


def _array(array: Any, feature: Mapping[str, Any]) -> None:
    array.dataType = _DATA_TYPES[feature["dataType"]]
    array.shape.extend(_sizes(feature.get("shape", "[]")))
    if "shapeRange" in feature:
        for low, high in map(_pair, _sizes(feature["shapeRange"])):
            array.shapeRange.sizeRanges.add(lowerBound=low, upperBound=high)
    elif "enumeratedShapes" in feature:
        for shape in _sizes(feature["enumeratedShapes"]):
            array.enumeratedShapes.shapes.add(shape=shape)


def _image(image: Any, feature: Mapping[str, Any]) -> None:
    image.width, image.height = int(feature["width"]), int(feature["height"])
    image.colorSpace = _COLOR_SPACES[feature["colorspace"]]
    if "sizeRange" in feature:
        width, height = map(_pair, _sizes(feature["sizeRange"]))
        for target, (low, high) in (
            (image.imageSizeRange.widthRange, width),
            (image.imageSizeRange.heightRange, height),
        ):
            target.lowerBound, target.upperBound = low, high
    elif "enumeratedSizes" in feature:
        for size in map(_pair, _sizes(feature["enumeratedSizes"])):
            image.enumeratedSizes.sizes.add(width=size[0], height=size[1])


def _dictionary(dictionary: Any, feature: Mapping[str, Any]) -> None:
    getattr(dictionary, _KEYS[feature["keyType"]]).SetInParent()


def _sequence(sequence: Any, feature: Mapping[str, Any]) -> None:
    getattr(sequence, _ITEMS[feature["valueType"]]).SetInParent()
    if "sizeRange" in feature:
        sequence.sizeRange.lowerBound, sequence.sizeRange.upperBound = _pair(_sizes(feature["sizeRange"]))


_DATA_TYPES = {
    "Float16": _Array.FLOAT16,
    "Float32": _Array.FLOAT32,
    "Double": _Array.DOUBLE,
    "Int32": _Array.INT32,
    "Int8": _Array.INT8,
}
_COLOR_SPACES = {
    "RGB": _Image.RGB,
    "BGR": _Image.BGR,
    "Grayscale": _Image.GRAYSCALE,
    "Grayscale16Half": _Image.GRAYSCALE_FLOAT16,
}
_KEYS = {"Int64": "int64KeyType", "String": "stringKeyType"}
_ITEMS = {"Int64": "int64Type", "String": "stringType"}
_FEATURES: Mapping[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "MultiArray": lambda message, feature: _array(message.multiArrayType, feature),
    "Image": lambda message, feature: _image(message.imageType, feature),
    "Dictionary": lambda message, feature: _dictionary(message.dictionaryType, feature),
    "Sequence": lambda message, feature: _sequence(message.sequenceType, feature),
    "State": lambda message, feature: _array(message.stateType.arrayType, feature),
    "String": lambda message, _: message.stringType.SetInParent(),
    "Int64": lambda message, _: message.int64Type.SetInParent(),
    "Double": lambda message, _: message.doubleType.SetInParent(),
}
"""How the type of a feature is read, by the name that ``metadata.json`` has for it."""


def _sizes(text: Any) -> list[Any]:
    """Return the sizes in a text: ``[1, 3]``, ``[[1, 1], [1, -1]]``."""
    sizes = json.loads(text)
    if not isinstance(sizes, list) or len(sizes) > _MOST_SIZES:
        raise ValueError
    return sizes


def _pair(bounds: Any) -> tuple[int, int]:
    low, high = bounds
    return low, high


def _objects(model: Mapping[str, Any], key: str, name: str) -> Iterator[Mapping[str, Any]]:
    found = model.get(key, [])
    if not isinstance(found, Sequence) or not all(isinstance(item, dict) for item in found):
        raise FormatError(f"{name}: {key} must hold a list of objects; {_AGAIN}")
    yield from found


def _text(model: Mapping[str, Any], key: str, name: str) -> str:
    found = model.get(key, "")
    if not isinstance(found, str):
        raise FormatError(f"{name}: {key} must hold text; {_AGAIN}")
    return _encodable(found, name)


def _encodable(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"{name} holds half a character; {_AGAIN}") from error
    return text
