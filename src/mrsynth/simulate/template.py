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
from torch.nn.functional import grid_sample


@dataclass(frozen=True)
class Grid:
    """A regular grid. shape: voxels along x, y, z; origin_mm: centre of the first voxel; spacing_mm: edge length."""

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

    def points_mm(self) -> Float[Tensor, "x y z 3"]:
        """Return the position of every voxel's centre in mm."""
        axes = [torch.from_numpy(np.broadcast_to(axis, self.shape).copy()) for axis in self.axes_mm()]
        return torch.stack(axes, dim=-1)

    def resampled(self, spacing_mm: float) -> Grid:
        """Return the grid over the same first voxel corner and extent at another spacing (rounded to whole voxels)."""
        factor = spacing_mm / self.spacing_mm
        shape = tuple(round(n / factor) for n in self.shape)
        origin = tuple(o + (spacing_mm - self.spacing_mm) / 2 for o in self.origin_mm)
        return Grid((shape[0], shape[1], shape[2]), (origin[0], origin[1], origin[2]), spacing_mm)


FINE = Grid((161, 209, 177), (-80.0, -120.0, -86.0), 1.0)
"""Where brain and vessels are described."""

COARSE = Grid((101, 125, 113), (-100.0, -138.0, -110.0), 2.0)
"""Where everything smooth is described: distances, the head outside the skull, random fields."""


def sample(
    maps: Float[Tensor, "c x y z"], grid: Grid, points_mm: Float[Tensor, "i j k 3"]
) -> Float[Tensor, "c i j k"]:
    """Return maps at points by trilinear interpolation; outside the grid the nearest edge value holds."""
    size = torch.tensor(grid.shape, dtype=torch.float32) - 1.0
    unit = (points_mm - torch.tensor(grid.origin_mm, dtype=torch.float32)) / (grid.spacing_mm * size) * 2.0 - 1.0
    # grid_sample wants the last axis of the volume first
    return grid_sample(maps[None], unit.flip(-1)[None], mode="bilinear", padding_mode="border", align_corners=True)[0]


def load_template() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return grey and white matter probability (float32, 0 to 1) and the brain mask (bool) on the FINE grid.

    Below the template's last slice the medulla is continued downward, so that a cord leaves the skull.
    """
    with as_file(files("mrsynth.simulate") / "assets" / "icbm152_2009a.npz") as path, np.load(path) as asset:
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
