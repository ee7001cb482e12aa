"""A strictly increasing, piecewise linear map of intensities, given by its knots; it goes on straight beyond them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mrsynth.core.image import Image


@dataclass(frozen=True, eq=False)
class Knots:
    """The map x → y through some points.

    Attributes:
        x, y: of the points; both (n,) float64, strictly increasing, n ≥ 2.
    """

    x: np.ndarray
    y: np.ndarray

    @property
    def inverse(self) -> Knots:
        """The map y → x."""
        return Knots(self.y, self.x)


def merge_knots(x: np.ndarray, y: np.ndarray, resolution: float) -> Knots | None:
    """Return the map through knots, where those that lie close together become one.

    A merged knot lies at the mean of its ys: where many voxels share one value, that is the middle of their ranks.
    Those at the two ends keep the outermost y, so that the map covers all of it.

    Args:
        x: non-decreasing.
        y: strictly increasing, of the same length.
        resolution: knots no further apart in x become one.

    Returns:
        The knots, None where fewer than two remain.
    """
    # A knot opens a new group where it lies far enough from the first of the group before it.
    first = [0]
    for k in range(1, len(x)):
        if x[k] - x[first[-1]] > resolution:
            first.append(k)
    if len(first) < 2:
        return None
    merged = np.add.reduceat(y, first) / np.diff([*first, len(x)])
    merged[0], merged[-1] = y[0], y[-1]
    return Knots(np.asarray(x, dtype=np.float64)[first], merged)


def map_image(image: Image, knots: Knots) -> Image:
    """Return the image with every value mapped, float32; slice by slice, so that no float64 copy of a head is made.

    Args:
        image: what is changed.
        knots: of the map.
    """
    data = np.empty_like(image.data, dtype=np.float32)
    low, high = float(image.data.min()), float(image.data.max())
    x, y = _extended(knots, low, high)
    for k in range(data.shape[2]):
        data[..., k] = np.interp(image.data[..., k], x, y)
    return image.with_data(data)


def _extended(knots: Knots, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the knots and, where values lie beyond them, the ends of the straight continuation."""
    x, y = knots.x, knots.y
    if low < x[0]:
        y = np.concatenate([[y[0] + (low - x[0]) * (y[1] - y[0]) / (x[1] - x[0])], y])
        x = np.concatenate([[low], x])
    if high > x[-1]:
        y = np.concatenate([y, [y[-1] + (high - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])]])
        x = np.concatenate([x, [high]])
    return x, y
