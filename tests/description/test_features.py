"""What a model takes and gives: every type of input, with the sizes allowed."""

from typing import Any

import pytest

from tests.test_description import described
from windfall.description import (
    ArrayType,
    DictionaryType,
    ImageType,
    ScalarType,
    SequenceType,
    SizeRange,
    StateType,
)


def of_input(**type_fields: Any) -> Any:
    """The description of one input of a type."""
    return described(identity={}, description={"input": [{"name": "x", "type": type_fields}]}).inputs[0]


RANGE = {"lowerBound": 10, "upperBound": -1}
SIX_SHAPES = [{"shape": [n]} for n in range(1, 7)]
SIZE_RANGE = {"widthRange": RANGE, "heightRange": {"lowerBound": 10, "upperBound": 20}}


@pytest.mark.parametrize(
    ("fields", "expected", "text"),
    [
        ({"int64Type": {}}, ScalarType("int64"), "Int64"),
        ({"doubleType": {}}, ScalarType("double"), "Double"),
        ({"stringType": {}}, ScalarType("string"), "String"),
        (
            {"imageType": {"width": 8, "height": 6, "colorSpace": "RGB"}},
            ImageType(8, 6, "RGB"),
            "Image (RGB 8 × 6)",  # noqa: RUF001  # a size is written with this sign
        ),
        (
            {"imageType": {"colorSpace": "GRAYSCALE", "imageSizeRange": SIZE_RANGE}},
            ImageType(10, 10, "GRAYSCALE", width_range=SizeRange(10, None), height_range=SizeRange(10, 20)),
            "Image (Grayscale 10 × 10, flexible 10.. × 10..20)",  # noqa: RUF001  # as above
        ),
        (
            {"imageType": {"colorSpace": "BGR", "enumeratedSizes": {"sizes": [{"width": 8, "height": 6}]}}},
            ImageType(8, 6, "BGR", sizes=((8, 6),)),
            "Image (BGR 8 × 6, one of 8 × 6)",  # noqa: RUF001  # as above
        ),
        (
            {"multiArrayType": {"shape": [3, 4], "dataType": "FLOAT16", "floatDefaultValue": 0.5}},
            ArrayType("FLOAT16", (3, 4), default=0.5),
            "MultiArray (Float16 3 × 4)",  # noqa: RUF001  # as above
        ),
        ({"multiArrayType": {}}, ArrayType("", ()), "MultiArray (shape not declared)"),
        (
            {"multiArrayType": {"dataType": "INT32", "shapeRange": {"sizeRanges": [RANGE, RANGE]}}},
            ArrayType("INT32", (10, 10), ranges=(SizeRange(10, None), SizeRange(10, None))),
            "MultiArray (Int32 10 × 10, flexible 10.. × 10..)",  # noqa: RUF001  # as above
        ),
        (
            {"multiArrayType": {"dataType": "DOUBLE", "enumeratedShapes": {"shapes": SIX_SHAPES}}},
            ArrayType("DOUBLE", (1,), shapes=((1,), (2,), (3,), (4,), (5,), (6,))),
            "MultiArray (Double 1, one of 1, 2, 3, 4 and 2 more)",
        ),
        ({"dictionaryType": {"stringKeyType": {}}}, DictionaryType("string"), "Dictionary (String → Double)"),
        (
            {"sequenceType": {"int64Type": {}, "sizeRange": RANGE}},
            SequenceType("int64", SizeRange(10, None)),
            "Sequence (Int64, length 10..)",
        ),
        (
            {"stateType": {"arrayType": {"shape": [2], "dataType": "FLOAT32"}}},
            StateType(ArrayType("FLOAT32", (2,))),
            "State of MultiArray (Float32 2)",
        ),
        ({}, ScalarType("type not set"), "Type not set"),
    ],
)
def test_every_type_of_feature(fields: dict[str, Any], expected: object, text: str) -> None:
    feature = of_input(**fields)
    assert feature.type == expected
    assert feature.kind == expected.kind  # type: ignore[attr-defined]
    assert str(feature.type) == text


def test_an_optional_input_says_so() -> None:
    fields = {"multiArrayType": {"shape": [2], "doubleDefaultValue": 1.5}, "isOptional": True}
    assert of_input(**fields).optional
    shown = str(described(identity={}, description={"input": [{"name": "x", "type": fields}]}))
    assert "MultiArray (2), optional, default 1.5" in shown


@pytest.mark.parametrize(
    ("size", "allowed"), [((8, 6), True), ((6, 8), False), ((12, 30), True), ((12, 31), False), ((9, 30), False)]
)
def test_which_sizes_an_image_allows(size: tuple[int, int], allowed: bool) -> None:
    image = ImageType(8, 6, "RGB", width_range=SizeRange(10, None), height_range=SizeRange(30, 30))
    assert image.allows(size) == allowed
