"""Laws of the plain metrics: simulate, then measure; limits; invariance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsynth.metrics.metrics import Line, flat_brain_psnr, linear_fit, mae, mse, nmi, psnr

SEEDS = st.integers(0, 2**32 - 1)


def pair(seed: int, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    truth = draw.random(n)
    return truth + draw.normal(0, 0.2, n), truth


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, sigma=st.floats(0.001, 10), data_range=st.floats(0.5, 5000))
def test_noise_of_known_sigma_is_measured(seed: int, sigma: float, data_range: float) -> None:
    draw = np.random.default_rng(seed)
    truth = draw.random(40_000) * data_range
    noisy = truth + draw.normal(0, sigma, truth.size)
    assert mse(noisy, truth) == pytest.approx(sigma**2, rel=0.04)
    assert mae(noisy, truth) == pytest.approx(sigma * math.sqrt(2 / math.pi), rel=0.03)
    assert psnr(mse(noisy, truth), data_range) == pytest.approx(20 * math.log10(data_range / sigma), abs=0.2)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, factor=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_scaling_images_and_range_together_leaves_psnr(seed: int, factor: float, shift: float) -> None:
    prediction, truth = pair(seed, 200)
    scaled = psnr(mse(factor * prediction + shift, factor * truth + shift), factor)
    assert scaled == pytest.approx(psnr(mse(prediction, truth), 1.0), abs=1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, slope=st.floats(0.01, 100), offset=st.floats(-50, 50), sign=st.sampled_from([-1, 1]))
def test_errors_after_the_linear_fit_do_not_know_the_scale(seed: int, slope: float, offset: float, sign: int) -> None:
    prediction, truth = pair(seed, 200)
    errors = []
    for image in (prediction, sign * slope * prediction + offset):
        line = linear_fit(image, truth)
        errors.append((mse(line.slope * image + line.offset, truth), mae(line.slope * image + line.offset, truth)))
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)


def test_linear_fit_finds_the_line_and_never_worsens() -> None:
    prediction, truth = pair(1)
    assert linear_fit(prediction, 3 * prediction - 2) == pytest.approx((3, -2))
    slope, offset = linear_fit(prediction, truth)
    assert mse(slope * prediction + offset, truth) <= mse(prediction, truth)
    assert linear_fit(np.full(5, 0.1, np.float32), np.arange(5.0)) == Line(0.0, 2.0)


def test_perfect_match_is_infinite() -> None:
    assert psnr(0.0, 1.0) == math.inf


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, slope=st.integers(1, 64), shift=st.integers(-8, 8))
def test_nmi_does_not_know_the_scale(seed: int, slope: int, shift: int) -> None:
    prediction, truth = pair(seed, 500)
    assert nmi(prediction * slope + shift, truth) == pytest.approx(nmi(prediction, truth), abs=0.02)


def test_nmi_limits() -> None:
    prediction, truth = pair(2, 200_000)
    assert nmi(truth, truth) == pytest.approx(2.0)
    assert nmi(np.random.default_rng(0).permutation(truth), truth) == pytest.approx(1.0, abs=0.01)
    assert nmi(np.zeros_like(truth), truth) == pytest.approx(1.0)
    assert nmi(np.zeros(9), np.ones(9)) is None
    assert nmi(prediction, truth) == pytest.approx(nmi(truth, prediction))


def test_a_flat_brain_scores_by_the_scale_alone() -> None:
    """A min–max scale that one bright voxel sets raises it; a scale by the brain's spread does not know that voxel."""
    rng = np.random.default_rng(0)
    image, brain = rng.normal(100.0, 10.0, (12, 12, 12)), np.ones((12, 12, 12), bool)
    bright = image.copy()
    bright[0, 0, 0] = 1000.0

    def minmax(one: np.ndarray) -> np.ndarray:
        return np.asarray((one - one.min()) / np.ptp(one))

    def window(one: np.ndarray) -> np.ndarray:
        return np.clip((one - one.mean()) / one.std() / 10 + 0.5, 0, 1)

    by_minmax = [flat_brain_psnr(minmax(one), brain, 1.0) for one in (image, bright)]
    by_window = [flat_brain_psnr(window(one), brain, 1.0) for one in (image, bright)]
    assert by_minmax[1] - by_minmax[0] > 10
    assert by_window[0] == pytest.approx(20, abs=0.1)  # a standard deviation of a tenth
    flat = flat_brain_psnr(image, brain, 10.0)
    assert flat == pytest.approx(psnr(mse(np.full(image.shape, image.mean()), image), 10.0))
