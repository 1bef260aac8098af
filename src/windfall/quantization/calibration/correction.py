"""Let a layer's bias take up what its quantized weight makes its outputs larger or smaller on average.

Source: Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization through Weight Equalization and Bias
Correction", arXiv:1906.04721, 2019; here the mean of the inputs is measured.
"""

import numpy as np
from numpy.typing import NDArray

from windfall.quantization.calibration.moments import Moments
from windfall.quantization.fields import NetworkWeight
from windfall.quantization.storing import store_floats, store_halves
from windfall.quantization.weight import stored, values_of
from windfall.spec.modelfile import ModelFile
from windfall.spec.weights import FLOAT16, FLOAT32

Floats = NDArray[np.float32]
_STORE = {FLOAT16: store_halves, FLOAT32: store_floats}


def can_correct(file: ModelFile, bias: NetworkWeight) -> bool:
    """Whether a bias is of float numbers."""
    how = stored(file, bias)
    return how is not None and how.field in _STORE


def mean_error(weight: Floats, new: Floats, moments: Moments) -> NDArray[np.float64]:
    """Return how much less than the original's the layer's outputs are on average.

    Args:
        weight: The original's weight, [groups, columns, rows].
        new: The same, quantized.
        moments: Those of the layer's input.

    Returns:
        [groups, rows]
    """
    mean, drift = moments.first / moments.count, moments.drift / moments.count
    error: NDArray[np.float64] = np.einsum("gk,gkr->gr", mean, weight - new)
    error += np.einsum("gk,gkr->gr", drift, weight)
    return error


def correct(file: ModelFile, bias: NetworkWeight, error: NDArray[np.float64]) -> None:
    """Add the mean error of each channel to a bias.

    Raises:
        FormatError: A number is beyond what float16 has, and the bias is stored so.
    """
    how = stored(file, bias)
    assert how is not None
    values = values_of(file, bias) + error.reshape(-1)
    _STORE[how.field](bias.params, values.astype(np.float32))
