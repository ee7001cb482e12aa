"""Cubic resize of axial slices to a fixed number of pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch.nn.functional import interpolate

from mrsynth.core.image import Case, Image
from mrsynth.core.settings import Settings
from mrsynth.steps.step import Record, Step
from mrsynth.steps.transform import is_mask, on_all


class ResizeSettings(Settings):
    """Settings of the step `resize`.

    Attributes:
        size: pixels in x and y.
        antialias: low-pass before shrinking (for sizes far below the scanned one).
    """

    size: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    antialias: bool


def resize_slices(image: Image, size: tuple[int, int], affine: np.ndarray, antialias: bool = False) -> Image:
    """Return the image with slices of another size: cubic for images (overshoot clipped to the image's own range),
    nearest for masks.

    Args:
        image: what is resized.
        size: pixels along x and y.
        affine: of the result.
        antialias: blur first where resolution is lost.
    """
    slices = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image.data, 2, 0))).float()[:, None]
    if is_mask(image):
        resized = interpolate(slices, size=list(size), mode="nearest-exact").to(torch.uint8)
    else:
        resized = interpolate(slices, size=list(size), mode="bicubic", antialias=antialias)
        resized = resized.clamp_(float(image.data.min()), float(image.data.max()))
    return replace(image, data=np.moveaxis(resized[:, 0].numpy(), 0, 2), affine=affine)


def apply(case: Case, settings: ResizeSettings) -> tuple[Case, dict[str, Any]]:
    """Resize axial slices by cubic interpolation (osman2022 §2.2).

    Args:
        case: what is changed.
        settings: of the step.

    Returns:
        The case and its record.
    """
    like = next(iter(case.images.values()))
    before = like.data.shape
    scale = np.diag([before[0] / settings.size[0], before[1] / settings.size[1], 1, 1])
    scale[:2, 3] = [0.5 * before[0] / settings.size[0] - 0.5, 0.5 * before[1] / settings.size[1] - 0.5]
    affine = np.asarray(like.affine, dtype=np.float64) @ scale
    resized = on_all(case, lambda image: resize_slices(image, settings.size, affine, settings.antialias))
    return resized, {"size_before": list(before[:2]), "affine_before": np.asarray(like.affine, float).tolist()}


def invert(image: Image, record: Record, like: str) -> Image:
    """Return the image on the grid before the resize (cubic again: the one interpolation of a prediction).

    Args:
        image: on the grid after the step.
        record: of the step.
        like: the contrast whose grid it gets.
    """
    x, y = record["size_before"]
    return resize_slices(image, (x, y), np.array(record["affine_before"]))


RESIZE = Step(ResizeSettings, "geometry", apply, invert)
