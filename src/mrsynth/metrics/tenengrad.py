"""Tenengrad, the sharpness of an image by itself (li2022, equations 11 and 12; Yeo et al. 1993)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

GREY_LEVELS = 255
"""Images are brought to 8 bits' scale (not rounded): the paper's PSNR has the maximum 2^B − 1 of images of B bits."""

THRESHOLD = 25.0
"""T of equation 12, in grey levels of the Sobel gradient; the paper does not give its own. A step between two tissues
of a tenth of the range has a gradient of 100; of noise of 1 % of the range one pixel in 50 passes. So edges count,
noise hardly does."""


def tenengrad(images: np.ndarray, data_range: float, threshold: float = THRESHOLD) -> np.ndarray:
    """Return the sharpness of each axial slice: the mean over all its pixels of G where G > T, else of 0.

    G = √(Gx² + Gy²), the Sobel operators with weights 1 2 1 across, in grey levels: images · 255 / data_range. The
    paper sums over the pixels; its values (7.6 to 21.8) can only be means, and are what real scans have at 448×448.
    Beyond the border the image is mirrored.

    Args:
        images: slices (x, y, n).
        data_range: of the images, in their units.
        threshold: T, in grey levels; 0 makes the sharpness proportional to the contrast.

    Returns:
        (n,), in grey levels.
    """
    grey = np.asarray(images, np.float64) * (GREY_LEVELS / data_range)
    gradient = np.hypot(_sobel(grey, 0), _sobel(grey, 1))
    return np.where(gradient > threshold, gradient, 0).mean(axis=(0, 1))


def _sobel(images: np.ndarray, axis: int) -> np.ndarray:
    """Return the difference along x or y, smoothed along the other of them (SciPy's own would smooth along z too)."""
    difference = ndimage.correlate1d(images, [-1, 0, 1], axis=axis, mode="reflect")
    return ndimage.correlate1d(difference, [1, 2, 1], axis=1 - axis, mode="reflect")
