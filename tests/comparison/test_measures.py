"""The formulas against others, written down plainly or worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from windfall.comparison.measures import (
    Probabilities,
    cosine,
    gaussian,
    kl_divergence,
    largest_error,
    psnr,
    snr,
    ssim,
    top_1_agreement,
    top_5_agreement,
)

RANDOM = np.random.default_rng(7)


def pictures(*shape: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """A random picture, and the same with noise."""
    first = RANDOM.integers(0, 256, shape).astype(np.float64)
    return first, np.clip(first + RANDOM.normal(0, 20, shape), 0, 255).round()


def direct_ssim(x: NDArray[Any], y: NDArray[Any], size: int = 11, peak: float = 255.0) -> float:
    """Equations (13) to (17) of the paper, window by window."""
    axis = np.arange(size) - size // 2
    window = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    values = []
    for row in range(x.shape[0] - size + 1):
        for column in range(x.shape[1] - size + 1):
            a, b = (p[row : row + size, column : column + size] for p in (x, y))
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
            vab = (window * (a - ma) * (b - mb)).sum()
            values.append((2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return float(np.mean(values))


def test_ssim_is_the_formula_of_the_paper() -> None:
    x, y = pictures(20, 27)
    assert ssim(x, y) == pytest.approx(direct_ssim(x, y), abs=1e-10)


def test_ssim_of_colours_is_their_mean() -> None:
    x, y = pictures(16, 15, 3)
    assert ssim(x, y) == pytest.approx(np.mean([direct_ssim(x[..., c], y[..., c]) for c in range(3)]), abs=1e-10)


@pytest.mark.parametrize(("shape", "size"), [((8, 16), 7), ((7, 7), 7), ((2, 30), 1), ((1, 1), 1), ((10, 12), 9)])
def test_ssim_of_a_small_picture_has_a_smaller_window(shape: tuple[int, int], size: int) -> None:
    x, y = pictures(*shape)
    assert ssim(x, y) == pytest.approx(direct_ssim(x, y, size), abs=1e-10)


def test_ssim_of_other_ranges() -> None:
    x, y = pictures(16, 16)
    assert ssim(x / 255, y / 255, 1.0) == pytest.approx(direct_ssim(x, y), abs=1e-10)


def test_ssim_of_equal_pictures_is_exactly_one() -> None:
    x, _ = pictures(40, 30, 3)
    assert ssim(x, x.copy()) == 1.0


def test_the_window_sums_to_one_and_falls_off_like_a_gaussian() -> None:
    assert gaussian(11).sum() == pytest.approx(1)
    assert gaussian(11)[5] / gaussian(11)[8] == pytest.approx(math.exp(9 / (2 * 1.5**2)))


def test_psnr_by_hand() -> None:
    x = np.zeros((4, 4))
    assert psnr(x, x + 255) == pytest.approx(0)
    assert psnr(x, x + 1) == pytest.approx(48.1308036)  # 10 log10(255^2)
    assert psnr(x, x + 0.5, 1.0) == pytest.approx(6.0206, abs=1e-4)
    assert psnr(x, x) == math.inf
    assert psnr(x, x + math.nan) == -math.inf


def test_arrays_by_numpy() -> None:
    x = RANDOM.normal(size=(3, 5, 7))
    y = x + RANDOM.normal(0, 0.1, x.shape)
    assert snr(x, y) == pytest.approx(10 * np.log10((x**2).sum() / ((x - y) ** 2).sum()))
    assert cosine(x, y) == pytest.approx((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))
    assert largest_error(x, y) == np.abs(x - y).max()


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([1, 2], [1, 2], (math.inf, 1, 0)),
        ([], [], (math.inf, 1, 0)),
        ([0, 0], [0, 0], (math.inf, 1, 0)),
        ([0, 0], [0, 1], (-math.inf, 0, 1)),
        ([1, 0], [0, 0], (0, 0, 1)),
        ([1, 0], [-1, 0], (-6.0206, -1, 2)),
        ([math.nan, 1], [math.nan, 1], (math.inf, 1, 0)),
        ([math.nan, 1], [math.nan, 2], (0, 1, 1)),
        ([math.nan, 1], [0, 1], (-math.inf, math.nan, math.inf)),
        ([math.inf, 3], [math.inf, 3], (math.inf, 1, 0)),
        ([math.inf, 3], [-math.inf, 3], (-math.inf, math.nan, math.inf)),
        ([1, 3], [math.inf, 3], (-math.inf, math.nan, math.inf)),
        ([1e300, 0], [1e300, 1e290], (200, 1, 1e290)),
        ([1.5e308], [-1.5e308], (-6.0206, -1, math.inf)),
        ([1e-300], [2e-300], (0, 1, 1e-300)),
    ],
)
def test_arrays_of_odd_values(x: list[float], y: list[float], expected: tuple[float, float, float]) -> None:
    a, b = np.array(x, np.float64), np.array(y, np.float64)
    assert (snr(a, b), cosine(a, b), largest_error(a, b)) == pytest.approx(expected, abs=1e-4, nan_ok=True)


def scores(*values: float) -> Probabilities:
    return Probabilities("abcdefghij"[: len(values)], np.array(values, np.float64))


def test_kl_divergence_by_numpy() -> None:
    p, q = RANDOM.random(8), RANDOM.random(8)
    assert kl_divergence(scores(*p), scores(*q)) == pytest.approx(
        np.sum(p / p.sum() * np.log(p * q.sum() / q / p.sum()))
    )
    assert kl_divergence(scores(*p), scores(*p)) == 0
    assert kl_divergence(scores(*p), scores(*(3 * p))) == pytest.approx(0, abs=1e-12)


def test_kl_divergence_of_zeros_and_of_what_is_no_probability() -> None:
    assert kl_divergence(scores(1, 0), scores(0, 1)) == pytest.approx(12 * math.log(10))
    assert kl_divergence(scores(0, 1), scores(0.5, 0.5)) == pytest.approx(math.log(2))
    for wrong in [(-1, 2), (0, 0), (math.nan, 1), (math.inf, 1)]:
        assert math.isnan(kl_divergence(scores(*wrong), scores(0.5, 0.5)))
        assert math.isnan(kl_divergence(scores(0.5, 0.5), scores(*wrong)))


def test_agreement_of_the_best_classes() -> None:
    first = scores(0.1, 0.9, 0, 0, 0, 0)
    assert top_1_agreement(first, scores(0.4, 0.6, 0, 0, 0, 0)) == 1
    assert top_1_agreement(first, scores(0.6, 0.4, 0, 0, 0, 0)) == 0
    assert top_5_agreement(first, scores(0.5, 0.1, 0.2, 0.1, 0.05, 0.05)) == 1
    assert top_5_agreement(first, scores(0.3, 0.0, 0.2, 0.2, 0.2, 0.1)) == 0
    assert top_5_agreement(scores(0.5, 0.5), scores(0.5, 0.5)) is None


def test_nan_is_no_best_class_and_the_first_of_equals_is() -> None:
    assert scores(math.nan, 0.2, 0.7, 0.7).best(3) == ["c", "d", "b"]
