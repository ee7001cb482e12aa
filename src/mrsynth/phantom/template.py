"""The template: ICBM 152 2009a grey and white matter, and the geometry on which maps are sampled.

Coordinates are millimetres in MNI space (RAS+, origin at the anterior commissure).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample, pad


@dataclass(frozen=True)
class Grid:
    """A regular grid.

    Attributes:
        shape: voxels along x, y, z.
        origin_mm: centre of the first voxel.
        spacing_mm: edge length.
    """

    shape: tuple[int, int, int]
    origin_mm: tuple[float, float, float]
    spacing_mm: float

    @property
    def affine(self) -> np.ndarray:
        """The 4×4 matrix, voxel → mm (RAS+)."""
        affine = np.diag([self.spacing_mm] * 3 + [1.0])
        affine[:3, 3] = self.origin_mm
        return affine

    def axes_mm(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the coordinates of the voxel centres along each axis, float32, shaped to broadcast over (x, y, z)."""
        x, y, z = (
            (o + self.spacing_mm * np.arange(n)).astype(np.float32)
            for o, n in zip(self.origin_mm, self.shape, strict=True)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]

    def points_mm(self) -> Float[Tensor, "n 3"]:
        """Return the position in mm of every voxel's centre, z running fastest."""
        return torch.stack([torch.from_numpy(axis).expand(self.shape).flatten() for axis in self.axes_mm()], dim=-1)

    def part(self, box: tuple[slice, slice, slice]) -> Grid:
        """Return a box of the grid (slices with start and stop) as a grid."""
        origin = [o + b.start * self.spacing_mm for o, b in zip(self.origin_mm, box, strict=True)]
        shape = [b.stop - b.start for b in box]
        return Grid((shape[0], shape[1], shape[2]), (origin[0], origin[1], origin[2]), self.spacing_mm)

    def resampled(self, spacing_mm: float) -> Grid:
        """Return the grid over the same first voxel corner and extent at another spacing (rounded to whole voxels)."""
        factor = spacing_mm / self.spacing_mm
        shape = tuple(round(n / factor) for n in self.shape)
        origin = tuple(o + (spacing_mm - self.spacing_mm) / 2 for o in self.origin_mm)
        return Grid((shape[0], shape[1], shape[2]), (origin[0], origin[1], origin[2]), spacing_mm)


BATCH = 4

FINE = Grid((161, 209, 177), (-80.0, -120.0, -86.0), 1.0)
"""Where brain and vessels are described."""

COARSE = Grid((101, 125, 113), (-100.0, -138.0, -110.0), 2.0)
"""Where everything smooth is described: distances, the head outside the skull, random fields."""


def channels_last(maps: Float[Tensor, "c x y z"]) -> Float[Tensor, "c x y z"]:
    """Return the same maps with all values of a voxel side by side in memory, where `sample` finds them faster."""
    return maps.movedim(0, -1).contiguous().movedim(-1, 0)


def sample(maps: Float[Tensor, "c x y z"], grid: Grid, points_mm: Float[Tensor, "n 3"]) -> Float[Tensor, "c n"]:
    """Return maps at points by trilinear interpolation; outside the grid the nearest edge value holds.

    Args:
        maps: (c, x, y, z).
        grid: of the maps.
        points_mm: (n, 3).

    Returns:
        (c, n).
    """
    size = torch.tensor(grid.shape, dtype=torch.float32) - 1.0
    scale = 2.0 / (grid.spacing_mm * size)
    unit = points_mm * scale - (torch.tensor(grid.origin_mm, dtype=torch.float32) * scale + 1.0)
    # grid_sample wants the last axis first (hence the transposed view) and runs in parallel over its batch only
    count = len(unit)
    unit = pad(unit, (0, 0, 0, -count % BATCH)).view(BATCH, 1, 1, -1, 3)
    volume = maps.permute(0, 3, 2, 1).expand(BATCH, -1, -1, -1, -1)
    found = grid_sample(volume, unit, mode="bilinear", padding_mode="border", align_corners=True)
    return found.squeeze(3).squeeze(2).movedim(0, 1).flatten(1)[:, :count]


def load_template() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return grey and white matter probability (float32, 0 to 1) and the brain mask (bool) on the FINE grid.

    Below the template's last slice the medulla is continued downward, so that a cord leaves the skull.
    """
    with as_file(files("mrsynth.phantom") / "assets" / "icbm152_2009a.npz") as path, np.load(path) as asset:
        half = asset["grey"], asset["white"], asset["brain"]
        origin_mm = asset["origin_mm"]
    shape = half[0].shape
    mask = np.unpackbits(half[2])[: half[0].size].reshape(shape)
    start = [round(o - f) for o, f in zip(origin_mm, FINE.origin_mm, strict=True)]
    full = []
    for part in (half[0], half[1], mask):
        volume = np.zeros(FINE.shape, part.dtype)
        both = np.concatenate([part, part[-2::-1]])  # the plane x = 0 once
        volume[tuple(slice(s, s + n) for s, n in zip(start, both.shape, strict=True))] = both
        volume[..., : start[2]] = volume[..., start[2] : start[2] + 1]
        full.append(volume)
    grey, white = (volume.astype(np.float32) / 255.0 for volume in full[:2])
    return grey, white, full[2].astype(bool)
