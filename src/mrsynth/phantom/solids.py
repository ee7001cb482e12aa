"""Signed levels of simple solids, in mm, negative inside: of these is built what the template's maps do not show."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mrsynth.phantom.template import Grid

Point = tuple[float, float, float]


def ellipsoid(grid: Grid, centre_mm: Point, radii_mm: Point, mirrored: bool = False) -> np.ndarray:
    """Return the level of an ellipsoid: (|p| − 1)·(smallest radius), p the scaled offset. Near the surface it is about
    the distance.

    Args:
        grid: where it is wanted.
        centre_mm: of the ellipsoid.
        radii_mm: along the axes.
        mirrored: use |x|, for one solid on each side.

    Returns:
        mm, negative inside, of the grid's shape.
    """
    x, y, z = grid.axes_mm()
    offset = (np.abs(x) if mirrored else x) - centre_mm[0], y - centre_mm[1], z - centre_mm[2]
    squares = [(o / r) ** 2 for o, r in zip(offset, radii_mm, strict=True)]
    return ((np.sqrt(squares[0] + squares[1] + squares[2]) - 1.0) * min(radii_mm)).astype(np.float32)


def tubes(
    grid: Grid, paths: Sequence[tuple[float, Sequence[Point]]], mirrored: bool = True, far_mm: float = 4.0
) -> np.ndarray:
    """Return the level of tubes along polylines.

    Args:
        grid: where it is wanted.
        paths: radius in mm and points in mm of each.
        mirrored: every path also runs at -x.
        far_mm: where the level is capped.

    Returns:
        mm, negative inside, of the grid's shape.
    """
    level = np.full(grid.shape, far_mm, np.float32)
    for radius, points in paths:
        for sign in (1.0, -1.0) if mirrored else (1.0,):
            line = np.array(points, float) * (sign, 1.0, 1.0)
            for start, end in pairwise(line):
                _add_segment(level, grid, start, end, radius, far_mm)
    return level


def smooth_union(first: np.ndarray, second: np.ndarray, width_mm: float) -> np.ndarray:
    """Return the level of both solids together, their seam rounded (polynomial smooth minimum).

    Args:
        first: level of one, mm.
        second: level of the other, mm.
        width_mm: over which the seam is rounded.
    """
    blend = np.clip(0.5 + 0.5 * (second - first) / width_mm, 0.0, 1.0)
    return second * (1.0 - blend) + first * blend - width_mm * blend * (1.0 - blend)


def _add_segment(
    level: np.ndarray, grid: Grid, start: np.ndarray, end: np.ndarray, radius: float, far_mm: float
) -> None:
    """Lower `level` in place to the distance from a segment minus radius, inside the segment's own box only."""
    margin = radius + far_mm
    low = (np.minimum(start, end) - margin - grid.origin_mm) / grid.spacing_mm
    high = (np.maximum(start, end) + margin - grid.origin_mm) / grid.spacing_mm
    box = tuple(
        slice(max(0, int(np.floor(a))), max(0, min(n, int(np.ceil(b)) + 1)))
        for a, b, n in zip(low, high, grid.shape, strict=True)
    )
    x, y, z = grid.axes_mm()
    points = np.stack(np.broadcast_arrays(x[box[0]], y[:, box[1]], z[:, :, box[2]]), axis=-1) - start
    along = end - start
    t = np.clip(points @ along / max(float(along @ along), 1e-9), 0.0, 1.0)
    distance = np.linalg.norm(points - t[..., None] * along, axis=-1) - radius
    level[box] = np.minimum(level[box], distance)
