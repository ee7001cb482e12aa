"""A smooth multiplicative field: the exponential of a cubic B-spline of few control points, small enough to record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.interpolate import BSpline

DEGREE = 3


@dataclass(frozen=True, eq=False)
class LogField:
    """The logarithm of a field on a grid of voxels.

    Attributes:
        lattice: control points (i, j, k).
        shape: of the grid in voxels.
        first, last: along each axis the voxels between which the spline lies; the field stays constant beyond them.
    """

    lattice: np.ndarray
    shape: tuple[int, int, int]
    first: tuple[int, int, int]
    last: tuple[int, int, int]

    def on_grid(self) -> np.ndarray:
        """Return the field itself, exp of the spline, at every voxel: float32, (x, y, z)."""
        bases = []
        for n, first, last, points in zip(self.shape, self.first, self.last, self.lattice.shape, strict=True):
            along = (np.clip(np.arange(n), first, last) - first) / max(1, last - first)
            bases.append(_basis(along, points).astype(np.float32))
        field = self.lattice.astype(np.float32)
        for axis in (0, 1, 2):  # the longest axis first would cost the most
            field = np.moveaxis(np.tensordot(bases[axis], field, axes=(1, axis)), 0, axis)
        return np.exp(field, out=field)

    def divided_by(self, factor: float) -> LogField:
        """Return the field divided by a number: the basis sums to 1, so that every control point loses its log."""
        return replace(self, lattice=self.lattice - np.log(factor))

    def record(self) -> dict[str, Any]:
        """Return the field as JSON."""
        ends = {"shape": list(self.shape), "first": list(self.first), "last": list(self.last)}
        return {"lattice": self.lattice.tolist(), **ends}

    @classmethod
    def recorded(cls, record: Mapping[str, Any]) -> LogField:
        """Return the field of a record."""
        (a, b, c), (d, e, f), (g, h, i) = record["shape"], record["first"], record["last"]
        return cls(np.array(record["lattice"]), (a, b, c), (d, e, f), (g, h, i))


def fit_lattice(log_field: np.ndarray, spans: tuple[int, int, int]) -> np.ndarray:
    """Return the spline through samples from end to end.

    Least squares, and exact where the samples come from such a spline, as N4's do.

    Args:
        log_field: samples (x, y, z).
        spans: of the spline, along each axis.

    Returns:
        Control points, spans + 3 an axis.
    """
    lattice = log_field.astype(np.float64)
    for axis, (n, count) in enumerate(zip(log_field.shape, spans, strict=True)):
        inverse = np.linalg.pinv(_basis(np.linspace(0.0, 1.0, n), count + DEGREE))
        lattice = np.moveaxis(np.tensordot(inverse, lattice, axes=(1, axis)), 0, axis)
    return lattice


def _basis(along: np.ndarray, points: int) -> np.ndarray:
    """Return the values (n, points) of the uniform cubic B-splines at positions from 0 to 1."""
    spans = points - DEGREE
    knots = np.arange(-DEGREE, spans + DEGREE + 1, dtype=np.float64)
    inside = np.clip(along * spans, 0.0, np.nextafter(spans, 0.0))
    return BSpline.design_matrix(inside, knots, DEGREE).toarray()
