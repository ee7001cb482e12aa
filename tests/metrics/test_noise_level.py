"""Known noise on known anatomy is found again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mrsynth.metrics.noise_level import grain_sd, residual_sd
from small_cases import ball

SHAPE = (40, 44, 24)
INSIDE = ball(SHAPE, 11)


def anatomy() -> np.ndarray:
    """Two tissues with smooth borders, of a quarter of the range."""
    blobs = ndimage.gaussian_filter(np.random.default_rng(1).random(SHAPE), 3)
    return 0.4 + 0.25 * ndimage.gaussian_filter((blobs > np.median(blobs)).astype(float), 1)


@pytest.mark.parametrize("sigma", [0.005, 0.02, 0.05])
def test_noise_of_known_sigma_is_found(sigma: float) -> None:
    draw = np.random.default_rng(7)
    native = anatomy()
    image = native + draw.normal(0, sigma, SHAPE)
    assert residual_sd(image, native, INSIDE) == pytest.approx(sigma, rel=0.03)
    # anatomy that the mask does not cancel adds to the grain
    without = grain_sd(native, INSIDE)
    assert without is not None
    assert grain_sd(image, INSIDE) == pytest.approx(np.hypot(sigma, without), rel=0.12)
    assert grain_sd(0.4 + (image - native), INSIDE) == pytest.approx(sigma, rel=0.04)


def test_the_residual_holds_both_scans_noise() -> None:
    draw = np.random.default_rng(8)
    a, b = (anatomy() + draw.normal(0, sigma, SHAPE) for sigma in (0.03, 0.04))
    assert residual_sd(a, b, INSIDE) == pytest.approx(0.05, rel=0.03)


def test_grain_does_not_know_planes_scale_or_what_lies_outside() -> None:
    draw = np.random.default_rng(9)
    noise = draw.normal(0, 0.02, SHAPE)
    x, y, z = np.meshgrid(*(np.linspace(0, 1, n) for n in SHAPE), indexing="ij")
    value = grain_sd(noise, INSIDE)
    assert value is not None
    assert grain_sd(noise + 3 * x - y + x * y + z**3, INSIDE) == pytest.approx(value)
    assert grain_sd(5 * noise + 2, INSIDE) == pytest.approx(5 * value)
    assert grain_sd(np.where(INSIDE, noise, 100), INSIDE) == pytest.approx(value)
    smooth = grain_sd(ndimage.gaussian_filter(noise, 1), INSIDE)
    assert smooth is not None
    assert smooth < 0.2 * value


def test_too_few_voxels_give_none() -> None:
    image, speck = anatomy(), np.zeros(SHAPE, bool)
    assert residual_sd(image, image, speck) is None
    speck[20, 20, 12] = True
    assert residual_sd(image, image, speck) is None
    assert grain_sd(image, speck) is None
