"""Changes of the grid: drop empty slices, a fixed field of view in plane, cubic resize in plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from mrsynth.errors import InputError
from mrsynth.image import Case, Image
from mrsynth.prepare.intensity import brain_of
from mrsynth.prepare.step import Record, Step
from mrsynth.settings import Settings


class DropEmptySlicesSettings(Settings):
    """No setting: the axial slices outside the first and the last one that hold brain go."""


class FieldOfViewSettings(Settings):
    """size_mm: extent in x and y to which every slice is padded with zeros or cropped about its centre."""

    size_mm: tuple[float, float]


class ResizeSettings(Settings):
    """size: pixels in x and y. antialias: low-pass before shrinking (for sizes far below the scanned one)."""

    size: tuple[int, int]
    antialias: bool


def _on_all(case: Case, change: Callable[[Image], Image]) -> Case:
    """Apply one change of grid to all images and masks."""
    return replace(
        case,
        images={name: change(image) for name, image in case.images.items()},
        masks={name: change(mask) for name, mask in case.masks.items()},
    )


def _shifted(affine: np.ndarray, start: tuple[int, int, int]) -> np.ndarray:
    """Return the affine of the grid whose voxel 0 is voxel `start` of this one."""
    moved = np.array(affine, dtype=np.float64)
    moved[:3, 3] += moved[:3, :3] @ np.array(start, dtype=np.float64)
    return moved


def crop_or_pad(image: Image, start: tuple[int, int, int], shape: tuple[int, int, int]) -> Image:
    """Return the box of `shape` voxels that begins at voxel `start` (both may lie outside: zeros are padded)."""
    data = np.zeros(shape, dtype=image.data.dtype)
    low = [max(0, s) for s in start]
    high = [min(n, s + m) for n, s, m in zip(image.data.shape, start, shape, strict=True)]
    if all(h > lo for lo, h in zip(low, high, strict=True)):
        to = tuple(slice(lo - s, h - s) for lo, h, s in zip(low, high, start, strict=True))
        data[to] = image.data[tuple(slice(lo, h) for lo, h in zip(low, high, strict=True))]
    return replace(image, data=data, affine=_shifted(image.affine, start))


def _box_back(image: Image, record: Record, like: str) -> Image:
    """Undo crop_or_pad."""
    x, y, z = record["start"]
    nx, ny, nz = record["shape_before"]
    return crop_or_pad(image, (-x, -y, -z), (nx, ny, nz))


def apply_drop(case: Case, settings: DropEmptySlicesSettings) -> tuple[Case, dict[str, Any]]:
    """Keep the axial slices from the first to the last that holds brain (osman2022 §2.2: null slices)."""
    brain = brain_of(case)
    filled = np.flatnonzero(brain.any(axis=(0, 1)))
    start, stop = int(filled[0]), int(filled[-1]) + 1
    shape = (brain.shape[0], brain.shape[1], stop - start)
    record = {"start": [0, 0, start], "shape_before": list(brain.shape)}
    return _on_all(case, lambda image: crop_or_pad(image, (0, 0, start), shape)), record


def apply_fov(case: Case, settings: FieldOfViewSettings) -> tuple[Case, dict[str, Any]]:
    """Pad or crop x and y to size_mm; raises InputError if brain would be cut off."""
    brain = brain_of(case)
    spacing = case.masks["brain"].spacing_mm
    wanted = [max(1, round(mm / edge)) for mm, edge in zip(settings.size_mm, spacing[:2], strict=True)]
    shape = (wanted[0], wanted[1], brain.shape[2])
    start = ((brain.shape[0] - wanted[0]) // 2, (brain.shape[1] - wanted[1]) // 2, 0)
    for axis, letter in enumerate("xy"):
        inside = np.flatnonzero(brain.any(axis=tuple(a for a in range(3) if a != axis)))
        if inside[0] < start[axis] or inside[-1] >= start[axis] + shape[axis]:
            raise InputError(
                f"{case.name}: the brain does not fit into the recipe's field of view along {letter}.",
                found=f"brain at {inside[0]}…{inside[-1]} of {brain.shape[axis]} voxels of {spacing[axis]:.2f} mm",
                expected=f"{settings.size_mm[axis]:g} mm about the centre of the image",
                do="crop the image about the brain, or enlarge the step's size_mm",
            )
    record = {"start": list(start), "shape_before": list(brain.shape)}
    return _on_all(case, lambda image: crop_or_pad(image, start, shape)), record


def resize_slices(image: Image, size: tuple[int, int], affine: np.ndarray, antialias: bool = False) -> Image:
    """Return the image with slices of `size` pixels: cubic for images (overshoot clipped to the image's own range),
    nearest for masks. affine: that of the result."""
    slices = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image.data, 2, 0))).float()[:, None]
    if image.data.dtype == np.uint8:
        resized = interpolate(slices, size=list(size), mode="nearest-exact").to(torch.uint8)
    else:
        resized = interpolate(slices, size=list(size), mode="bicubic", antialias=antialias)
        resized = resized.clamp_(float(image.data.min()), float(image.data.max()))
    return replace(image, data=np.moveaxis(resized[:, 0].numpy(), 0, 2), affine=affine)


def apply_resize(case: Case, settings: ResizeSettings) -> tuple[Case, dict[str, Any]]:
    """Resize axial slices to `size` pixels by cubic interpolation (osman2022 §2.2)."""
    like = next(iter(case.images.values()))
    before = like.data.shape
    scale = np.diag([before[0] / settings.size[0], before[1] / settings.size[1], 1, 1])
    scale[:2, 3] = [0.5 * before[0] / settings.size[0] - 0.5, 0.5 * before[1] / settings.size[1] - 0.5]
    affine = np.asarray(like.affine, dtype=np.float64) @ scale
    resized = _on_all(case, lambda image: resize_slices(image, settings.size, affine, settings.antialias))
    return resized, {"size_before": list(before[:2]), "affine_before": np.asarray(like.affine, float).tolist()}


def invert_resize(image: Image, record: Record, like: str) -> Image:
    """Return the image on the grid before the resize (cubic again: the one interpolation of a prediction)."""
    x, y = record["size_before"]
    return resize_slices(image, (x, y), np.array(record["affine_before"]))


DROP_EMPTY_SLICES = Step(DropEmptySlicesSettings, "geometry", apply_drop, _box_back)
FIELD_OF_VIEW = Step(FieldOfViewSettings, "geometry", apply_fov, _box_back)
RESIZE = Step(ResizeSettings, "geometry", apply_resize, invert_resize)
