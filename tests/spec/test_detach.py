import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from windfall.spec.detach import MARKER, SMALLEST, ScanError, detach, payloads
from windfall.spec.proto import Model_pb2, NeuralNetwork_pb2

MODEL, WEIGHT = Model_pb2.Model.DESCRIPTOR, NeuralNetwork_pb2.WeightParams.DESCRIPTOR
NAMES = {1: "floatValue", 2: "float16Value", 30: "rawValue", 31: "int8RawValue"}
LENGTHS = st.sampled_from([0, 1, 3, 255, 256, 257, SMALLEST - 1, SMALLEST, 5000])


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, payload):
    """Write a length-delimited field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def in_model(weight_bytes):
    """Write a model of one loadConstant layer (field 290, its data field 2) around a serialized weight."""
    layer = field(1, b"layer") + field(290, field(2, weight_bytes))
    return varint(1 << 3) + b"\x04" + field(500, field(1, layer))


def weights_of(message):
    if message.DESCRIPTOR.full_name == WEIGHT.full_name:
        yield message
        return
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None and not descriptor.message_type.GetOptions().map_entry:
            for child in value if descriptor.is_repeated else [value]:
                yield from weights_of(child)


def attached(data):
    """Detach, parse, and put each payload back by the marker in its place."""
    small, extents = detach(memoryview(data), MODEL)
    model = Model_pb2.Model.FromString(small)
    for weight in weights_of(model):
        for number, indices in payloads(weight).items():
            (index,) = indices
            offset, length = extents[index]
            weight.MergeFromString(field(number, data[offset : offset + length]))
        weight.DiscardUnknownFields()
    return model, extents


@st.composite
def weights(draw, message):
    """Fill a WeightParams in one of its ways, of any length."""
    kind = draw(st.sampled_from(["floatValue", "float16Value", "rawValue", "int8RawValue", "all"]))
    for name in NAMES.values() if kind == "all" else [kind]:
        length = draw(LENGTHS)
        if name == "floatValue":
            message.floatValue.extend([0.5] * length)
        else:
            setattr(message, name, draw(st.binary(min_size=1, max_size=3)) * length)
    message.quantization.numberOfBits = draw(st.integers(0, 2**64 - 1))


@st.composite
def models(draw):
    model = Model_pb2.Model(specificationVersion=draw(st.integers(1, 9)))
    model.description.metadata.userDefined["a"] = draw(st.text(max_size=5))
    kind = draw(st.sampled_from(["neuralNetwork", "neuralNetworkClassifier", "pipeline"]))
    getattr(model, kind).SetInParent()
    network = model.pipeline.models.add().neuralNetwork if kind == "pipeline" else getattr(model, kind)
    for index in range(draw(st.integers(0, 3))):
        layer = network.layers.add(name=f"layer{index}")
        choice = draw(st.sampled_from(["convolution", "batchnorm", "loop", "uniDirectionalLSTM", "custom"]))
        params = getattr(layer, choice)
        params.SetInParent()
        targets = {
            "convolution": lambda p: [p.weights, p.bias],
            "batchnorm": lambda p: [p.gamma],
            "loop": lambda p: [p.bodyNetwork.layers.add().innerProduct.weights],
            "uniDirectionalLSTM": lambda p: [p.weightParams.inputGateBiasVector],
            "custom": lambda p: [p.weights.add(), p.weights.add()],
        }
        for target in targets[choice](params):
            draw(weights(target))
    return model


@given(models())
@settings(deadline=None, max_examples=60)
def test_detached_payloads_put_back_give_the_same_model(model):
    again, extents = attached(model.SerializeToString())
    assert again == model
    assert all(extent.length >= SMALLEST for extent in extents)


@given(models())
@settings(deadline=None, max_examples=25)
def test_only_small_payloads_stay_in_the_message(model):
    small, _ = detach(memoryview(model.SerializeToString()), MODEL)
    for weight in weights_of(Model_pb2.Model.FromString(small)):
        assert 4 * len(weight.floatValue) < SMALLEST
        assert max(len(weight.float16Value), len(weight.rawValue), len(weight.int8RawValue)) < SMALLEST


@pytest.mark.parametrize("number", NAMES)
def test_a_marker_in_the_file_is_not_one_of_ours(number):
    marker = varint((MARKER + number) << 3) + varint(0)
    model, extents = attached(in_model(marker + field(30, b"a" * 2000) + marker))
    (weight,) = weights_of(model)
    assert weight.rawValue == b"a" * 2000
    assert len(extents) == 1


def test_a_float_weight_in_pieces_is_joined():
    data = in_model(field(1, b"\0\0\x80\x3f" * 300) * 2)
    model, extents = attached(data)
    assert model == Model_pb2.Model.FromString(data)
    assert len(model.neuralNetwork.layers[0].loadConstant.data.floatValue) == 600
    assert extents == []


def test_of_bytes_in_pieces_the_last_one_counts():
    data = in_model(field(30, b"a" * 2000) + field(30, b"b" * 3000))
    model, _ = attached(data)
    assert model.neuralNetwork.layers[0].loadConstant.data.rawValue == b"b" * 3000


def test_unpacked_floats_are_read():
    data = in_model(b"\x0d\0\0\x80\x3f" * 3)
    model, _ = attached(data)
    assert list(model.neuralNetwork.layers[0].loadConstant.data.floatValue) == [1, 1, 1]


def test_numbers_written_longer_than_needed_are_read():
    # The tag of rawValue (242 = f2 01) and its length (2000 = d0 0f) with zero bits behind.
    data = in_model(b"\xf2\x81\x80\x00" + b"\xd0\x8f\x80\x80\x00" + b"a" * 2000)
    model, extents = attached(data)
    assert model.neuralNetwork.layers[0].loadConstant.data.rawValue == b"a" * 2000
    assert len(extents) == 1


def nested(depth):
    data = field(1, b"")
    for _ in range(depth):  # pipeline (202) > models (1)
        data = field(202, field(1, data))
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x08", "a number is cut off"),
        (b"\x08" + b"\x80" * 5, "a number is cut off"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "a number is longer than 64 bits"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00", "a field's number is longer than 29 bits"),
        (field(500, b"")[:-1] + b"\x05abc", "a field runs past the end of its message"),
        (varint(500 << 3 | 2) + b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "a field runs past the end of its message"),
        (b"\x0b", "wire type 3"),
        (b"\x0f", "wire type 7"),
        (nested(60), "messages are nested too deeply"),
        (in_model(field(30, b"a" * 2000))[:-1], "a field runs past the end of its message"),
    ],
)
def test_bytes_that_are_no_message(data, message):
    with pytest.raises(ScanError) as error:
        detach(memoryview(data), MODEL)
    assert str(error.value) == message


@given(st.binary(max_size=60))
@settings(deadline=None, max_examples=200)
def test_any_bytes_parse_as_protobuf_parses_them_or_are_refused(data):
    try:
        small, extents = detach(memoryview(data), MODEL)
        parsed = Model_pb2.Model.FromString(small)
    except (ScanError, DecodeError):
        return
    assert extents == []
    assert parsed == Model_pb2.Model.FromString(data)
