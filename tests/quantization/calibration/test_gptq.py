"""Codes chosen for the outputs' error."""

import numpy as np
import pytest
from numpy.typing import NDArray

from windfall.quantization.calibration.fitting import MODES, Form, best, fitted
from windfall.quantization.calibration.gptq import compensated, descended, inverse_factor, output_error
from windfall.quantization.calibration.levels import Steps, Table
from windfall.quantization.calibration.moments import Moments
from windfall.quantization.codecs import CODECS, Encoded, decoded

Floats = NDArray[np.float32]


def case(seed: int, groups: int = 2, columns: int = 20, rows: int = 5) -> tuple[Floats, Floats, Floats]:
    """A weight [groups, columns, rows], inputs that go together [groups, samples, columns], and those of a network
    whose earlier layers are quantized."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(groups, 60, 6)) @ rng.normal(size=(groups, 6, columns)) + 0.3
    inputs += 0.1 * rng.normal(size=inputs.shape)
    later = inputs + 0.1 * rng.normal(size=inputs.shape)
    weight = rng.normal(size=(groups, columns, rows))
    return weight.astype(np.float32), inputs.astype(np.float32), later.astype(np.float32)


def plain(weight: Floats, mode: str, bits: int) -> Floats:
    """The weight without calibration."""
    flat = weight.swapaxes(1, 2).reshape(-1, weight.shape[1])
    codec = CODECS[mode]
    encoded = codec.encode(flat if codec.by_channel else flat.reshape(1, -1), bits)
    return as_weight(encoded._replace(codes=encoded.codes.reshape(flat.shape)), weight)


def as_weight(encoded: Encoded, weight: Floats) -> Floats:
    groups, columns, rows = weight.shape
    return decoded(encoded).reshape(groups, rows, columns).swapaxes(1, 2)


@pytest.mark.parametrize("columns", [20, 300])
def test_the_factor_is_that_of_the_inverse(columns: int) -> None:
    _, inputs, _ = case(0, columns=columns)
    moments = inputs.swapaxes(1, 2).astype(np.float64) @ inputs + np.eye(columns)
    factor = inverse_factor(moments)
    np.testing.assert_allclose(factor.swapaxes(1, 2) @ factor, np.linalg.inv(moments), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(factor, np.triu(factor))


@pytest.mark.parametrize("columns", [20, 300])  # 300: more than one block
def test_with_inputs_that_do_not_go_together_codes_are_the_nearest(columns: int) -> None:
    weight, _, _ = case(1, columns=columns)
    identity = np.broadcast_to(np.eye(columns), (2, columns, columns))
    table = Table(np.linspace(-2, 2, 8, dtype=np.float32), 8)
    nearest = table.codes(weight)
    np.testing.assert_array_equal(compensated(weight, inverse_factor(identity).astype(np.float32), table), nearest)
    start = np.zeros_like(nearest)
    np.testing.assert_array_equal(descended(weight, identity.astype(np.float32), start, table), nearest)


@pytest.mark.parametrize("columns", [20, 300])
def test_compensation_is_that_of_the_paper(columns: int) -> None:
    """One column after the other, the rest moved by the inverse of what is left of the moments, which is inverted anew.

    This is optimal brain quantization, of which GPTQ is a faster form.
    """
    weight, inputs, _ = case(2, groups=1, columns=columns)
    moments = inputs[0].T.astype(np.float64) @ inputs[0] / 60 + 0.1 * np.eye(columns)
    table = Table(np.linspace(-2, 2, 8, dtype=np.float32), 8)
    rest = weight[0].astype(np.float64)
    expected = np.zeros(rest.shape, np.uint8)
    for column in range(columns):
        inverse = np.linalg.inv(moments[column:, column:])
        expected[column] = table.codes(rest[column].astype(np.float32))
        error = (rest[column] - table.values(expected[column])) / inverse[0, 0]
        rest[column:] -= np.outer(inverse[0], error)
    found = compensated(weight, inverse_factor(moments[np.newaxis]).astype(np.float32), table)[0]
    assert (found == expected).mean() > 0.995  # a value halfway between two may go either way


def test_coordinate_descent_never_makes_it_worse() -> None:
    for seed in range(5):
        weight, inputs, _ = case(seed, columns=150)
        moments = inputs.swapaxes(1, 2) @ inputs
        table = Table(np.linspace(-2, 2, 8, dtype=np.float32), 8)
        codes = table.codes(weight)
        error = output_error(table.values(codes) - weight, moments)
        for _ in range(3):
            codes = descended(weight, moments, codes, table)
            before, error = error, output_error(table.values(codes) - weight, moments)
            assert error <= before * (1 + 1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_refitted_levels_are_the_least_squares_solution(mode: str) -> None:
    weight, inputs, _ = case(3)
    moments = (inputs.swapaxes(1, 2) @ inputs).astype(np.float32)
    start = MODES[mode](weight, np.ones(weight.shape[:2]), 3, True)
    codes = start.codes(weight.swapaxes(0, 1)).swapaxes(0, 1) if isinstance(start, Table) else None
    if codes is None:
        codes = np.stack([start.codes(weight[:, column]) for column in range(weight.shape[1])], axis=1)
    levels, new = start.refitted(weight, codes, lambda values: moments @ values)
    error = output_error(levels.values(new) - weight, moments)
    assert error <= output_error(start.values(codes) - weight, moments)
    if isinstance(levels, Table):
        # Outputs are linear in the entries: NumPy's least squares over all outputs.
        design = [inputs[g] @ (codes[g, :, r, np.newaxis] == np.arange(8)) for g in range(2) for r in range(5)]
        wanted = [inputs[g] @ weight[g, :, r] for g in range(2) for r in range(5)]
        _, (least,), *_ = np.linalg.lstsq(np.concatenate(design), np.concatenate(wanted), rcond=None)
        assert error <= least * 1.05
        return
    assert isinstance(levels, Steps)
    least = 0.0
    for g in range(2):
        for r in range(5):
            steps = codes[g, :, r].astype(np.float64)
            columns = [steps - 4] if mode == "linear_symmetric" else [steps, np.ones_like(steps)]
            design_of_row = inputs[g] @ np.stack(columns, axis=1)
            least += float(np.linalg.lstsq(design_of_row, inputs[g] @ weight[g, :, r], rcond=None)[1][0])
    assert error == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("mode", MODES)
def test_the_outputs_are_never_further_off_than_without(mode: str, bits: int, has_bias: bool) -> None:
    for seed in range(3):
        weight, original, inputs = case(seed)
        moments = Moments(2, 20)
        for part, was in zip(np.split(inputs, 3, axis=1), np.split(original, 3, axis=1), strict=True):
            moments.add(part, was)
        moments.flush()
        without = plain(weight, mode, bits)
        form = Form(MODES[mode], bits, CODECS[mode].by_channel)
        found = best(weight, moments, form, without, has_bias=has_bias)

        def error(
            values: Floats, weight: Floats = weight, inputs: Floats = inputs, original: Floats = original
        ) -> float:
            off = inputs @ values.astype(np.float64) - original @ weight.astype(np.float64)
            return float(((off - off.mean(axis=1, keepdims=True) * has_bias) ** 2).sum())

        assert found is not None
        assert found.codes.max() < 2**bits
        assert error(found.values) < 0.9 * error(without)
        np.testing.assert_array_equal(as_weight(found.levels.encoded(found.codes), weight), found.values)


def test_what_is_not_better_is_not_taken() -> None:
    weight, inputs, _ = case(4)
    moments = Moments(2, 20)
    moments.add(inputs)
    moments.flush()
    assert best(weight, moments, Form(MODES["kmeans"], 3), weight, has_bias=False) is None


def test_the_same_twice() -> None:
    weight, inputs, _ = case(5)
    moments = inputs.swapaxes(1, 2).astype(np.float64) @ inputs + np.eye(20)
    first, second = (fitted(weight, moments, Form(MODES["kmeans"], 4)) for _ in range(2))
    np.testing.assert_array_equal(first.values, second.values)
