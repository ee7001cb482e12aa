"""Images whose skull was taken off before: whether they are, and the brain mask that their background gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image

FLAT = 0.9
"""A stripped image has one value in this part of the volume's outermost voxels. Of the real images that this was tried
on, stripped ones have at least 0.996 (also where resampling overshot), heads in air at most 0.55; with the air set
to 0 (real and phantom) have 0.67 to 0.93, and their volume gives them away."""
TOLERANCE = 1e-3
"""Values this close count as one, as a part of the image's range above its background."""
AIR_BELOW_HU = -300.0
"""In CT all that is below is air."""
SMALLEST_BRAIN_ML = 100.0
LARGEST_BRAIN_ML = 2500.0
"""No brain mask is smaller (a few thick slices of one) or larger: intracranial volume is 1.45 ± 0.15 L in adults; heads
with the air set to 0, scanned from vertex to skull base, hold 2.8 L or more."""
SMALL_VIEW_ML = 500.0
"""In a field of view smaller than this the volume of a mask says nothing."""


@dataclass(frozen=True)
class Background:
    """What a stripped image holds outside the brain.

    Attributes:
        value: its background.
        margin: values that differ from it by no more belong to it.
        signed: the image was normalised before, so that values below 0 are no mistake.
    """

    value: float
    margin: float
    signed: bool


def background(image: Image) -> Background | None:
    """Return the flat background of a stripped image, None for an image that has none.

    A positive constant is no background of an MR image: air gives no signal. In CT 0 HU is water, not air.
    """
    faces = np.concatenate([image.data[s].ravel() for s in _faces(image.data.ndim)]).astype(np.float64)
    value = float(np.median(faces))
    sample = image.data[::2, ::2, ::2]
    near = TOLERANCE * float(np.percentile(np.abs(sample - value), 99))
    if np.mean(np.abs(faces - value) <= near) < FLAT or value > (AIR_BELOW_HU if image.contrast == "ct" else near):
        return None
    above, below = (float(np.maximum(sign * (sample - value), 0).sum(dtype=np.float64)) for sign in (1, -1))
    # Interpolation that overshoots leaves a few per cent of the image below 0, a z-score over the brain about half.
    signed = bool(value < -near or below > 0.1 * (above + below))
    exact = (below == 0.0 or signed) and np.mean(faces == value) >= FLAT
    return Background(value, 0.0 if exact else near, signed)


def _faces(axes: int) -> list[tuple[slice | int, ...]]:
    """Return the indices of a volume's first and last layer along each axis."""
    everything = [slice(None)] * axes
    return [(*everything[:a], end, *everything[a + 1 :]) for a in range(axes) for end in (0, -1)]


def signal(image: Image) -> np.ndarray:
    """Return where an image carries signal, bool (x, y, z): above its background, or above 0 where it has none; in CT
    where there is no air."""
    if image.contrast == "ct":
        return image.data > AIR_BELOW_HU
    found = background(image) or Background(0.0, 0.0, False)
    if found.signed:
        return np.abs(image.data - found.value) > found.margin
    return image.data > found.value + found.margin


def nonzero_mask(case: Case) -> np.ndarray:
    """Return the largest connected region with signal in every image, holes filled; bool (x, y, z).

    Raises InputError where there is none.
    """
    shared = shared_signal(case)
    if not shared.any():
        raise InputError(
            f"{case.name}: no voxel carries signal in every image.",
            found=", ".join(case.images),
            expected="co-registered, skull-stripped images",
            do="check that the images lie on one grid (mrsynth check), or give a brain mask",
        )
    mask = filled_region(shared)
    # Ventricles and cysts that are open in 3-D but closed in a slice belong to the brain too.
    for k in np.flatnonzero(mask.any(axis=(0, 1))):
        mask[..., k] = ndimage.binary_fill_holes(mask[..., k])
    return mask


def shared_signal(case: Case) -> np.ndarray:
    """Return where every image of a case carries signal, bool (x, y, z)."""
    return np.logical_and.reduce([signal(image) for image in case.images.values()])


def filled_region(mask: np.ndarray) -> np.ndarray:
    """Return the largest face-connected region of a mask that is not empty, its holes filled; bool (x, y, z)."""
    result = np.zeros(mask.shape, dtype=bool)
    labels, _ = ndimage.label(mask)
    largest = 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    box = ndimage.find_objects(labels, max_label=largest)[largest - 1]
    result[box] = ndimage.binary_fill_holes(labels[box] == largest)
    return result


def brain_region(mask: np.ndarray, image: Image, what: str, *, looked_at: str = "", do: str) -> np.ndarray:
    """Return the largest region of a mask with its holes filled, where it has the volume of a brain.

    Args:
        mask: bool (x, y, z).
        image: whose grid it is.
        what: was found, for the message.
        looked_at: what was found beside the volume, for the message.
        do: what helps, for the message.

    Returns:
        bool (x, y, z).

    Raises:
        InputError: where it has not.
    """
    region = filled_region(mask) if mask.any() else mask
    volume = volume_ml(region, image)
    if SMALLEST_BRAIN_ML <= volume <= LARGEST_BRAIN_ML:
        return region
    raise InputError(
        what,
        found=f"{volume:.0f} mL{looked_at}",
        expected=f"{SMALLEST_BRAIN_ML:.0f} to {LARGEST_BRAIN_ML:.0f} mL",
        do=do,
    )


def volume_ml(mask: np.ndarray, image: Image) -> float:
    """Return the volume of a mask in mL.

    Args:
        mask: (x, y, z).
        image: whose grid it is.
    """
    return float(np.count_nonzero(mask) * abs(np.linalg.det(np.asarray(image.affine, float)[:3, :3])) / 1000.0)


def not_stripped(case: Case, max_fraction: float) -> str | None:
    """Return why the images of a case are no stripped ones, None if they are.

    They are where every image (CT only where it is alone) has a flat background and what stands out from it in all of
    them is no larger than a brain.

    Args:
        case: whose images they are.
        max_fraction: how much of the volume may stand out.
    """
    for name, image in case.images.items():
        if (name != "ct" or len(case.images) == 1) and background(image) is None:
            return f"{name} has no flat background"
    shared = shared_signal(case)
    volume = volume_ml(shared, next(iter(case.images.values())))
    if volume > LARGEST_BRAIN_ML:
        return f"signal in {volume:.0f} mL, more than a brain"
    if shared.mean() > max_fraction:
        return f"signal in {100 * shared.mean():.0f} % of the volume"
    return None
