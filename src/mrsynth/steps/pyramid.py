"""An image at several resolutions, ready to be matched (`match`).

Each level is a grid of its own, along the image's axes, so that sheared scans work too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.steps.transform import Grid, apply_affine, bring, crop_or_pad, regular_grid

LEVELS_MM = (8.0, 4.0, 2.0, 1.0)

CT_LOW, CT_HIGH = -100.0, 200.0
"""Bone is bone and air is air; the bins are for soft tissue (HU)."""

MASKED_SHARE, RIM_MM = 0.1, 3.0


@dataclass(frozen=True, eq=False)
class Pyramid:
    """An image ready to be matched.

    Attributes:
        image: in the range that tells tissues apart, cropped to the head.
        levels: spacing in mm → SimpleITK image, coarsest first.
        head: positions (3, n) in mm of what is no air.
        masks: spacing in mm → the part that counts on that level, where not all of it does.
    """

    image: Image
    levels: Mapping[float, Any]
    head: np.ndarray
    masks: Mapping[float, Any]


def pyramid(image: Image, inside: Image | None = None) -> Pyramid:
    """Return an image's levels.

    Args:
        image: to be matched.
        inside: a mask of the part that counts. Without one, a stripped image counts without its rim on the fine
            levels: images that were stripped with one mask share its edge however far the brains are apart.

    Raises:
        InputError: for an image without signal.
    """
    image = _for_information(image)
    head = _foreground_mm(image)
    level = image = _cropped(image, head)
    masked = inside is None and (image.data == 0).mean() > MASKED_SHARE and image.contrast != "ct"
    levels: dict[float, Any] = {}
    masks: dict[float, Any] = {}
    for mm in reversed([mm for mm in LEVELS_MM if mm >= 0.7 * min(image.spacing_mm)] or LEVELS_MM[:1]):
        level = _level(level, mm)
        levels = {mm: _itk(level), **levels}
        if inside is not None:
            masks[mm] = _itk(_level(inside, mm))
        elif masked and mm <= 2.0:
            masks[mm] = _itk(_without_rim(level))
    return Pyramid(image, levels, head, masks)


def _for_information(image: Image) -> Image:
    """Return the image in the range that tells tissues apart, so that no bins go to extremes."""
    if image.contrast == "ct":
        return replace(image, data=np.clip(image.data, CT_LOW, CT_HIGH).astype(np.float32))
    signal = image.data[image.data > 0]
    if not signal.size:
        raise InputError(f"{image.contrast} is empty.", found="no value above 0", do="check the file")
    top = np.float32(np.quantile(signal[:: max(1, signal.size // 200_000)], 0.995))
    return replace(image, data=np.clip(image.data, 0, top).astype(np.float32))


def _foreground_mm(image: Image) -> np.ndarray:
    """Return the positions (3, n) of what is no air, on a grid of about 4 mm; raises InputError where all is air."""
    step = [max(1, round(4.0 / edge)) for edge in image.spacing_mm]
    data = image.data[:: step[0], :: step[1], :: step[2]]
    level = CT_LOW + 20.0 if image.contrast == "ct" else 0.15 * float(image.data.max())
    found = np.argwhere(data > level).T * np.array(step)[:, None]
    if not found.size:
        raise InputError(f"{image.contrast} is empty.", found="nothing but air", do="check the file")
    return apply_affine(np.asarray(image.affine, float), found)


def _cropped(image: Image, points_mm: np.ndarray, margin_mm: float = 12.0) -> Image:
    """Return the box of the image that holds the points and a margin of air."""
    indices = apply_affine(np.linalg.inv(np.asarray(image.affine, float)), points_mm)
    margin = margin_mm / np.array(image.spacing_mm)
    low = np.maximum(np.floor(indices.min(axis=1) - margin), 0).astype(int)
    high = np.minimum(np.ceil(indices.max(axis=1) + margin) + 1, image.data.shape).astype(int)
    size = high - low
    return crop_or_pad(image, (int(low[0]), int(low[1]), int(low[2])), (int(size[0]), int(size[1]), int(size[2])))


def _level(image: Image, spacing_mm: float) -> Image:
    """Return the image at that spacing (or its own where that is wider) along its axes, made orthogonal."""
    x, y, z = (max(spacing_mm, edge) for edge in image.spacing_mm)
    return bring(image, regular_grid(Grid.of(image), (x, y, z), None), "linear", antialias=True)


def _without_rim(image: Image) -> Image:
    """Return a mask of what is not 0, holes filled, without its outermost RIM_MM."""
    from scipy import ndimage

    solid = ndimage.binary_fill_holes(ndimage.binary_closing(image.data > 0, iterations=2))
    depth = ndimage.distance_transform_edt(np.pad(solid, 1), sampling=image.spacing_mm)[1:-1, 1:-1, 1:-1]
    return replace(image, data=(depth > RIM_MM).astype(np.uint8))


def _itk(image: Image) -> Any:
    """Return an image with orthogonal axes as SimpleITK's, in mm."""
    import SimpleITK as sitk

    result = sitk.GetImageFromArray(np.ascontiguousarray(image.data.T))
    result.SetSpacing(image.spacing_mm)
    result.SetOrigin(image.affine[:3, 3].tolist())
    result.SetDirection((image.affine[:3, :3] / np.array(image.spacing_mm)).ravel().tolist())
    return result
