"""Laws of the sharpness: contrast, blur, noise, steps by hand; scikit-image's Sobel as reference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage import filters

from mrsynth.metrics.tenengrad import THRESHOLD, tenengrad


def texture(seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(draw.random((40, 36, 3)), (1.5, 1.5, 0))
    return (smooth - smooth.min()) / np.ptp(smooth)


def test_equals_scikit_image() -> None:
    """Its Sobel operators are divided by 4."""
    image = texture()
    for k, value in enumerate(tenengrad(image, 1.0, threshold=0)):
        padded = np.pad(image[..., k], 1, mode="symmetric")
        whole = 4 * 255 * np.hypot(filters.sobel_h(padded), filters.sobel_v(padded))[1:-1, 1:-1]
        assert value == pytest.approx(whole.mean())


def test_a_step_by_hand() -> None:
    image = np.zeros((10, 8, 1))
    image[5:] = 0.1
    # two rows of pixels see the step: 4 · 25.5 grey levels each
    assert tenengrad(image, 1.0)[0] == pytest.approx(2 * 8 * 102 / 80)
    assert tenengrad(image, 1.0, threshold=102.5)[0] == 0
    assert tenengrad(30 * image, 30.0)[0] == pytest.approx(tenengrad(image, 1.0)[0])


def test_it_grows_with_contrast_and_falls_with_blur() -> None:
    image = texture()
    np.testing.assert_allclose(tenengrad(0.5 * image, 1.0, 0), 0.5 * tenengrad(image, 1.0, 0))
    assert (tenengrad(0.5 * image, 1.0) <= 0.5 * tenengrad(image, 1.0)).all()
    for threshold in (0.0, THRESHOLD):
        levels = [tenengrad(ndimage.gaussian_filter(image, (s, s, 0)), 1.0, threshold).mean() for s in (0, 1, 2, 4)]
        assert levels == sorted(levels, reverse=True)
        assert levels[0] > 2 * levels[-1]


def test_slices_do_not_see_each_other_and_turning_changes_nothing() -> None:
    image = texture()
    alone = [tenengrad(image[..., [k]], 1.0)[0] for k in range(3)]
    np.testing.assert_allclose(tenengrad(image, 1.0), alone)
    np.testing.assert_allclose(tenengrad(np.rot90(image), 1.0), alone)


def test_weak_noise_hardly_counts() -> None:
    noise = 0.5 + np.random.default_rng(0).normal(0, 0.01, (200, 200, 1))
    # two components of deviation √12 · 2.55 grey levels: a Rayleigh distribution
    assert tenengrad(noise, 1.0, 0)[0] == pytest.approx(np.sqrt(np.pi / 2) * np.sqrt(12) * 2.55, rel=0.02)
    assert tenengrad(noise, 1.0)[0] < 0.06 * tenengrad(noise, 1.0, 0)[0]
