"""What one voxel's inputs tell of its target: a table over quantile bins of all inputs, fitted in seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pydantic import Field
from scipy import ndimage

from mrsynth.core.errors import InputError
from mrsynth.core.settings import Settings
from mrsynth.metrics.regions import bounding_box

CELLS = 14_000
"""Cells of a table at most: 24 bins an input for three inputs, as few as the voxels of a small study fill."""

MAX_BINS = 256
"""Bins of one input at most: quantiles lie closer than an image's noise long before."""

FEW = 8
"""A cell that fewer training voxels fell into takes the value of the cells about it, twice as wide, and so on."""

SMOOTHING_VOXELS = 0.7
"""Standard deviation of the Gaussian that takes noise out of the inputs of a smoothed table."""

DEPTHS_MM = (2.0, 4.0, 6.0, 9.0, 13.0)
"""Where the classes of depth below the mask's rim divide: fluid and cortex lie outside, white matter inside."""

State = dict[str, np.ndarray]
Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]


class PointLoss(Settings):
    """What a recipe's loss asks of a predictor that sees one voxel: the part of it that is a sum over voxels.

    Attributes:
        kind: "squared" errors, of which the mean is the least, or "absolute" ones, of which the median is.
        local: the further weight of voxels that enhance, as a ratio to the weight of all (chen2022: λ3/λ1).
        delta: a voxel enhances where target − native is above it, in image units.
        native: the input that is the scan before contrast agent.
    """

    kind: str = Field(pattern="^(squared|absolute)$")
    local: float = Field(default=0, ge=0)
    delta: float = 0.1
    native: str = "t1"


class VoxelTable:
    """The mean (or the weighted median) of the target's residual in bins of the features, added to a line of one.

    The line makes what is linear in the nearest input exact; the cells hold what is left. Bins are quantiles of the
    training voxels, or the levels themselves where a feature has no more levels than bins.
    """

    def __init__(self, names: Sequence[str], edges: Sequence[np.ndarray], cells: np.ndarray, line: np.ndarray) -> None:
        self.names, self.edges, self.cells, self.line = tuple(names), [*edges], cells, line

    @classmethod
    def fit(cls, features: Mapping[str, np.ndarray], target: np.ndarray, weight: np.ndarray, kind: str) -> VoxelTable:
        """Fit a table.

        Args:
            features: training voxels (n,) of each feature.
            target: their target (n,).
            weight: their weight (n,), above 0.
            kind: "squared" for the weighted mean, "absolute" for the weighted median.

        Returns:
            The table.

        Raises:
            InputError: where there is no voxel.
        """
        if target.size == 0:
            raise InputError("the voxel table has seen no training voxel.", do="fit it on the training cases")
        names, columns = [*features], [np.asarray(f, np.float64) for f in features.values()]
        line = _nearest_line(columns, target)
        edges = _edges(columns)
        codes = np.stack([np.searchsorted(e, column, "right") for e, column in zip(edges, columns, strict=True)])
        residual = target - (line[1] * columns[int(line[0])] + line[2])
        shape = tuple(len(e) + 1 for e in edges)
        cells = _filled(codes, shape, residual, weight, weighted_mean if kind == "squared" else weighted_median)
        return cls(names, edges, cells.astype(np.float32), line)

    def predict(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the prediction for voxels (n,) of each feature, float32; raises InputError where a feature lacks."""
        if lacking := [name for name in self.names if name not in features]:
            raise InputError("the voxel table lacks an input.", found=", ".join(features), expected=lacking[0])
        columns = [np.asarray(features[name], np.float32) for name in self.names]
        codes = [np.searchsorted(e.astype(np.float32), c, "right") for e, c in zip(self.edges, columns, strict=True)]
        nearest, slope, offset = self.line
        return (self.cells[tuple(codes)] + slope * columns[int(nearest)] + offset).astype(np.float32)

    def to_dict(self) -> State:
        """Return the state as plain arrays: names, cells, line, and the edges of each feature."""
        edges = {f"edges{i}": e for i, e in enumerate(self.edges)}
        return {"names": np.array(self.names), "cells": self.cells, "line": self.line, **edges}

    @classmethod
    def from_dict(cls, state: Mapping[str, np.ndarray]) -> VoxelTable:
        """Return the table whose state `to_dict` gave; raises InputError for one whose parts do not fit together."""
        names, cells = [str(name) for name in state["names"]], state["cells"]
        edges = [state[f"edges{i}"].astype(float) for i in range(len(names))]
        fits = cells.shape == tuple(e.size + 1 for e in edges) and state["line"].shape == (3,)
        if not fits or not 0 <= state["line"][0] < len(names) or not np.isfinite(cells).all():
            raise InputError("the voxel table is damaged.", found=f"cells {cells.shape}", do="train again")
        return cls(names, edges, cells, state["line"].astype(float))


def smoothed(inputs: Mapping[str, np.ndarray], brain: np.ndarray, edges_mm: Sequence[float]) -> dict[str, np.ndarray]:
    """Return features that see a little more than one voxel: each input without noise, and the depth below the rim.

    Args:
        inputs: volumes (x, y, z) by contrast.
        brain: mask (x, y, z), not empty.
        edges_mm: edges of a voxel.

    Returns:
        The inputs smoothed by a Gaussian of SMOOTHING_VOXELS, and "depth" in classes of DEPTHS_MM, each at the brain's
        voxels (n,) in the order of `volume[brain]`.
    """
    box = bounding_box(brain, margin=3) or (slice(0),) * 3
    inside = brain[box]
    found = {n: ndimage.gaussian_filter(image[box], SMOOTHING_VOXELS)[inside] for n, image in inputs.items()}
    depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=edges_mm)[1:-1, 1:-1, 1:-1][inside]
    return {**found, "depth": np.searchsorted(DEPTHS_MM, depth).astype(np.float32)}


def weighted_mean(cell: np.ndarray, value: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    """Return the weighted mean of each cell (size,), what minimises Σ w (v − m)²; NaN for an empty one.

    Args:
        cell: number of each voxel's cell (n,).
        value: the voxels' values (n,).
        weight: their weights (n,), above 0.
        size: how many cells there are.
    """
    total = np.bincount(cell, weight, size)
    with np.errstate(invalid="ignore"):
        return np.bincount(cell, weight * value, size) / total


def weighted_median(cell: np.ndarray, value: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    """Return the weighted median of each cell (size,), what minimises Σ w |v − m|; NaN for an empty one.

    Args:
        cell: number of each voxel's cell (n,).
        value: the voxels' values (n,).
        weight: their weights (n,), above 0.
        size: how many cells there are.
    """
    order = np.lexsort((value, cell))
    cell, value, risen = cell[order], value[order], np.cumsum(weight[order])
    total = np.bincount(cell, weight[order], size)
    last = np.cumsum(np.bincount(cell, minlength=size))
    before = np.concatenate([[0.0], risen])[last - np.bincount(cell, minlength=size)]
    at = np.searchsorted(risen, before + total / 2)
    return np.where(total > 0, value[np.clip(at, 0, np.maximum(last - 1, 0))], np.nan)


def _edges(columns: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return where the bins of each feature divide: between its levels where these are few, else at quantiles.

    Features share CELLS evenly; what one of few levels leaves is shared by the others.
    """
    levels = [np.unique(column) for column in columns]
    left, share, edges = float(CELLS), len(columns), {}
    for number in sorted(range(len(columns)), key=lambda i: levels[i].size):
        bins, own = min(MAX_BINS, int(left ** (1 / share))), levels[number]
        if own.size <= bins:
            edges[number] = (own[1:] + own[:-1]) / 2
        else:
            edges[number] = np.unique(np.quantile(columns[number], np.arange(1, bins) / bins))
        left, share = left / (edges[number].size + 1), share - 1
    return [edges[number] for number in range(len(columns))]


def _nearest_line(columns: Sequence[np.ndarray], target: np.ndarray) -> np.ndarray:
    """Return the number of the feature whose line leaves the least squared residual, that line's slope and offset."""
    best, least = np.zeros(3), np.inf
    for number, x in enumerate(columns):
        spread = x.var()
        slope = float(np.mean((x - x.mean()) * (target - target.mean())) / spread) if spread > 1e-12 else 0.0
        offset = float(target.mean() - slope * x.mean())
        left = float(np.square(target - slope * x - offset).mean())
        if left < least:
            best, least = np.array([number, slope, offset]), left
    return best


def _filled(
    codes: np.ndarray, shape: tuple[int, ...], value: np.ndarray, weight: np.ndarray, statistic: Statistic
) -> np.ndarray:
    """Return the statistic of each cell (*shape); cells with few voxels take that of a wider cell.

    codes: bin of each voxel along each axis (k, n).
    """
    cells, places, level = np.full(shape, np.nan), np.indices(shape), 0
    while np.isnan(cells).any():
        wide = tuple(((n - 1) >> level) + 1 for n in shape)
        number = np.ravel_multi_index(tuple(codes >> level), wide)
        size = int(np.prod(wide))
        found = statistic(number, value, weight, size)
        if size > 1:
            found[np.bincount(number, minlength=size) < FEW] = np.nan
        cells = np.where(np.isnan(cells), found[np.ravel_multi_index(tuple(places >> level), wide)], cells)
        level += 1
    return cells
