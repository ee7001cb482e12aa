"""Spectra of noise that is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mrsynth.core.errors import InputError
from mrsynth.metrics.noise_spectrum import power_spectrum, radial_spectrum

SPACING = (1.0, 1.0, 2.0)


@pytest.fixture(scope="module")
def ball() -> np.ndarray:
    x, y, z = np.indices((72, 64, 40))
    return ((x - 36) / 34) ** 2 + ((y - 32) / 30) ** 2 + ((z - 20) / 18) ** 2 < 1


@pytest.fixture(scope="module")
def noise(ball: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).normal(0.3, 0.05, ball.shape)


def test_white_noise_is_flat_at_its_variance_whatever_the_region(ball: np.ndarray):
    draws = [radial_spectrum(np.random.default_rng(k).normal(0.3, 0.05, ball.shape), ball, SPACING) for k in range(8)]
    frequency, power = draws[0].frequency_per_mm, np.mean([draw.power for draw in draws], axis=0)
    assert (np.diff(frequency) > 0).all()
    assert frequency[-1] == pytest.approx(0.25, abs=0.01)  # Nyquist of 2 mm
    np.testing.assert_allclose(power[frequency > 0.04], 0.05**2 * 2, rtol=0.12)  # a bin further in holds few
    assert power[frequency > 0.04].mean() == pytest.approx(0.05**2 * 2, rel=0.02)


def test_filtered_noise_has_the_filters_squared_transfer_function(ball: np.ndarray, noise: np.ndarray):
    """A Gaussian of σ mm along x, y and z: |H|² = exp(−(2πfσ)²)."""
    smooth = ndimage.gaussian_filter(noise, [1.0 / mm for mm in SPACING], mode="wrap", truncate=6)
    found, white = radial_spectrum(smooth, ball, SPACING), radial_spectrum(noise, ball, SPACING)
    inside = (found.frequency_per_mm > 0.04) & (found.frequency_per_mm < 0.2)
    expected = np.exp(-((2 * np.pi * found.frequency_per_mm[inside]) ** 2))
    np.testing.assert_allclose(found.power[inside] / white.power[inside], expected, rtol=0.25)


def test_parseval(ball: np.ndarray, noise: np.ndarray):
    weight = ndimage.gaussian_filter(ball.astype(float), 2)
    power = power_spectrum(noise, weight, SPACING)
    mean = np.average(noise, weights=weight)
    variance = (weight**2 * (noise - mean) ** 2).sum() / (weight**2).sum()
    assert power.mean() / np.prod(SPACING) == pytest.approx(variance, rel=1e-9)


def test_what_lies_outside_and_the_mean_do_not_matter(ball: np.ndarray, noise: np.ndarray):
    other = np.where(ball, noise + 7, 1e3)
    np.testing.assert_allclose(
        radial_spectrum(other, ball, SPACING).power, radial_spectrum(noise, ball, SPACING).power, rtol=1e-6
    )


def test_an_empty_region_is_refused(noise: np.ndarray):
    with pytest.raises(InputError, match="no voxel"):
        radial_spectrum(noise, np.zeros(noise.shape, bool), SPACING)
