"""What a compiled model says of its inputs and outputs: in coremldata.bin, or as a program alone."""

import struct
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tests.spec.miltext.support import parse

from windfall.errors import FormatError
from windfall.spec.compiled_description import (
    description_of_metadata,
    description_of_program,
    name_predictions,
    parse_binary,
    parse_metadata,
)
from windfall.spec.proto import Model_pb2

SAMPLE = Path(__file__).parents[3] / "shared" / "models" / "fluid-argmax.mlmodelc"
NAME = "m.mlmodelc/metadata.json"
AGAIN = "; compile the model again"

published = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the published models are not beside the project")


def description_message(text):
    return text_format.Parse(text, Model_pb2.ModelDescription())


DESCRIPTION = description_message('input { name: "x" type { doubleType {} } } metadata { author: "A" }')


def binary(description, model_type=502, version=9, word=b"generic", size=None):
    """Return a coremldata.bin; the offsets are those of published ones."""
    data = description.SerializeToString()
    head = struct.pack("<II20xQ", model_type, 5, len(word)) + word + struct.pack("<I28x", version)
    return head + struct.pack("<Q", len(data) if size is None else size) + data + bytes(16)


@published
def test_a_published_model_is_described_alike_in_all_three_places():
    stored = parse_binary((SAMPLE / "coremldata.bin").read_bytes())
    assert (stored.model_type, stored.version) == ("mlProgram", 7)
    assert description_of_metadata(parse_metadata((SAMPLE / "metadata.json").read_bytes(), NAME), NAME) == (
        stored.description
    )
    made = description_of_program(parse((SAMPLE / "model.mil").read_text()), "model.mil")
    assert (list(made.input), list(made.output)) == (list(stored.description.input), list(stored.description.output))


@pytest.mark.parametrize("word", [b"", b"generic", b"w" * 256])
def test_coremldata_is_read(word):
    assert parse_binary(binary(DESCRIPTION, word=word)) == ("mlProgram", 9, DESCRIPTION)
    assert parse_binary(binary(DESCRIPTION, 500, 4, word)) == ("neuralNetwork", 4, DESCRIPTION)
    assert parse_binary(binary(DESCRIPTION, 99999, 4, word)) == ("", 4, DESCRIPTION)


def test_coremldata_that_is_not_of_the_form_that_is_known():
    whole = binary(DESCRIPTION)
    described = len(whole) - 16
    assert parse_binary(whole[:described]) == parse_binary(whole)
    assert [end for end in range(described) if parse_binary(whole[:end]) is not None] == []
    assert parse_binary(binary(DESCRIPTION, word=b"w" * 257)) is None
    assert parse_binary(binary(DESCRIPTION, size=2**63)) is None
    assert parse_binary(binary(Model_pb2.ModelDescription())) is None
    assert parse_binary(whole.replace(b"\n\x01x", b"\n\x7fx")) is None


@given(st.binary(max_size=200))
def test_coremldata_may_be_anything(data):
    assert parse_binary(data) is None


def error_of(function, *arguments):
    with pytest.raises(FormatError) as error:
        function(*arguments)
    message = str(error.value)
    assert message.endswith(AGAIN)
    return message.removesuffix(AGAIN)


def program(parameters, body, results, name="main"):
    return parse(f"program(1.3) {{ func {name}<ios18>({parameters}) {{ {body} }} -> ({results}); }}")


def test_a_program_alone_describes_itself():
    found = description_of_program(
        program(
            "tensor<fp16, [1, ?]> x, int32 n, tensor<fp64, [9999999999999999999]> w, state<tensor<fp16, [2]>> total",
            "tensor<fp32, [2]> y = f(); string label, dict<int64, fp32> scores = g(); int64 i = h(); int8 b = k();",
            "y, label, scores, i, b, n",
        ),
        "m.mil",
    )
    expected = description_message("""
        input { name: "x" type { multiArrayType { dataType: FLOAT16 shape: [1, 1] shapeRange {
          sizeRanges { lowerBound: 1 upperBound: 1 } sizeRanges { lowerBound: 1 upperBound: -1 } } } } }
        input { name: "n" type { multiArrayType { dataType: INT32 } } }
        input { name: "w" type { multiArrayType { dataType: DOUBLE shape: 9223372036854775807 } } }
        state { name: "total" type { stateType { arrayType { dataType: FLOAT16 shape: 2 } } } }
        output { name: "y" type { multiArrayType { dataType: FLOAT32 shape: 2 } } }
        output { name: "label" type { stringType {} } }
        output { name: "scores" type { dictionaryType { int64KeyType {} } } }
        output { name: "i" type { int64Type {} } }
        output { name: "b" type { multiArrayType { dataType: INT8 } } }
        output { name: "n" type { multiArrayType { dataType: INT32 } } }
    """)
    assert found == expected


@pytest.mark.parametrize(
    ("names", "default"), [(["main"], ""), (["b", "a"], "a"), (["a", "main"], "main"), (["only"], "only"), ([], "")]
)
def test_the_functions_of_a_program(names, default):
    text = " ".join(f"func {name}<ios18>(fp32 x) {{ }} -> (x);" for name in names)
    found = description_of_program(parse(f"program(1.0) {{ {text} }}"), "m.mil")
    assert found.defaultFunctionName == default
    assert [f.name for f in found.functions] == ([] if names == ["main"] else sorted(names))
    for one in [*found.functions, *([found] if names == ["main"] else [])]:
        assert [i.name for i in one.input] == [o.name for o in one.output] == ["x"]


@pytest.mark.parametrize(
    ("parameters", "body", "results"),
    [
        ("bool x", "", ""),
        ("tensor<uint8, [2]> x", "", ""),
        ("string x", "", ""),
        ("tuple<fp32> x", "", ""),
        ("state<list<fp32, 1>> x", "", ""),
        ("", "bool x = f();", "x"),
        ("", "list<fp32, 1> x = f();", "x"),
        ("", "tensor<string, [2]> x = f();", "x"),
    ],
)
def test_inputs_and_outputs_that_no_model_can_have(parameters, body, results):
    assert error_of(description_of_program, program(parameters, body, results), "m.mil") == (
        "m.mil has 'x' as an input or output, of a type that none can have, and neither coremldata.bin nor "
        "metadata.json says what it is"
    )


def test_outputs_that_nothing_makes():
    message = error_of(description_of_program, program("", "fp32 x = f();", "y"), "m.mil")
    assert message == "m.mil returns 'y', which no operation makes"


CLASSIFIER = "string label, dict<string, fp32> scores = classify(probabilities = x);"


@pytest.mark.parametrize(
    ("body", "results", "expected"),
    [
        (CLASSIFIER, "label, scores", ("label", "scores")),
        (CLASSIFIER, "scores, label", ("label", "scores")),
        (CLASSIFIER, "label", ("label", "")),
        (CLASSIFIER, "x", ("", "")),
        (CLASSIFIER.replace("classify", "other"), "label, scores", ("", "")),
    ],
)
def test_the_predictions_of_a_classifier_are_those_of_the_operation_that_classifies(body, results, expected):
    for name in ("main", "other"):
        message = program("fp32 x", body, results, name)
        described = description_of_program(message, "m.mil")
        name_predictions(described, message)
        (found,) = described.functions or [described]
        assert (found.predictedFeatureName, found.predictedProbabilitiesName) == expected


def test_predictions_that_are_named_stay():
    message = program("fp32 x", CLASSIFIER, "label, scores")
    found = Model_pb2.ModelDescription(predictedFeatureName="mine")
    name_predictions(found, message)
    assert (found.predictedFeatureName, found.predictedProbabilitiesName) == ("mine", "")
    found = Model_pb2.ModelDescription(functions=[Model_pb2.FunctionDescription(name="none")])
    name_predictions(found, message)
    assert found.functions[0].predictedFeatureName == ""
