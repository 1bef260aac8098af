import numpy as np
import pytest

import windfall
from tests.classical import array, model_spec, predict
from windfall.errors import FormatError


def spec_of(samples=15600, dtype="FLOAT32", output=(1, 96, 64), vggish=True):
    fields = {"vggish": {}} if vggish else {}
    return model_spec(
        "soundAnalysisPreprocessing", {"x": array(samples, dtype=dtype)},
        {"y": array(*output, dtype=dtype)}, fields,
    )  # fmt: skip


def front_end(samples):
    """The published VGGish front end, step by step."""
    frames = np.array([samples[start : start + 400] for start in range(0, len(samples) - 399, 160)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    spectrum = np.abs(np.fft.rfft(frames * window, 512))
    mel = lambda hertz: 1127.0 * np.log(1.0 + hertz / 700.0)  # noqa: E731
    edges = np.linspace(mel(125.0), mel(7500.0), 66)
    bins = mel(np.linspace(0.0, 8000.0, 257))
    bands = np.zeros((257, 64))
    for band in range(64):
        lower, centre, upper = edges[band : band + 3]
        for index in range(1, 257):
            rising, falling = (bins[index] - lower) / (centre - lower), (upper - bins[index]) / (upper - centre)
            bands[index, band] = max(0.0, min(rising, falling))
    return np.log(spectrum @ bands + 0.01)[None]


def sounds():
    rng = np.random.default_rng(0)
    time = np.arange(15600) / 16000
    tone = np.sin(2 * np.pi * 440 * time)
    return np.array([rng.normal(size=15600) * 0.1, tone, np.zeros(15600), tone * np.linspace(0, 1, 15600) ** 4])


@pytest.mark.parametrize(("dtype", "tolerance"), [("DOUBLE", 1e-10), ("FLOAT32", 2e-6)])
def test_as_the_published_front_end(dtype, tolerance):
    x = sounds().astype(np.float32 if dtype == "FLOAT32" else np.float64)
    got = windfall.load(spec_of(dtype=dtype)).predict_batch({"x": x})["y"]
    assert got.shape == (4, 1, 96, 64)
    assert got.dtype == x.dtype
    for row, samples in zip(got, x, strict=True):
        np.testing.assert_allclose(row, front_end(samples.astype(np.float64)), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(got[2], np.log(0.01), rtol=1e-6)


def test_one_prediction():
    y = predict(spec_of(), x=sounds()[1].astype(np.float32))["y"]
    assert y.shape == (1, 96, 64)
    # 440 Hz are 549.6 mel, and band b has its middle at 185.2 + 39.8 (b + 1)
    assert y[0, 50].argmax() == 8


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"vggish": False}, "SoundAnalysisPreprocessingType is not set, must be vggish"),
        ({"samples": 16000}, "input is 16000 values, must be 15600 samples, 975 ms at 16 kHz"),
    ],
)
def test_damaged_models(fields, text):
    with pytest.raises(FormatError) as error:
        predict(spec_of(**fields), x=np.zeros(fields.get("samples", 15600), np.float32))
    assert str(error.value) == f"cannot lower the model (soundAnalysisPreprocessing): {text}"
