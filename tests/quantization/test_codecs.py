import numpy as np
import pytest
from numpy.typing import NDArray

from windfall.errors import FormatError
from windfall.quantization.codecs import CODECS, Encoded, encode_custom

Floats = NDArray[np.float32]
WIDTHS = [(mode, bits) for mode, codec in CODECS.items() for bits in codec.widths]
rng = np.random.default_rng(0)
VALUES = {
    "normal": rng.normal(size=(6, 200)),
    "offset": rng.normal(size=(6, 200)) + 50,
    "scales": rng.normal(size=(6, 200)) * np.array([[1e-20], [1e-3], [1], [1e3], [1e20], [1e30]]),
    "one row": rng.standard_t(3, size=(1, 5000)),
    "one value each": rng.normal(size=(6, 1)),
}


def decoded(encoded: Encoded) -> NDArray[np.float64]:
    """What small numbers stand for, by the formulas in NeuralNetwork.proto."""
    if encoded.table is not None:
        return encoded.table[encoded.codes].astype(np.float64)
    assert encoded.scale is not None
    assert encoded.bias is not None
    scale, bias = (part.astype(np.float64)[:, np.newaxis] for part in (encoded.scale, encoded.bias))
    return encoded.codes * scale + bias


@pytest.mark.parametrize(("mode", "bits"), WIDTHS)
@pytest.mark.parametrize("name", VALUES)
def test_values_are_off_by_half_a_step_at_most(name: str, mode: str, bits: int) -> None:
    values = VALUES[name].astype(np.float32)
    encoded = CODECS[mode].encode(values, bits)
    assert encoded.codes.dtype == np.uint8
    assert encoded.codes.max() < 2**bits
    low, high = (part[:, np.newaxis].astype(np.float64) for part in (values.min(axis=1), values.max(axis=1)))
    if not CODECS[mode].by_channel:
        low, high = low.min(), high.max()
    step = (high - low) / (2**bits - 1)
    if mode == "linear_symmetric":
        step = np.maximum(np.abs(low), np.abs(high)) / (2 ** (bits - 1) - 1)
    error = np.abs(decoded(encoded) - values)
    slack = 1e-6 * np.maximum(np.abs(low), np.abs(high))
    if mode == "kmeans":
        linear = CODECS["linear_lut"].encode(values, bits)
        assert (error**2).sum() <= ((decoded(linear) - values) ** 2).sum() * (1 + 1e-6) + 1e-30
    else:
        assert (error <= step / 2 + slack).all()


@pytest.mark.parametrize("bits", range(1, 9))
def test_linear_equals_a_plain_reference(bits: int) -> None:
    values = VALUES["normal"].astype(np.float32)
    encoded = CODECS["linear"].encode(values, bits)
    for row, codes, scale, bias in zip(values, encoded.codes, encoded.scale, encoded.bias, strict=True):
        step = (float(row.max()) - float(row.min())) / (2**bits - 1)
        assert scale == pytest.approx(step, rel=1e-6)
        assert bias == row.min()
        expected = np.rint((row.astype(np.float64) - row.min()) / step)
        assert (codes != expected).mean() < 0.002  # those that lie halfway
        assert np.abs(codes - expected).max() <= 1


@pytest.mark.parametrize("bits", range(2, 9))
def test_zero_stays_zero_in_the_symmetric_mode(bits: int) -> None:
    values = VALUES["scales"].astype(np.float32)
    values[:, 3] = 0
    encoded = CODECS["linear_symmetric"].encode(values, bits)
    assert (encoded.codes[:, 3] == 2 ** (bits - 1)).all()
    scaled = encoded.codes * encoded.scale[:, np.newaxis] + encoded.bias[:, np.newaxis]
    assert (scaled[:, 3] == 0).all()


@pytest.mark.parametrize(("mode", "bits"), WIDTHS)
@pytest.mark.parametrize("value", [0, -3.5, 1e-30])
def test_constants_stay_as_they_are(mode: str, bits: int, value: float) -> None:
    values = np.full((2, 9), value, np.float32)
    np.testing.assert_allclose(decoded(CODECS[mode].encode(values, bits)), values, rtol=1e-6)


def test_tables_have_an_entry_for_each_number() -> None:
    values = np.array([[1, 2, 1]], np.float32)
    for mode in ("kmeans", "linear_lut"):
        assert CODECS[mode].encode(values, 3).table.shape == (8,)


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("linear", "has values from -3e+38 to 3e+38, further apart than float32 can say"),
        ("linear_symmetric", "has values of up to 3e+38, for which 8 bits around 0 need more than float32"),
    ],
)
def test_ranges_beyond_float32(mode: str, message: str) -> None:
    with pytest.raises(FormatError) as error:
        CODECS[mode].encode(np.array([[-3e38, 3e38]], np.float32), 8)
    assert str(error.value) == message


def test_a_function_of_the_users_own() -> None:
    values = np.array([[-1, 2], [3, -4]], np.float32)
    encoded = encode_custom(values, 1, lambda bits, weight: ([-2.5, 2.5], (weight > 0).tolist()))
    np.testing.assert_array_equal(decoded(encoded), [[-2.5, 2.5], [2.5, -2.5]])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "got NoneType from the function, must be a pair: the table and the indices"),
        (([1, 2, 3], [0, 1]), "got one of shape [3] as the function's table, must be 2 finite numbers"),
        (([1, np.nan], [0, 1]), "got one of shape [2] as the function's table, must be 2 finite numbers"),
        (("ab", [0, 1]), "got what is none as the function's table, must be 2 finite numbers"),
        (([1, 2], [0]), "got 1 as the function's indices, must be 2, one for each value"),
        (([1, 2], None), "got what are none as the function's indices, must be 2, one for each value"),
        (([1, 2], [0, 2]), "got indices from the function that are not whole numbers from 0 to 1"),
        (([1, 2], [0, 0.5]), "got indices from the function that are not whole numbers from 0 to 1"),
    ],
)
def test_results_of_a_function_that_are_none(result: object, message: str) -> None:
    with pytest.raises(FormatError) as error:
        encode_custom(np.array([1, 2], np.float32), 1, lambda bits, weight: result)
    assert str(error.value) == message
