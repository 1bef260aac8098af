"""Fit the codes of one weight, and what they stand for, to the moments of its input."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from windfall.quantization.calibration.gptq import compensated, descended, inverse_factor, output_error
from windfall.quantization.calibration.levels import Codes, Float, Floats, Levels, Steps, Table, by_rows
from windfall.quantization.calibration.moments import Moments
from windfall.quantization.codecs import CODECS

Doubles = NDArray[np.float64]
_MOST_ROUNDS = 8
_GAIN = 0.002
"""Rounds go on as long as each makes the error smaller by so much of it."""


class Fitted(NamedTuple):
    """Codes [groups, columns, rows] and what they stand for."""

    codes: Codes
    levels: Levels

    @property
    def values(self) -> Floats:
        """What the codes stand for."""
        return self.levels.values(self.codes)


def best(weight: Floats, moments: Moments, form: "Form", plain: Floats, *, has_bias: bool) -> Fitted | None:
    """Return a weight in fewer bits such that the layer's outputs come near those of the original network.

    With E what the weight is off by, x its input and d what the original's input is larger by, the outputs are off by
    E x + W d. So the best weights, were they not to be rounded, are no longer W but W + W (sum d x^T) (sum x x^T)^-1.
    (Li et al., "GPTAQ", arXiv:2504.02692, 2025, compensate for the same difference column by column.)

    Args:
        weight: W, [groups, columns, rows].
        moments: Those of its input.
        form: What may become of it.
        plain: What the weight is without calibration, likewise.
        has_bias: Whether the layer's bias will make up for the mean of the error.

    Returns:
        The codes with what they stand for; None where ``plain`` is better.
    """
    second, cross = moments.means(centred=has_bias)
    pull = None if cross is None else cross @ weight
    found = fitted(weight, moments.damped(second), form, pull)
    found = found._replace(levels=found.levels.rounded(form.kind))

    def error(values: Floats) -> float:
        difference = weight.astype(np.float64) - values
        drift = 0.0 if pull is None else 2 * float(np.einsum("gkr,gkr->", difference, pull))
        return output_error(difference, second) + drift

    return found if error(found.values) < error(plain) else None


def fitted(weight: Floats, moments: Doubles, form: "Form", pull: Doubles | None = None) -> Fitted:
    """Return codes for a weight such that the outputs that it makes change little.

    The columns are taken in descending order of their moments: what is hardest to make up for comes first. Then what
    the codes stand for is fitted to them and the codes to that, in turn, as long as it helps.

    Args:
        weight: [groups, columns, rows].
        moments: [groups, columns, columns], positive definite.
        form: What may become of it.
        pull: The sum of x d^T, times the weight; see ``best``.
    """
    scale = moments.shape[1] / np.einsum("gkk->g", moments).mean()
    order = np.argsort(-np.einsum("gkk->gk", moments), axis=1, kind="stable")[:, :, np.newaxis]
    weight = np.take_along_axis(weight, order, axis=1)
    scaled = np.take_along_axis(np.take_along_axis(moments, order, 1), order.swapaxes(1, 2), 2) * scale
    factor = inverse_factor(scaled)
    if pull is not None:
        moved = factor.swapaxes(1, 2) @ (factor @ np.take_along_axis(pull, order, axis=1)) * scale
        weight = (weight + moved).astype(np.float32)
    levels = form.start(weight, np.einsum("gkk->gk", factor) ** -2, form.bits, form.by_channel)
    codes, levels = _alternated(weight, scaled.astype(np.float32), factor.astype(np.float32), levels)
    return Fitted(np.take_along_axis(codes, order.argsort(axis=1), axis=1), levels)


def _alternated(weight: Floats, moments: Floats, factor: Floats, levels: Levels) -> Fitted:
    codes = compensated(weight, factor, levels)
    error = np.inf
    for _ in range(_MOST_ROUNDS):
        levels, codes = levels.refitted(weight, codes, lambda values: moments @ values)
        codes = descended(weight, moments, codes, levels)
        before, error = error, output_error(levels.values(codes) - weight, moments)
        if error >= before * (1 - _GAIN):
            break
    return Fitted(codes, levels)


Start = Callable[[Floats, Doubles, int, bool], Levels]
"""Given a weight [groups, columns, rows], the importance of its columns [groups, columns], the bits, and whether each
row may have a scale of its own, returns the levels to begin with."""


class Form(NamedTuple):
    """What may become of a weight.

    Attributes:
        start: Gives the levels to begin with, such as one of ``MODES``.
        bits: How many bits a code has.
        by_channel: Whether each row may have a scale of its own.
        kind: The type that scales and tables are stored in.
    """

    start: Start
    bits: int
    by_channel: bool = False
    kind: Float = np.float32


def _kmeans(weight: Floats, importance: Doubles, bits: int, _by_channel: bool) -> Table:
    return Table.fitted(weight, importance, bits)


def _steps(mode: str, *, symmetric: bool = False, as_table: bool = False) -> Start:
    """Return what starts with the steps of a mode without calibration."""

    def start(weight: Floats, _importance: Doubles, bits: int, by_channel: bool) -> Steps:
        groups, _, rows = weight.shape
        flat: Floats = by_rows(weight) if by_channel else weight.reshape(1, -1)
        encoded = CODECS[mode].encode(flat, bits)
        assert encoded.scale is not None
        assert encoded.bias is not None
        shape = (groups, rows) if by_channel else (1, 1)
        zero = np.full((1, 1), 2 ** (bits - 1), np.float32) if symmetric else None
        return Steps(encoded.scale.reshape(shape), encoded.bias.reshape(shape), bits, zero, as_table=as_table)

    return start


MODES: Mapping[str, Start] = {
    "linear": _steps("linear"),
    "linear_symmetric": _steps("linear_symmetric", symmetric=True),
    "linear_lut": _steps("linear", as_table=True),
    "kmeans": _kmeans,
}
"""The modes that calibration is for."""
