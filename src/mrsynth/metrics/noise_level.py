"""The standard deviation of an image's noise, two ways: as pinetz2023 means it, and from the image's own grain."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage, stats

LAPLACE = np.array([1.0, -2.0, 1.0])
"""Second difference; along x and then along y it cancels every anatomy that is bilinear over 3×3 pixels."""


def residual_sd(image: np.ndarray, native: np.ndarray, inside: np.ndarray) -> float | None:
    """Return the standard deviation of image − native over the voxels inside; None for fewer than 2.

    pinetz2023 (supplement): of a contrast image's residual to the native scan, the pixels that enhance are contrast and
    "the remainder" is noise. It holds both scans' noise, and what little the rest of the brain enhances.

    Args:
        image: after contrast agent (x, y, z).
        native: before it, on the same scale.
        inside: boolean mask (x, y, z) of what does not enhance.
    """
    if np.count_nonzero(inside) < 2:
        return None
    return float((image[inside].astype(np.float64) - native[inside]).std())


def grain_sd(image: np.ndarray, inside: np.ndarray) -> float | None:
    """Return the noise's standard deviation by the method of Immerkær (1996, CVIU 64:300), made robust.

    The mask [1 −2 1] × [1 −2 1], of norm 6, filters each axial slice. Of the pixels whose 3×3 neighbours are all inside
    the median absolute value is taken, which edges of the anatomy hardly move. The method is for noise that is
    independent from pixel to pixel; interpolation smooths noise, and the value falls.

    Args:
        image: (x, y, z).
        inside: boolean mask (x, y, z).

    Returns:
        The deviation in image units; None where no pixel has all neighbours inside.
    """
    whole = ndimage.binary_erosion(inside, np.ones((3, 3, 1), bool))
    if not whole.any():
        return None
    filtered = image.astype(np.float64)
    for axis in (0, 1):
        filtered = ndimage.correlate1d(filtered, LAPLACE, axis=axis)
    normal = float(stats.norm.ppf(0.75))  # the median of |N(0, 1)|
    return float(np.median(np.abs(filtered[whole]))) / (normal * math.sqrt(36))
