"""A quick look whether two images that claim to lie on one frame really do: shifted, or mirrored left to right?

Mutual information over whole-voxel shifts of a 2 mm grid, so that no interpolation favours a position, and over voxels
deep inside the head only: images that were stripped with one mask share its edge however far the brains are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.core.types import b_of, in_order
from mrsynth.steps.transform import Grid, bring, crop_or_pad, regular_grid

GRID_MM = 2.0
REACH_MM = 8.0
FLAG_MM = 1.5
BINS = 24
EDGE_MM = 3.0
COARSE_SAMPLES = 20_000
MIN_VOXELS = 2_000
MIN_SHARE = 0.5
MIRROR_GAIN = 1.02


@dataclass(frozen=True)
class Misalignment:
    """Settings of the step `misalignment`.

    Attributes:
        shift_mm: where the moving image lies relative to the fixed one, along the fixed one's axes x, y, z (at most 8
            mm are looked for).
        mirrored: whether its mirror image fits better.
        information, mirrored_information: mutual information in nats at the best shift of the image and of its mirror
            image.
    """

    shift_mm: tuple[float, float, float]
    mirrored: bool
    information: float
    mirrored_information: float

    @property
    def distance_mm(self) -> float:
        """The length of the shift in mm."""
        return float(np.linalg.norm(self.shift_mm))

    @property
    def shifted(self) -> bool:
        """Whether the images lie apart: by about 2 mm or more (flagged from 1.5 mm on)."""
        return self.distance_mm >= FLAG_MM


def misalignments(images: Mapping[str, Image]) -> Iterator[tuple[str, str, Misalignment | InputError]]:
    """Yield (first contrast, contrast, how it lies on the first one) for each image of a case but the first.

    Each is compared once; of the diffusion-weighted images, which move together, that of the lowest b-value. Where too
    little is seen to tell, the InputError that says so is given.
    """
    names = in_order(images)
    weighted = [name for name in names if b_of(name) is not None]
    for name in [name for name in names if name not in weighted[1:]][1:]:
        found: Misalignment | InputError
        try:
            found = misalignment(images[names[0]], images[name])
        except InputError as error:
            found = error
        yield names[0], name, found


def misalignment(fixed: Image, moving: Image) -> Misalignment:
    """Return how far apart two images of one head lie that should coincide, and whether one is mirrored. Turns are not
    looked for.

    Args:
        fixed: an image.
        moving: another one of the same head.

    Raises:
        InputError: where too little of the head is in both images to tell.
    """
    fixed = _around_head(fixed)
    grid = regular_grid(Grid.of(fixed), tuple(max(GRID_MM, edge) for edge in fixed.spacing_mm), None)  # type: ignore[arg-type]
    spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
    still = bring(fixed, grid, "linear", antialias=True)
    other = bring(_over(moving, grid), grid, "linear", antialias=True)
    inner, there = _inside(still, spacing), _inside(other, spacing)
    common = int((inner & there).sum())
    if common < MIN_VOXELS:
        raise InputError(
            f"{fixed.contrast} and {moving.contrast} have too little in common to compare their positions.",
            found=f"{common} voxels of {GRID_MM:g} mm inside the head in both",
            expected=f"at least {MIN_VOXELS}",
            do="check that both show the same part of the head",
        )
    bins, others = _bins(still.data, inner), _bins(other.data, there)
    reach = np.maximum(1, np.round(REACH_MM / spacing)).astype(int)
    shift, information = _best_shift(bins, others, reach)
    mirrored_information = _best_shift(bins, _mirrored(others, bins), reach)[1]
    x, y, z = (float(s * edge) for s, edge in zip(shift, spacing, strict=True))
    return Misalignment((x, y, z), mirrored_information > MIRROR_GAIN * information, information, mirrored_information)


def _around_head(image: Image) -> Image:
    """Return the box of the image that holds its signal."""
    sparse = image.data[::4, ::4, ::4]
    level = -300.0 if image.contrast == "ct" else 0.05 * float(np.quantile(sparse, 0.995))
    found = np.argwhere(sparse > level)
    if not found.size:
        raise InputError(f"{image.contrast} is empty.", found="no signal", do="check the file")
    low, high = np.maximum(found.min(axis=0) * 4 - 6, 0), found.max(axis=0) * 4 + 7
    x, y, z = (int(n) for n in np.minimum(high, image.data.shape) - low)
    return crop_or_pad(image, (int(low[0]), int(low[1]), int(low[2])), (x, y, z))


def _over(image: Image, grid: Grid) -> Image:
    """Return the box of the image that a grid covers."""
    at = np.linalg.inv(np.asarray(image.affine, float)) @ np.vstack([grid.corners_mm(1.0), np.ones(8)])
    low = np.clip(np.floor(at[:3].min(axis=1)) - 2, 0, np.array(image.data.shape) - 1).astype(int)
    high = np.clip(np.ceil(at[:3].max(axis=1)) + 3, low + 1, image.data.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    affine = np.array(image.affine, float)
    affine[:3, 3] += affine[:3, :3] @ low
    return replace(image, data=image.data[box], affine=affine)


def _inside(image: Image, spacing: np.ndarray) -> np.ndarray:
    """Return head or brain as bool, without holes and without its outermost EDGE_MM."""
    from scipy import ndimage

    level = -300.0 if image.contrast == "ct" else 0.05 * float(np.quantile(image.data, 0.99))
    solid = ndimage.binary_fill_holes(ndimage.binary_closing(image.data > level, iterations=2))
    return ndimage.distance_transform_edt(np.pad(solid, 1), sampling=spacing)[1:-1, 1:-1, 1:-1] > EDGE_MM


def _bins(data: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the number of each voxel's bin, 1 to BINS - 1, equally many voxels a bin; 0 outside."""
    values = data[inside]
    edges = np.quantile(values[:: max(1, values.size // 50_000)], np.linspace(0, 1, BINS)[1:-1])
    return np.where(inside, 1 + np.searchsorted(edges, data), 0).astype(np.int64)


def _mirrored(bins: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return bins flipped along x so that the middle of what they fill comes to that of `like`."""
    middle = [float(np.average(np.arange(b.shape[0]), weights=(b > 0).sum(axis=(1, 2)))) for b in (bins, like)]
    index = round(sum(middle)) - np.arange(bins.shape[0])
    known = (index >= 0) & (index < bins.shape[0])
    return np.where(known[:, None, None], bins[np.clip(index, 0, bins.shape[0] - 1)], 0)


def _best_shift(fixed: np.ndarray, moving: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the shift of moving in voxels (3,), to fractions by a parabola, and the information there."""
    moving = np.pad(moving, [(r, r) for r in reach])
    where = np.argwhere(fixed)
    strides = np.array([moving.shape[1] * moving.shape[2], moving.shape[2], 1])
    at, rows, others = (where + reach) @ strides, fixed[tuple(where.T)] * BINS, moving.ravel()
    sparse = max(1, len(at) // COARSE_SAMPLES)

    @cache
    def information(shift: tuple[int, ...], every: int = 1) -> float:
        pairs = rows[::every] + others[at[::every] + int(strides @ shift)]
        joint = np.bincount(pairs, minlength=BINS * BINS).reshape(BINS, BINS)[:, 1:]
        return _mutual_information(joint) if joint.sum() > MIN_SHARE * len(pairs) else 0.0

    steps = [range(-r + r % 2, r + 1, 2) for r in reach]
    best: tuple[int, ...] = max(product(*steps), key=lambda shift: information(shift, sparse))
    while True:
        near = product(*[range(max(-r, s - 1), min(r, s + 1) + 1) for s, r in zip(best, reach, strict=True)])
        step = max(near, key=information)
        if information(step) <= information(best):
            return _refined(best, reach, information), information(best)
        best = step


def _refined(best: tuple[int, ...], reach: np.ndarray, information: Callable[[tuple[int, ...]], float]) -> np.ndarray:
    """Return the top of the parabola through the best whole shift and its neighbours along each axis."""
    shift = np.array(best, dtype=float)
    for axis in range(3):
        if abs(best[axis]) >= reach[axis]:
            continue
        unit = np.eye(3, dtype=int)[axis]
        below, above = (information(tuple(int(b) for b in best + sign * unit)) for sign in (-1, 1))
        curve = 2 * information(best) - below - above
        shift[axis] += 0.5 * (above - below) / curve if curve > 0 else 0.0
    return shift


def _mutual_information(joint: np.ndarray) -> float:
    """Return the mutual information in nats of a joint histogram (bins, bins)."""
    share = joint / joint.sum()
    apart = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
    some = share > 0
    return float((share[some] * np.log(share[some] / apart[some])).sum())
