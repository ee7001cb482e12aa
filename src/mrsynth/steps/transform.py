"""What every change of geometry shares: grids, matrices between them, and one image brought onto a grid.

Everything runs in voxel indices with one 4×4 matrix, because a scan's axes need not be orthogonal (gantry tilt) and
SimpleITK's images must be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.core.types import MASKS, is_contrast
from mrsynth.steps.brain_stripped import background

Order = Literal["linear", "cubic", "bspline"]

WHOLE_VOXEL = 1e-3
"""A grid whose voxels lie this close (in voxels) to those of another at every corner shares them."""

MAX_VOXELS = 2**29
"""A grid of more voxels than this is a mistake, refused before memory is asked for it (2 GiB in float32). The readers
have the same limit (io.nifti_header)."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Settings of a step that interpolates.

    Attributes:
        shape: voxels along x, y, z.
        affine: 4×4, voxel → mm, invertible.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray

    def record(self) -> dict[str, Any]:
        """Return the grid as JSON."""
        return {"shape": list(self.shape), "affine": np.asarray(self.affine, float).tolist()}

    @classmethod
    def of(cls, image: Image) -> Grid:
        """Return the grid of an image."""
        x, y, z = image.data.shape
        return cls((x, y, z), np.asarray(image.affine, dtype=np.float64))

    @classmethod
    def recorded(cls, record: dict[str, Any]) -> Grid:
        """Return the grid of a record."""
        x, y, z = record["shape"]
        return cls((x, y, z), np.array(record["affine"], dtype=np.float64))

    def corners_mm(self, edge: float = 0.0) -> np.ndarray:
        """Return the positions (3, 8) of the corner voxels' centres in mm; edge: that many voxels further out."""
        return apply_affine(self.affine, corner_indices(self.shape, edge))

    def centre_mm(self) -> np.ndarray:
        """Return the position (3,) of the grid's centre in mm."""
        return self.corners_mm().mean(axis=1)


def corner_indices(shape: tuple[int, ...], edge: float = 0.0) -> np.ndarray:
    """Return the indices of a grid's corner voxels.

    Args:
        shape: of the grid.
        edge: that many voxels further out.

    Returns:
        (3, 8).
    """
    ends = [(-edge, n - 1 + edge) for n in shape]
    return np.array([[x, y, z] for x in ends[0] for y in ends[1] for z in ends[2]]).T


def apply_affine(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return points moved by a matrix.

    Args:
        matrix: 4×4.
        points: (3, n).

    Returns:
        (3, n).
    """
    return matrix[:3, :3] @ points + matrix[:3, 3:]


def is_mask(image: Image) -> bool:
    """Say whether the voxels are labels, between which nothing lies: by the image's name, else by its type (uint8)."""
    return image.contrast in MASKS or (image.data.dtype == np.uint8 and not is_contrast(image.contrast))


def outside(image: Image) -> float:
    """Return the value of what an image did not see: air of a CT (its lowest value), else 0; in a stripped image whose
    values were shifted before (zscore, where 0 is the brain's mean) its background."""
    lowest = float(image.data.min())
    if image.contrast == "ct":
        return lowest
    found = background(image) if lowest < 0.0 else None
    return min(0.0, found.value) if found is not None and found.signed else 0.0


def mean_shift_mm(matrix: np.ndarray, points_mm: np.ndarray) -> float:
    """Return how far a matrix moves points on average, in mm.

    Args:
        matrix: 4×4.
        points_mm: (3, n).
    """
    return float(np.linalg.norm(apply_affine(matrix, points_mm) - points_mm, axis=0).mean())


def on_all(case: Case, change: Callable[[Image], Image]) -> Case:
    """Apply one change of grid to all images and masks of a case.

    Args:
        case: what is changed.
        change: image → image.
    """
    return replace(
        case,
        images={name: change(image) for name, image in case.images.items()},
        masks={name: change(mask) for name, mask in case.masks.items()},
    )


def crop_or_pad(image: Image, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Image:
    """Return a box of an image; what lies outside the image is air (`outside`).

    Args:
        image: what is cut.
        start: the first voxel of the box, which may lie outside.
        shape: voxels of the box.
    """
    data = np.full(shape, outside(image), dtype=image.data.dtype)
    low = [max(0, s) for s in start]
    high = [min(n, s + m) for n, s, m in zip(image.data.shape, start, shape, strict=True)]
    if all(h > lo for lo, h in zip(low, high, strict=True)):
        to = tuple(slice(lo - s, h - s) for lo, h, s in zip(low, high, start, strict=True))
        data[to] = image.data[tuple(slice(lo, h) for lo, h in zip(low, high, strict=True))]
    affine = np.array(image.affine, dtype=np.float64)
    affine[:3, 3] += affine[:3, :3] @ np.array(start, dtype=np.float64)
    return replace(image, data=data, affine=affine)


def turn(image: Image, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Image:
    """Return the image with its axes in another order, then flipped; positions in mm stay.

    Args:
        image: what is turned.
        axes: for each new axis the old one.
        flips: whether the new axis runs backwards.
    """
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1.0
    data = image.data.transpose(axes)
    for new, (old, flip) in enumerate(zip(axes, flips, strict=True)):
        matrix[old, new] = -1.0 if flip else 1.0
        matrix[old, 3] = image.data.shape[old] - 1 if flip else 0.0
    data = np.flip(data, tuple(axis for axis, flip in enumerate(flips) if flip))
    return replace(image, data=data, affine=np.asarray(image.affine, float) @ matrix)


def shared_voxels(image: Image, grid: Grid) -> np.ndarray | None:
    """Say how two grids share voxels.

    Args:
        image: on the one grid.
        grid: the other one.

    Returns:
        The matrix grid index → image index where it only swaps, flips and shifts by whole voxels, else None.
    """
    matrix = np.linalg.inv(np.asarray(image.affine, float)) @ grid.affine
    whole = np.rint(matrix)
    corners = corner_indices(grid.shape)
    if np.abs(apply_affine(matrix, corners) - apply_affine(whole, corners)).max() > WHOLE_VOXEL:
        return None
    turned = np.abs(whole[:3, :3])
    return whole if (turned.sum(axis=0) == 1).all() and (turned.sum(axis=1) == 1).all() else None


def bring(image: Image, grid: Grid, order: Order, antialias: bool) -> Image:
    """Return the image on a grid: voxels copied where both share them (`shared_voxels`), else one interpolation.

    Args:
        image: what is brought. Masks (`is_mask`) take the nearest voxel.
        grid: where it is wanted.
        order: for images; linear, cubic (the cubic B-spline through the voxels) or bspline (of fifth order),
            overshoot clipped to the image's own range.
        antialias: blur an image before it loses resolution.

    Raises:
        InputError: for a grid too large to hold.
    """
    if float(np.prod(grid.shape, dtype=np.float64)) > MAX_VOXELS:
        raise InputError(
            "The grid to resample to is too large.",
            found="×".join(str(n) for n in grid.shape) + " voxels",
            expected=f"at most {MAX_VOXELS} voxels",
            do="check spacing_mm and shape of the resample step, and the image's affine",
        )
    whole = shared_voxels(image, grid)
    if whole is None:
        return replace(image, data=_interpolate(image, grid, order, antialias), affine=grid.affine)
    old, sign = np.abs(whole[:3, :3]).argmax(axis=0), whole[:3, :3].sum(axis=0)
    turned = turn(image, (int(old[0]), int(old[1]), int(old[2])), (sign[0] < 0, sign[1] < 0, sign[2] < 0))
    start = [image.data.shape[o] - 1 - whole[o, 3] if s < 0 else whole[o, 3] for o, s in zip(old, sign, strict=True)]
    box = crop_or_pad(turned, (int(start[0]), int(start[1]), int(start[2])), grid.shape)
    return replace(box, affine=grid.affine)


def _interpolate(image: Image, grid: Grid, order: Order, antialias: bool) -> np.ndarray:
    """Return the voxels of the image on a grid (see `bring`), by SimpleITK."""
    import SimpleITK as sitk

    mask = is_mask(image)
    matrix = np.linalg.inv(np.asarray(image.affine, float)) @ grid.affine
    kind = np.float32 if not mask else np.uint8 if image.data.dtype == bool else image.data.dtype
    data = image.data.astype(kind, copy=False)
    if antialias and not mask:
        data = blur_for(data, matrix)
    orders = {"linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline3, "bspline": sitk.sitkBSpline5}
    transform = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
    resample = sitk.ResampleImageFilter()
    resample.SetSize([int(n) for n in grid.shape])
    resample.SetInterpolator(sitk.sitkNearestNeighbor if mask else orders[order])
    resample.SetTransform(transform)
    resample.SetDefaultPixelValue(outside(image))
    # SimpleITK keeps x fastest, so that the transposed view is (x, y, z) again
    result = sitk.GetArrayFromImage(resample.Execute(sitk.GetImageFromArray(np.ascontiguousarray(data.T)))).T
    if mask or order == "linear":
        return result
    return np.clip(result, min(float(image.data.min()), outside(image)), float(image.data.max()))


def blur_for(data: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return data blurred as far as a coarser grid's voxels are wider.

    The Gaussian makes a point spread function of one voxel's full width at half maximum one of the coarse voxel's
    (Cardoso et al., Scale factor point spread function matching, MICCAI 2015).

    Args:
        data: (x, y, z).
        matrix: coarse index → index of data, 4×4.
    """
    from scipy.ndimage import gaussian_filter

    width = np.sqrt((matrix[:3, :3] ** 2).sum(axis=1))
    sigma = np.sqrt(np.maximum(width**2 - 1.0, 0.0) / (8.0 * np.log(2.0)))
    sigma[sigma < 0.05] = 0.0
    if not sigma.any():
        return data
    return gaussian_filter(data, sigma, mode="nearest", truncate=3.0)


def regular_grid(own: Grid, spacing_mm: tuple[float, float, float] | None, shape: tuple[int, int, int] | None) -> Grid:
    """Return a grid about the centre of another one's field of view, along its axes; axes that are not orthogonal
    become the nearest ones that are.

    Args:
        own: the other grid.
        spacing_mm: alone: as many voxels as cover the field of view.
        shape: alone: the field of view in that many voxels. With neither, the same grid.
    """
    if spacing_mm is None and shape is None:
        return own
    axes = own.affine[:3, :3] / np.linalg.norm(own.affine[:3, :3], axis=0)
    left, stretch, right = np.linalg.svd(axes)
    if np.abs(stretch - 1.0).max() > 1e-4:
        axes = left @ right
    extent = np.ptp(axes.T @ own.corners_mm(edge=0.5), axis=1)
    if spacing_mm is None:
        size = np.asarray(shape)
        step = extent / size
    else:
        step = np.asarray(spacing_mm)
        size = np.maximum(1, np.ceil(extent / step - 1e-3)).astype(int) if shape is None else np.asarray(shape)
    affine = np.eye(4)
    affine[:3, :3] = axes * step
    affine[:3, 3] = own.centre_mm() - affine[:3, :3] @ ((size - 1) / 2)
    return Grid((int(size[0]), int(size[1]), int(size[2])), affine)
