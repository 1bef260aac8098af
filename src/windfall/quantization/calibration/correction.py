"""Let a layer's bias take up what its quantized weight makes its outputs larger or smaller on average.

Source: Nagel, van Baalen, Blankevoort and Welling, "Data-Free Quantization through Weight Equalization and Bias
Correction", arXiv:1906.04721, 2019; here the mean of the inputs is measured.
"""

import numpy as np
from numpy.typing import NDArray

from windfall.quantization.calibration.moments import Moments
from windfall.quantization.fields import NetworkWeight
from windfall.quantization.programs.forms import store_float
from windfall.quantization.programs.weightfile import WeightFile
from windfall.quantization.programs.weights import ProgramWeight
from windfall.quantization.storing import store_floats, store_halves
from windfall.quantization.weight import Weight, stored, values_of
from windfall.spec.modelfile import ModelFile
from windfall.spec.weights import FLOAT16, FLOAT32

Floats = NDArray[np.float32]
_HALF = 16
_STORE = {FLOAT16: store_halves, FLOAT32: store_floats}


def can_correct(file: ModelFile, bias: Weight, bits: int | None) -> bool:
    """Whether a bias is of float numbers, and stays so.

    Args:
        file: The model.
        bias: The bias.
        bits: How many bits it is to get, None where it stays as it is.
    """
    how = stored(file, bias)
    if isinstance(bias, ProgramWeight):
        return how is not None and bias.maker.type == "const" and bits is None
    return how is not None and how.field in _STORE and (bits is None or bits >= _HALF)


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


def correct(file: ModelFile, bias: Weight, error: NDArray[np.float64], out: WeightFile | None) -> None:
    """Add the mean error of each channel to a bias.

    Args:
        file: The model as it was.
        bias: The bias in the new model.
        error: [groups, rows], those of all groups in the bias's order.
        out: The new model's weight file, for programs.

    Raises:
        FormatError: A number is beyond what float16 has, and the bias is stored so.
    """
    how = stored(file, bias)
    assert how is not None
    values = (values_of(file, bias) + error.reshape(bias.shape)).astype(np.float32)
    if isinstance(bias, ProgramWeight):
        assert out is not None
        store_float(bias, values, out)
    else:
        assert isinstance(bias, NetworkWeight)
        _STORE[how.field](bias.params, values)
