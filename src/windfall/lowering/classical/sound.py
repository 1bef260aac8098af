"""The preprocessing of sound.

Source: ``SoundAnalysisPreprocessing`` in SoundAnalysisPreprocessing.proto, SoundAnalysisPreprocessingValidator.cpp.
The edges and the shape of the mel bands are those of the published VGGish front end, which the message names.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from windfall.lowering.classical.context import ModelContext
from windfall.lowering.classical.forms import Forms

_RATE = 16000
_SAMPLES = 15600
_WINDOW = 400
_HOP = 160
_FFT = 512
_BINS = _FFT // 2 + 1
_FRAMES = 1 + (_SAMPLES - _WINDOW) // _HOP
_BANDS = 64
_LOWEST_HERTZ, _HIGHEST_HERTZ = 125.0, 7500.0
_LOG_OFFSET = 0.01


def lower_sound_analysis_preprocessing(ctx: ModelContext) -> Forms:
    """Compute the logarithms of the mel bands of 0.975 seconds of sound, as VGGish takes them.

    All is computed in doubles: a loud tone would leave nothing of the quiet bands in float32.

    Source: ``SoundAnalysisPreprocessing.Vggish``. The input is 15600 samples at 16 kHz, [rows, 15600].

    Returns:
        [rows, 1, 96, 64]: log(band + 0.01) for 96 frames of 25 ms, 10 ms apart, and 64 bands.

    Raises:
        LoweringError: The type of preprocessing is not set, or the input has another length.
    """
    if ctx.params.WhichOneof("SoundAnalysisPreprocessingType") != "vggish":
        raise ctx.error("SoundAnalysisPreprocessingType", "is not set, must be vggish")
    samples = ctx.vector(ctx.input_name("multiArrayType"))
    if ctx.count(samples) != _SAMPLES:
        raise ctx.error("input", f"must be {_SAMPLES} samples, 975 ms at 16 kHz", value=f"{ctx.count(samples)} values")
    places = np.arange(_FRAMES)[:, None] * _HOP + np.arange(_WINDOW)
    frames = ctx.op("Gather", samples, ctx.integers(places, "frames"), axis=1)  # [rows, 96, 400]
    squares = []
    for part in _windowed_fourier():
        product = ctx.op("MatMul", frames, ctx.doubles(part, "fourier"))  # [rows, 96, 257]
        squares.append(ctx.op("Mul", product, product))
    magnitudes = ctx.op("Sqrt", ctx.op("Add", *squares))
    bands = ctx.op("MatMul", magnitudes, ctx.doubles(_mel_bands(), "mel"))
    logs = ctx.op("Log", ctx.op("Add", bands, ctx.doubles(_LOG_OFFSET)))
    return ctx.output(ctx.op("Unsqueeze", logs, ctx.integers([1])))


def _windowed_fourier() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the real and imaginary parts of the Fourier transform behind a periodic Hann window, each [400, 257]."""
    times = np.arange(_WINDOW)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * times / _WINDOW)
    # Modulo the length, as cosines of large angles lose digits.
    angles = 2 * np.pi / _FFT * (times[:, None] * np.arange(_BINS) % _FFT)
    return window[:, None] * np.cos(angles), window[:, None] * np.sin(angles)


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127 * np.log1p(hertz / 700)


def _mel_bands() -> NDArray[np.float64]:
    """Return the share of each bin of the spectrum in each band, [257, 64]: triangles on the mel scale."""
    low, high = _mel(np.array([_LOWEST_HERTZ, _HIGHEST_HERTZ]))
    edges = np.linspace(low, high, _BANDS + 2)
    mels = _mel(np.linspace(0, _RATE / 2, _BINS))[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    shares: NDArray[np.float64] = np.maximum(
        0, np.minimum((mels - lower) / (centre - lower), (upper - mels) / (upper - centre))
    )
    shares[0] = 0  # the mean of the samples is no sound
    return shares


LOWERINGS: Mapping[str, Callable[[ModelContext], Forms]] = {
    "soundAnalysisPreprocessing": lower_sound_analysis_preprocessing,
}
