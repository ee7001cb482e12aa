"""An image with its geometry, and a case: the images and masks of one examination of one patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mrsynth.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Native:
    """How an image lies in its file: what a writer needs to put voxels back on the patient's own grid.

    Attributes:
        shape: (i, j, k) in the file.
        affine: 4×4, voxel of the file → mm (RAS+).
        orientation: the file's axis codes, e.g. ("L", "P", "S").
        header: the reader's own header object, opaque here.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    orientation: tuple[str, str, str]
    header: Any = None


@dataclass(frozen=True, eq=False)
class Image:
    """One volume.

    Attributes:
        data: (x, y, z) with axes nearest to RAS+.
        affine: 4×4, voxel → mm.
        contrast: a name of `types`.
        native: how it lies in its file, None where it comes from none.
    """

    data: np.ndarray
    affine: np.ndarray
    contrast: str
    native: Native | None = None

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """The voxel's edge lengths in mm along x, y, z."""
        return edges_mm(self.affine)

    def with_data(self, data: np.ndarray, contrast: str | None = None) -> Image:
        """Return this image with other voxels on the same grid.

        Args:
            data: (x, y, z), of this image's shape.
            contrast: what the new image shows; the same by default.

        Raises:
            ValueError: where the shape differs.
        """
        if data.shape != self.data.shape:
            raise ValueError(f"data of shape {data.shape} does not fit the grid {self.data.shape}")
        return replace(self, data=data, contrast=contrast or self.contrast)


def edges_mm(affine: ArrayLike) -> tuple[float, float, float]:
    """Return the edge lengths in mm of a voxel along x, y, z; affine: (4, 4), voxel to mm."""
    x, y, z = np.sqrt((np.asarray(affine, float)[:3, :3] ** 2).sum(axis=0))
    return float(x), float(y), float(z)


def same_grid(a: Image, b: Image, tolerance_mm: float = 1e-3) -> bool:
    """Say whether two images share shape and place.

    Args:
        a: an image.
        b: another one.
        tolerance_mm: how far the corners of the volumes may lie apart.
    """
    if a.data.shape != b.data.shape:
        return False
    corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners[:, :3] *= np.array(a.data.shape) - 1
    return bool(np.abs((np.asarray(a.affine) - np.asarray(b.affine)) @ corners.T)[:3].max() <= tolerance_mm)


def describe_grid(image: Image) -> str:
    """Return shape and spacing as words, for messages."""
    shape = "×".join(str(n) for n in image.data.shape)
    return f"{shape} voxels of {' × '.join(f'{s:.3g}' for s in image.spacing_mm)} mm"


def grid_error(case: str, first: Image, other: Image) -> InputError | None:
    """Return an error that names both images where they do not share a grid.

    Args:
        case: whose images they are, for the message.
        first: the image that sets the grid.
        other: the image that should lie on it.

    Returns:
        The error, None where the grids are the same.
    """
    if same_grid(first, other):
        return None
    here, there = (" ".join(f"{x:.6g}" for x in image.affine[:3, 3]) for image in (first, other))
    return InputError(
        f"{case}: {other.contrast} lies on another grid than {first.contrast}.",
        found=f"{describe_grid(other)}, first voxel at {there} mm",
        expected=f"{describe_grid(first)}, first voxel at {here} mm, same directions",
        do="co-register and resample the images of a case to one grid first",
    )


@dataclass(frozen=True, eq=False)
class Case:
    """One examination.

    Attributes:
        images, masks: by name (see `types`).
        metadata: patient, case, split, b0_tesla, dose, and what was drawn for a simulated case.
        history: the record of each preparation step, in order, JSON-able.
    """

    images: Mapping[str, Image]
    masks: Mapping[str, Image] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The case's name, for messages and file names."""
        return str(self.metadata.get("case", "case"))

    def image(self, contrast: str) -> Image:
        """Return the image of a contrast; raises InputError that lists what the case has."""
        if contrast not in self.images:
            raise InputError(
                f"{self.name}: no {contrast} image.",
                found=", ".join(self.images) or "no image at all",
                expected=contrast,
                do=f"add {contrast} to this case or leave the case out",
            )
        return self.images[contrast]


def slices_around(k: ArrayLike, neighbours: int, extent: ArrayLike) -> np.ndarray:
    """Return the slices that a network with neighbours sees of a slice: k − n … k + n. Beyond the volume its last slice
    is taken again.

    Args:
        k: numbers of slices, of any shape.
        neighbours: n, slices on each side.
        extent: how many slices the volume has, one number or one for each k.

    Returns:
        Numbers of slices, (*k, 2n + 1).
    """
    last = np.subtract(extent, 1)[..., None]
    return np.clip(np.add.outer(k, np.arange(-neighbours, neighbours + 1)), 0, last)
