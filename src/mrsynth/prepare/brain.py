"""Brain mask of skull-stripped images (or a given one), applied to every image of the case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from mrsynth.errors import InputError
from mrsynth.image import Case, Image
from mrsynth.prepare.step import Record, Step
from mrsynth.settings import Settings


class BrainMaskSettings(Settings):
    """source: `given` takes the case's own brain mask, `nonzero` the voxels that carry signal in every image,
    `auto` the given one where there is one. max_fraction: a nonzero mask that fills more of the volume than this is
    not a brain (a stripped brain cropped to its bounding box fills about 0.52, an ellipsoid's share of its box)."""

    source: Literal["given", "nonzero", "auto"]
    max_fraction: float


def nonzero_mask(case: Case) -> np.ndarray:
    """Return the largest connected region with signal > 0 in every image, holes filled; bool (x, y, z)."""
    signal = np.logical_and.reduce([image.data > 0 for image in case.images.values()])
    labels, count = ndimage.label(signal)
    if count == 0:
        raise InputError(
            f"{case.name}: no voxel carries signal in every image.",
            found=", ".join(case.images),
            expected="co-registered, skull-stripped images",
            do="check that the images lie on one grid (mrsynth check), or give a brain mask",
        )
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    filled = ndimage.binary_fill_holes(largest)
    # Ventricles and cysts that are open in 3-D but closed in a slice belong to the brain too.
    return np.stack([ndimage.binary_fill_holes(filled[..., k]) for k in range(filled.shape[2])], axis=-1)


def apply(case: Case, settings: BrainMaskSettings) -> tuple[Case, dict[str, Any]]:
    """Set every image to 0 outside the brain, and negative values (interpolation overshoot) to 0 inside it."""
    given = case.masks.get("brain")
    if settings.source == "given" and given is None:
        raise InputError(
            f"{case.name}: no brain mask.", expected="a `brain` mask", do="add one, or set source to nonzero"
        )
    if given is not None and settings.source != "nonzero":
        mask, source = given.data > 0, "given"
    else:
        mask, source = nonzero_mask(case), "nonzero"
        if mask.mean() > settings.max_fraction:
            raise InputError(
                f"{case.name}: the images are not skull-stripped.",
                found=f"signal in {100 * mask.mean():.0f} % of the volume",
                expected=f"at most {100 * settings.max_fraction:.0f} % (a brain on a background of zeros)",
                do="strip the skull first, or give a brain mask (column or input `brain`)",
            )
    if not mask.any():
        raise InputError(f"{case.name}: the brain mask is empty.", do="check the mask, or leave the column out")
    images = {
        name: image.with_data(np.where(mask, np.maximum(image.data, 0), 0).astype(np.float32))
        for name, image in case.images.items()
    }
    like = next(iter(case.images.values()))
    masks = {**case.masks, "brain": Image(mask.astype(np.uint8), like.affine, "brain", like.native)}
    record = {
        "source": source,
        "voxels": int(mask.sum()),
        "negative": {name: int((image.data[mask] < 0).sum()) for name, image in case.images.items()},
    }
    return replace(case, images=images, masks=masks), record


def invert(image: Image, record: Record, like: str) -> Image:
    """Return the image unchanged: what lay outside the brain is not known any more."""
    return image


BRAIN_MASK = Step(BrainMaskSettings, "intensity", apply, invert)
