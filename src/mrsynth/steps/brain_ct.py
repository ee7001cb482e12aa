"""Brain mask of a head CT by watershed (li2022 §2.1, after Vincent and Soille, IEEE PAMI 13:583, 1991).

The skull is the barrier: the distance to bone and air is a landscape whose deepest valley is the inside of the skull;
what flows into it is brain, what flows to the skin or into other valleys (face, neck) is not. Values in HU are read,
never changed.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.steps.brain_stripped import AIR_BELOW_HU, brain_region, filled_region, volume_ml

BONE_ABOVE_HU = 200.0
TISSUE_BELOW_HU = 100.0
"""Brain and CSF have 0 to 45 HU, fresh blood up to 90; what lies between 100 HU and bone is the skull's own rim."""
SMALLEST_BONE_ML = 5.0
"""Smaller islands of bone are calcifications, clips and vessels with contrast agent: no barrier."""
VALLEY_MM = 8.0
"""Deeper inside than this every valley is one of its own; the optic canal and the fissures are narrower."""
SKIN_MM = 3.0
HEADREST_MM = 10.0
SMALLEST_HEAD_ML, LARGEST_HEAD_ML = 100.0, 8000.0
"""From a few slices to a head with its neck; 3 to 5 L are usual."""
WORKING_MM = 2.0
"""Voxel size at which the watershed runs; the mask's rim is then found at full resolution."""


def watershed_mask(case: str, image: Image) -> np.ndarray:
    """Return the inside of the skull in a CT.

    Args:
        case: its name, for messages.
        image: in HU.

    Returns:
        bool (x, y, z).

    Raises:
        InputError: where no skull closes around soft tissue.
    """
    steps = [max(1, round(WORKING_MM / spacing)) for spacing in image.spacing_mm]
    small = image.data[:: steps[0], :: steps[1], :: steps[2]]
    spacing = [size * step for size, step in zip(image.spacing_mm, steps, strict=True)]
    inside = _inside_skull(small, spacing)
    # Back at full resolution: widened by one working voxel, then cut where the skull begins.
    nearest = [
        np.minimum(np.arange(n) // step, m - 1) for n, step, m in zip(image.data.shape, steps, small.shape, strict=True)
    ]
    mask = inside[np.ix_(*nearest)]
    mask = ndimage.binary_dilation(mask, iterations=max(steps)) if max(steps) > 1 else mask
    mask = ndimage.binary_opening(mask & (image.data < TISSUE_BELOW_HU) & (image.data > AIR_BELOW_HU))
    return brain_region(
        mask,
        image,
        f"{case}: no brain found in the CT.",
        looked_at=f" of soft tissue inside bone; values from {image.data.min():g} to {image.data.max():g}",
        do="check that the file is in HU and shows the skull (mrsynth check), or give a brain mask",
    )


def head_mask(case: str, image: Image) -> np.ndarray:
    """Return the head in a CT, skull and scalp with it, the holes of its sinuses filled.

    What is thinner than HEADREST_MM (a headrest, a tube) is left out.

    Args:
        case: its name, for messages.
        image: in HU.

    Returns:
        bool (x, y, z).

    Raises:
        InputError: where no region has the volume of a head.
    """
    body = image.data > AIR_BELOW_HU
    times = [max(1, round(HEADREST_MM / 2 / spacing)) for spacing in image.spacing_mm]
    body = ndimage.binary_opening(body, np.ones([2 * n + 1 for n in times], bool)) & body
    region = filled_region(body) if body.any() else body
    if not SMALLEST_HEAD_ML <= (volume := volume_ml(region, image)) <= LARGEST_HEAD_ML:
        raise InputError(
            f"{case}: no head found in the CT.",
            found=f"{volume:.0f} mL above air; values from {image.data.min():g} to {image.data.max():g}",
            expected=f"{SMALLEST_HEAD_ML:.0f} to {LARGEST_HEAD_ML:.0f} mL",
            do="check that the file is in HU and shows a head (mrsynth check), or set keep: brain",
        )
    return region


def _inside_skull(hu: np.ndarray, spacing_mm: list[float]) -> np.ndarray:
    """Return what flows into the deepest valley between bone and air; bool, hu's shape."""
    from skimage.segmentation import watershed

    head = hu > AIR_BELOW_HU
    labels, _ = ndimage.label(hu > BONE_ABOVE_HU)
    size_ml = np.bincount(labels.ravel()) * np.prod(spacing_mm) / 1000.0
    bone = (size_ml >= SMALLEST_BONE_ML)[labels] & (labels > 0)
    if not head.any() or not bone.any():
        return np.zeros(hu.shape, dtype=bool)
    head = filled_region(head)
    soft = head & ~bone
    # air beyond the edge of the volume is no wall: a slab of a head is open above and below
    depth = ndimage.distance_transform_edt(soft, sampling=spacing_mm).astype(np.float32)
    valleys, _ = ndimage.label(depth > VALLEY_MM)
    deepest = valleys[np.unravel_index(int(depth.argmax()), depth.shape)]
    markers = np.where(valleys == deepest, 1, np.where(valleys > 0, 2, 0)).astype(np.int8)
    skin = ndimage.distance_transform_edt(head, sampling=spacing_mm) <= SKIN_MM
    markers[skin] = 2
    inside: np.ndarray = watershed(-depth, markers, mask=soft | skin) == 1
    return inside
