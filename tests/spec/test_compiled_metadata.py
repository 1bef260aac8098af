"""What metadata.json of a compiled model says of its inputs and outputs."""

import json

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from tests.spec.test_compiled_description import NAME, description_message, error_of

from windfall.errors import FormatError
from windfall.spec import compiled_description
from windfall.spec.compiled_description import description_of_metadata, parse_metadata


def described(*inputs, **fields):
    return description_of_metadata({"inputSchema": list(inputs), **fields}, NAME)


def array(**fields):
    return {"name": "x", "type": "MultiArray", "dataType": "Float32", "shape": "[1, 3]", **fields}


def image(**fields):
    return {"name": "x", "type": "Image", "width": "4", "height": "3", "colorspace": "RGB", **fields}


# What coremltools' mlmodel/src/DataType.cpp writes, and the type that it stands for.
@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (array(), "multiArrayType { shape: [1, 3] dataType: FLOAT32 }"),
        (array(dataType="Float16"), "multiArrayType { shape: [1, 3] dataType: FLOAT16 }"),
        (array(dataType="Double"), "multiArrayType { shape: [1, 3] dataType: DOUBLE }"),
        (array(dataType="Int32"), "multiArrayType { shape: [1, 3] dataType: INT32 }"),
        (array(dataType="Int8", shape="[]"), "multiArrayType { dataType: INT8 }"),
        (array(shapeRange="[[1, 1], [1, -1]]", hasShapeFlexibility="1"),
         ("multiArrayType { shape: [1, 3] dataType: FLOAT32 shapeRange { sizeRanges { lowerBound: 1 upperBound: 1 } "
         "sizeRanges { lowerBound: 1 upperBound: -1 } } }")),
        (array(enumeratedShapes="[[1, 3], [1, 5]]", hasShapeFlexibility="1"),
         ("multiArrayType { shape: [1, 3] dataType: FLOAT32 enumeratedShapes { shapes { shape: [1, 3] } "
         "shapes { shape: [1, 5] } } }")),
        (image(), "imageType { width: 4 height: 3 colorSpace: RGB }"),
        (image(colorspace="BGR"), "imageType { width: 4 height: 3 colorSpace: BGR }"),
        (image(colorspace="Grayscale"), "imageType { width: 4 height: 3 colorSpace: GRAYSCALE }"),
        (image(colorspace="Grayscale16Half"), "imageType { width: 4 height: 3 colorSpace: GRAYSCALE_FLOAT16 }"),
        (image(sizeRange="[[4, 8], [3, -1]]"),
         ("imageType { width: 4 height: 3 colorSpace: RGB imageSizeRange { widthRange { lowerBound: 4 upperBound: 8 } "
         "heightRange { lowerBound: 3 upperBound: -1 } } }")),
        (image(enumeratedSizes="[[4, 3], [8, 6]]"),
         ("imageType { width: 4 height: 3 colorSpace: RGB enumeratedSizes { sizes { width: 4 height: 3 } "
         "sizes { width: 8 height: 6 } } }")),
        ({"name": "x", "type": "String"}, "stringType {}"),
        ({"name": "x", "type": "Int64"}, "int64Type {}"),
        ({"name": "x", "type": "Double", "isOptional": "1"}, "doubleType {} isOptional: true"),
        ({"name": "x", "type": "Dictionary", "keyType": "String"}, "dictionaryType { stringKeyType {} }"),
        ({"name": "x", "type": "Dictionary", "keyType": "Int64"}, "dictionaryType { int64KeyType {} }"),
        ({"name": "x", "type": "Sequence", "valueType": "String", "sizeRange": "[0, -1]"},
         "sequenceType { stringType {} sizeRange { lowerBound: 0 upperBound: -1 } }"),
        ({"name": "x", "type": "Sequence", "valueType": "Int64"}, "sequenceType { int64Type {} }"),
        ({**array(), "type": "State"}, "stateType { arrayType { shape: [1, 3] dataType: FLOAT32 } }"),
    ],
)  # fmt: skip
def test_every_type_of_input_in_metadata(feature, expected):
    message = described(feature, shortDescription="")
    assert list(message.input) == list(description_message(f'input {{ name: "x" type {{ {expected} }} }}').input)


def test_metadata_names_outputs_states_and_who_made_the_model():
    found = description_of_metadata(
        {
            "inputSchema": [],
            "outputSchema": [{"name": "y", "type": "Double", "shortDescription": "twice x"}],
            "stateSchema": [{**array(), "type": "State"}],
            "shortDescription": "doubles",
            "version": "1",
            "author": "A",
            "license": "B",
            "userDefinedMetadata": {"key": "value", "number": 1},
        },
        NAME,
    )
    assert json_format.MessageToDict(found.metadata) == {
        "shortDescription": "doubles",
        "versionString": "1",
        "author": "A",
        "license": "B",
        "userDefined": {"key": "value", "number": "1"},
    }
    assert [(f.name, f.shortDescription) for f in found.output] == [("y", "twice x")]
    assert [f.name for f in found.state] == ["x"]


def test_metadata_of_several_functions():
    functions = [
        {"name": "extend", "inputSchema": [array()], "outputSchema": []},
        {"name": "prompt", "inputSchema": [], "outputSchema": [array(name="y")]},
    ]
    found = description_of_metadata({"functions": functions, "defaultFunctionName": "prompt"}, NAME)
    assert found.defaultFunctionName == "prompt"
    assert [(f.name, [i.name for i in f.input], [o.name for o in f.output]) for f in found.functions] == [
        ("extend", ["x"], []),
        ("prompt", [], ["y"]),
    ]


@pytest.mark.parametrize("text", [b"", b"[", b"[{}", b"\xff\xfe", b"[" * 100_000, b'[{"a": ' + b"9" * 5000 + b"}]"])
def test_metadata_that_is_no_json(text):
    assert error_of(parse_metadata, text, NAME) == f"{NAME} is not JSON, or is cut off"


@pytest.mark.parametrize("text", [b"{}", b"[]", b"[1]", b"[{}, {}]", b"null"])
def test_metadata_that_is_no_list_of_one_object(text):
    assert error_of(parse_metadata, text, NAME) == f"{NAME} must hold a list of one object"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, " has neither inputSchema nor functions, must have one"),
        ({"functions": []}, " has neither inputSchema nor functions, must have one"),
        ({"functions": 1}, ": functions must hold a list of objects"),
        ({"inputSchema": None}, ": inputSchema must hold a list of objects"),
        ({"inputSchema": "x"}, ": inputSchema must hold a list of objects"),
        ({"inputSchema": [[]]}, ": inputSchema must hold a list of objects"),
        ({"inputSchema": [], "outputSchema": {}}, ": outputSchema must hold a list of objects"),
        ({"inputSchema": [], "stateSchema": 1}, ": stateSchema must hold a list of objects"),
        ({"inputSchema": [{"name": 1}]}, ": name must hold text"),
        ({"inputSchema": [], "author": 1}, ": author must hold text"),
        ({"inputSchema": [], "license": "\ud800"}, " holds half a character"),
        ({"inputSchema": [], "userDefinedMetadata": {"\ud800": ""}}, " holds half a character"),
        ({"inputSchema": [], "userDefinedMetadata": {"a": "\udfff"}}, " holds half a character"),
        ({"functions": [{"name": "f"}], "defaultFunctionName": 1}, ": defaultFunctionName must hold text"),
    ],
)
def test_metadata_that_breaks_a_rule(fields, message):
    assert error_of(description_of_metadata, fields, NAME) == NAME + message


@pytest.mark.parametrize(
    ("kind", "shown"), [("Blob", "'Blob'"), ("Invalid", "'Invalid'"), (None, "'None'"), (["Image"], "\"['Image']\"")]
)
def test_types_that_are_not_known(kind, shown):
    assert error_of(described, {"name": "x", "type": kind}) == (
        f"{NAME}: 'x' has the type {shown}, must have one of "
        "MultiArray, Image, Dictionary, Sequence, State, String, Int64, Double"
    )


@pytest.mark.parametrize(
    "feature",
    [
        array(dataType="Invalid"),
        array(dataType=["Float32"]),
        array(shape="1, 3"),
        array(shape="{}"),
        array(shape=[1, 3]),
        array(shape="[1.5]"),
        array(shape='["1"]'),
        array(shape="[[1]]"),
        array(shape=f"[{2**63}]"),
        array(shape="[" * 100_000),
        array(shapeRange="[[1]]"),
        array(shapeRange="[1]"),
        array(shapeRange="[[-1, 1]]"),
        array(enumeratedShapes="[1]"),
        {"name": "x", "type": "MultiArray"},
        image(width="wide"),
        image(width=float("inf")),
        image(height=None),
        image(height=str(2**64)),
        image(colorspace="CMYK"),
        image(sizeRange="[[1, 2]]"),
        image(sizeRange="[[1, 2], [1, 2], [1, 2]]"),
        image(enumeratedSizes="[[1, 2, 3]]"),
        {"name": "x", "type": "Dictionary", "keyType": "Double"},
        {"name": "x", "type": "Dictionary"},
        {"name": "x", "type": "Sequence", "valueType": "Double"},
        {"name": "x", "type": "Sequence", "valueType": "Int64", "sizeRange": "[1]"},
    ],
)
def test_types_that_are_damaged(feature):
    assert error_of(described, feature) == f"{NAME}: the type of 'x' is damaged"


def test_shapes_may_not_be_very_many(monkeypatch):
    monkeypatch.setattr(compiled_description, "_MOST_SIZES", 2)
    described(array(enumeratedShapes="[[1, 3], [1, 4]]"))
    assert error_of(described, array(enumeratedShapes="[[1, 3], [1, 4], [1, 5]]")).endswith("is damaged")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["x", "Image", "[1, 2]", "Float32", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "type", "shape"]), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*image(), *array(), "shapeRange", "sizeRange"]), json_values))
def test_metadata_may_be_anything(fields):
    for feature in (fields, array(**fields), image(**fields)):
        try:
            description_of_metadata(parse_metadata(json.dumps([{"inputSchema": [feature]}]).encode(), NAME), NAME)
        except FormatError as error:
            assert str(error).startswith(NAME)  # noqa: PT017  # it may be right as well
