"""Choose the codes of a weight so that the layer's outputs, not its weights, change least.

For inputs x the sum of squared changes of the outputs is tr(E H E^T), with E what the weight is off by and H the sum of
x x^T. Two ways to make it small: column after column, each making up for the errors of those before it (Frantar,
Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
arXiv:2210.17323, 2022), and coordinate descent from there, which never makes it larger (Behdin et al., "QuantEase",
arXiv:2309.01885, 2023).

All arrays have a first axis of groups: weights are [groups, columns, rows], moments [groups, columns, columns].
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from windfall.quantization.calibration.levels import Codes, Floats, Levels

_BLOCK = 128


def inverse_factor(moments: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the upper triangular U with U^T U = H^-1 for moments that are positive definite.

    U^T is the inverse of the factor of H with both axes reversed, so no matrix has to be inverted and factored again.
    """
    lower = np.linalg.cholesky(moments[:, ::-1, ::-1]).astype(np.float64, copy=False)
    return _lower_inverse(lower)[:, ::-1, ::-1]


def _lower_inverse(lower: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invert lower triangular matrices, half by half: [[A, 0], [B, C]] -> [[A', 0], [-C' B A', C']]."""
    size = lower.shape[1]
    if size <= _BLOCK:
        return np.tril(np.linalg.inv(lower))
    half = size // 2
    inverse = np.zeros_like(lower)
    first, last = _lower_inverse(lower[:, :half, :half]), _lower_inverse(lower[:, half:, half:])
    inverse[:, :half, :half], inverse[:, half:, half:] = first, last
    inverse[:, half:, :half] = -last @ lower[:, half:, :half] @ first
    return inverse


def compensated(weight: Floats, factor: Floats, levels: Levels) -> Codes:
    """Return codes, chosen column after column; what one is off by, the later ones make up for.

    Args:
        weight: [groups, columns, rows].
        factor: What ``inverse_factor`` gave.
        levels: What values may become.
    """
    rest = weight.copy()
    codes = np.zeros(weight.shape, np.uint8)
    for start in range(0, weight.shape[1], _BLOCK):
        stop = min(start + _BLOCK, weight.shape[1])
        errors = np.zeros_like(rest[:, start:stop])
        for column in range(start, stop):
            values = rest[:, column]
            codes[:, column] = levels.codes(values)
            error = (values - levels.values(codes[:, column])) / factor[:, column, column, np.newaxis]
            errors[:, column - start] = error
            later = factor[:, column, column + 1 : stop, np.newaxis]
            rest[:, column + 1 : stop] -= later * error[:, np.newaxis]
        rest[:, stop:] -= factor[:, start:stop, stop:].swapaxes(1, 2) @ errors
    return codes


def descended(weight: Floats, moments: Floats, codes: Codes, levels: Levels) -> Codes:
    """Return codes after each column in turn has taken the values that are best with all others as they are."""
    codes = codes.copy()
    gradient = moments @ (levels.values(codes) - weight)
    diagonal = np.einsum("gkk->gk", moments)
    for start in range(0, weight.shape[1], _BLOCK):
        stop = min(start + _BLOCK, weight.shape[1])
        inner = gradient[:, start:stop].copy()
        moves = np.zeros_like(inner)
        for column in range(start, stop):
            own = column - start
            now = levels.values(codes[:, column])
            wanted = now - inner[:, own] / diagonal[:, column, np.newaxis]
            codes[:, column] = levels.codes(wanted)
            moves[:, own] = levels.values(codes[:, column]) - now
            inner += moments[:, start:stop, column, np.newaxis] * moves[:, own, np.newaxis]
        gradient += moments[:, :, start:stop] @ moves
    return codes


def output_error(difference: NDArray[Any], moments: NDArray[Any]) -> float:
    """Return tr(E H E^T), summed over the groups.

    Args:
        difference: E, [groups, columns, rows].
        moments: H.
    """
    return float(np.einsum("gkr,gkr->", difference, moments @ difference, dtype=np.float64))
