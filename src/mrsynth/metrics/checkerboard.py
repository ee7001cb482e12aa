"""The checkerboard of transposed convolutions: how strongly neighbouring pixels alternate (li2022, Figure 7)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import ndimage

KERNEL = np.array([[1.0, -1.0], [-1.0, 1.0]]) / 4


def checkerboard(slices: Float[np.ndarray, "x y n"], data_range: float) -> Float[np.ndarray, " n"]:
    """Return the amplitude of each slice's alternation in 8 bits' grey levels: root mean square of the pattern +−/−+.

    A checkerboard of amplitude a has a; what varies along one axis alone has 0; noise of standard deviation s has s/2.

    Args:
        slices: images.
        data_range: of their values.
    """
    filtered = ndimage.correlate(slices.astype(np.float64), KERNEL[..., None], mode="nearest")
    return np.sqrt((filtered**2).mean(axis=(0, 1))) * 255 / data_range
