import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.support import fill, layer_spec

import windfall
from windfall.errors import FormatError
from windfall.spec.modelfile import from_spec, read_model_file
from windfall.spec.proto import NeuralNetwork_pb2
from windfall.spec.weights import decode, encoding, unpack

# Inline in a parsed file, and detached from it: see detach.SMALLEST.
SMALL, LARGE = (4, 6), (64, 90)
EVERYWHERE = pytest.mark.parametrize(("shape", "place"), [(SMALL, "file"), (LARGE, "file"), (SMALL, "memory")])


def pack_by_hand(values, bits):
    """Write unsigned numbers as one long binary numeral, the first number in front."""
    text = "".join(f"{value:0{bits}b}" for value in values)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def stored(tmp_path, place, **fields):
    """Return a model file whose only layer is a loadConstantND with the given weight, and that weight."""
    spec = layer_spec("loadConstantND", shape=[1], data=fields)
    file = from_spec(spec)
    if place == "file":
        path = windfall.load(spec).save(tmp_path / "m.mlmodel")
        file = read_model_file(path)
    return file, file.spec.neuralNetwork.layers[0].loadConstantND.data


def decoded(tmp_path, place, shape, channel_axis=0, **fields):
    return decode(*stored(tmp_path, place, **fields), shape, channel_axis)


def numbers(shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@EVERYWHERE
def test_float32(tmp_path, shape, place):
    values = numbers(shape)
    got = decoded(tmp_path, place, shape, floatValue=values.ravel().tolist())
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, values)


@EVERYWHERE
def test_float16(tmp_path, shape, place):
    values = numbers(shape).astype(np.float16)
    got = decoded(tmp_path, place, shape, float16Value=values.astype("<f2").tobytes())
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, values.astype(np.float32))


@EVERYWHERE
@pytest.mark.parametrize("bits", range(1, 9))
def test_linear_quantization(tmp_path, shape, place, bits):
    values = np.random.default_rng(bits).integers(0, 2**bits, shape)
    quantization = {"numberOfBits": bits, "linearQuantization": {"scale": [0.25], "bias": [-3.0]}}
    got = decoded(
        tmp_path, place, shape, rawValue=pack_by_hand(values.ravel().tolist(), bits), quantization=quantization
    )
    np.testing.assert_array_equal(got, values.astype(np.float32) * 0.25 - 3)


@EVERYWHERE
@pytest.mark.parametrize("axis", [0, 1])
def test_linear_quantization_per_channel(tmp_path, shape, place, axis):
    values = np.random.default_rng(5).integers(0, 32, shape)
    scale = np.arange(1, shape[axis] + 1, dtype=np.float32) / 4
    bias = np.arange(shape[axis], dtype=np.float32)
    quantization = {"numberOfBits": 5, "linearQuantization": {"scale": scale, "bias": bias}}
    raw = pack_by_hand(values.ravel().tolist(), 5)
    got = decoded(tmp_path, place, shape, channel_axis=axis, rawValue=raw, quantization=quantization)
    expected = [
        [values[i, j] * scale[(i, j)[axis]] + bias[(i, j)[axis]] for j in range(shape[1])] for i in range(shape[0])
    ]
    np.testing.assert_array_equal(got, np.array(expected, np.float32))


@EVERYWHERE
@pytest.mark.parametrize("bits", range(1, 9))
def test_lookup_table(tmp_path, shape, place, bits):
    table = numbers(2**bits)
    values = np.random.default_rng(bits).integers(0, 2**bits, shape)
    quantization = {"numberOfBits": bits, "lookupTableQuantization": {"floatValue": table}}
    got = decoded(
        tmp_path, place, shape, rawValue=pack_by_hand(values.ravel().tolist(), bits), quantization=quantization
    )
    np.testing.assert_array_equal(got, np.array([table[i] for i in values.ravel()]).reshape(shape))


@EVERYWHERE
def test_int8_raw_value(tmp_path, shape, place):
    values = np.random.default_rng(8).integers(-128, 128, shape, dtype=np.int8)
    quantization = {"numberOfBits": 8, "linearQuantization": {"scale": [0.5]}}
    got = decoded(tmp_path, place, shape, int8RawValue=values.tobytes(), quantization=quantization)
    np.testing.assert_array_equal(got, values.astype(np.float32) / 2)


@given(st.integers(1, 8).flatmap(lambda b: st.tuples(st.just(b), st.lists(st.integers(0, 2**b - 1), max_size=40))))
@settings(deadline=None, max_examples=60)
def test_unpack_reads_the_most_significant_bit_first(case):
    bits, values = case
    packed = np.frombuffer(pack_by_hand(values, bits), np.uint8)
    np.testing.assert_array_equal(unpack(packed, bits, len(values)), values)


@pytest.mark.filterwarnings("ignore")  # coremltools and torch warn about their own dependencies
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
def test_unpack_agrees_with_coremltools(bits):
    utils = pytest.importorskip("coremltools.models.neural_network.quantization_utils")
    values = np.random.default_rng(1).integers(0, 2**bits, 24).astype(np.uint8)
    packed = values if bits == 8 else utils._convert_array_to_nbit_quantized_bytes(values, bits)
    np.testing.assert_array_equal(unpack(np.frombuffer(bytes(packed), np.uint8), bits, 24), values)


@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=5), bits=st.integers(1, 8))
@settings(deadline=None, max_examples=40)
def test_any_shape_is_row_major_and_any_axis_may_have_the_scales(data, shape, bits):
    axis = data.draw(st.integers(0, len(shape) - 1))
    values = data.draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 2**bits - 1)))
    scale = data.draw(hnp.arrays(np.float32, shape[axis], elements=st.integers(-4, 4)))
    weight = NeuralNetwork_pb2.WeightParams()
    fill(weight, {"rawValue": pack_by_hand(values.ravel().tolist(), bits), "quantization": {"numberOfBits": bits}})
    fill(weight.quantization, {"linearQuantization": {"scale": scale}})
    file = from_spec(layer_spec("activation", np.zeros(1)))
    expected = np.moveaxis(np.moveaxis(values.astype(np.float32), axis, -1) * scale, -1, axis)
    np.testing.assert_array_equal(decode(file, weight, shape, axis), expected)


def test_no_values_are_an_array_without_elements(tmp_path):
    file, weight = stored(tmp_path, "memory")
    assert encoding(file, weight) is None
    assert decode(file, weight, (0, 3)).shape == (0, 3)


LINEAR = {"scale": [1.0]}


@pytest.mark.parametrize("place", ["file", "memory"])
@pytest.mark.parametrize(
    ("shape", "fields", "message"),
    [
        ((4,), {}, "has no values, must have 4"),
        ((4,), {"floatValue": [1.0] * 3}, "has 3 values in 12 bytes, must have 4 (4) in 16 bytes"),
        ((2, 2), {"floatValue": [1.0] * 5}, "has 5 values in 20 bytes, must have 4 (2 x 2) in 16 bytes"),
        ((700,), {"float16Value": bytes(1402)}, "has 701 values in 1402 bytes, must have 700 (700) in 1400 bytes"),
        ((2,), {"float16Value": bytes(3)}, "has 1 values in 3 bytes, must have 2 (2) in 4 bytes"),
        (
            (9,),
            {"rawValue": bytes(4), "quantization": {"numberOfBits": 4, "linearQuantization": LINEAR}},
            "has 8 values in 4 bytes, must have 9 (9) in 5 bytes",
        ),
        (
            (2**40, 2**40),
            {"floatValue": [1.0]},
            f"has 1 values in 4 bytes, must have {2**80} ({2**40} x {2**40}) in {2**82} bytes",
        ),
        ((-1, -4), {"floatValue": [1.0] * 4}, "is asked for as (-1 x -4) values, no size may be below 0"),
        ((1,), {"rawValue": b"a"}, "quantization.numberOfBits is 0, must be 1 to 8"),
        (
            (1,),
            {"rawValue": b"a", "quantization": {"numberOfBits": 2**64 - 1}},
            f"quantization.numberOfBits is {2**64 - 1}, must be 1 to 8",
        ),
        (
            (1,),
            {"rawValue": b"a", "quantization": {"numberOfBits": 8}},
            "is quantized without linearQuantization or lookupTableQuantization, must have one",
        ),
        (
            (1,),
            {"rawValue": b"a", "int8RawValue": b"a"},
            "stored as rawValue and int8RawValue at once, must be one of them",
        ),
        (
            (300,),
            {"float16Value": bytes(600), "floatValue": [0.0] * 300},
            "stored as floatValue and float16Value at once, must be one of them",
        ),
        (
            (1,),
            {"rawValue": b"a", "quantization": {"numberOfBits": 2, "lookupTableQuantization": {"floatValue": [1.0]}}},
            "has a lookup table of 1 entries, must be 4",
        ),
        (
            (3,),
            {"rawValue": b"abc", "quantization": {"numberOfBits": 8, "linearQuantization": {"scale": [1.0, 2.0]}}},
            "has a quantization scale of 2 values, must be 1 or 3",
        ),
        (
            (1,),
            {"rawValue": b"a", "quantization": {"numberOfBits": 8, "linearQuantization": {}}},
            "has a quantization scale of 0 values, must be 1",
        ),
        (
            (3,),
            {
                "rawValue": b"abc",
                "quantization": {"numberOfBits": 8, "linearQuantization": {"scale": [1.0], "bias": [1.0, 2.0]}},
            },
            "has a quantization bias of 2 values, must be 1 or 3",
        ),
        (
            (1,),
            {
                "int8RawValue": b"a",
                "quantization": {"numberOfBits": 2**60, "lookupTableQuantization": {"floatValue": [1.0]}},
            },
            "is stored as int8RawValue with lookupTableQuantization, must have linearQuantization",
        ),
    ],
)
def test_weights_that_do_not_fit(tmp_path, place, shape, fields, message):
    with pytest.raises(FormatError) as error:
        decoded(tmp_path, place, shape, **fields)
    assert str(error.value) == message
