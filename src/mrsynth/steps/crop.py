"""Boxes of whole voxels: empty slices dropped, a fixed field of view in plane, a fixed box or one about the brain."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.core.settings import Settings
from mrsynth.steps.intensity import brain_of
from mrsynth.steps.step import Record, Step
from mrsynth.steps.transform import crop_or_pad, on_all

Box = tuple[tuple[int, int, int], tuple[int, int, int]]
"""First voxel (may lie outside) and number of voxels along x, y, z."""


class DropEmptySlicesSettings(Settings):
    """No setting: the axial slices outside the first and the last one that hold brain go."""


class FieldOfViewSettings(Settings):
    """Settings of the step `field_of_view`.

    Attributes:
        size_mm: extent in x and y to which every slice is padded with air or cropped.
        around: center (of the image) or brain (of its bounding box: where a head lies off the centre of a large field
            of view).
    """

    size_mm: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    around: Literal["center", "brain"]


class PadOrCropSettings(Settings):
    """Settings of the step `pad_or_crop`.

    Attributes:
        shape: of the box, voxels.
        size_mm: of the box; at most one of shape and size_mm.
        around: center (of the image) or brain (of its bounding box).
        margin_mm: with neither size, the box is the brain's bounding box and this much on each side.
    """

    shape: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None
    size_mm: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None
    around: Literal["center", "brain"]
    margin_mm: float = Field(ge=0)

    @model_validator(mode="after")
    def _one_size(self) -> PadOrCropSettings:
        if self.shape is not None and self.size_mm is not None:
            raise ValueError("shape and size_mm are both given; give one")
        if self.shape is None and self.size_mm is None and self.around == "center":
            raise ValueError("a box around the center needs a shape or a size_mm")
        return self


def _cut(case: Case, box: Box) -> tuple[Case, dict[str, Any]]:
    """Cut all images and masks to a box; raises InputError if it cuts off brain."""
    start, shape = box
    if "brain" in case.masks:
        brain = case.masks["brain"]
        for axis, (first, last) in enumerate(_extent(brain.data > 0)):
            if first < start[axis] or last >= start[axis] + shape[axis]:
                raise InputError(
                    f"{case.name}: the brain does not fit into the recipe's field of view along {'xyz'[axis]}.",
                    found=f"brain at {first}…{last} of {brain.data.shape[axis]} voxels of "
                    f"{brain.spacing_mm[axis]:.2f} mm",
                    expected=f"voxels {start[axis]}…{start[axis] + shape[axis] - 1}",
                    do="crop the image about the brain, or enlarge the box in the recipe",
                )
    before = next(iter(case.images.values())).data.shape
    record = {"start": list(start), "shape_before": list(before)}
    return on_all(case, lambda image: crop_or_pad(image, start, shape)), record


def _extent(brain: np.ndarray) -> list[tuple[int, int]]:
    """Return the first and last index that holds brain along each axis; raises InputError for an empty mask."""
    ends = []
    for axis in range(3):
        filled = np.flatnonzero(brain.any(axis=tuple(a for a in range(3) if a != axis)))
        if not filled.size:
            raise InputError("The brain mask is empty.", do="check the mask, or let brain_mask make one")
        ends.append((int(filled[0]), int(filled[-1])))
    return ends


def _centred(centre: np.ndarray, shape: tuple[int, int, int]) -> Box:
    """Return the box of a shape whose middle lies at a centre in voxels (rounded down)."""
    x, y, z = (int(np.floor(c - (n - 1) / 2)) for c, n in zip(centre, shape, strict=True))
    return (x, y, z), shape


def apply_drop(case: Case, settings: DropEmptySlicesSettings) -> tuple[Case, dict[str, Any]]:
    """Keep the axial slices from the first to the last that holds brain (osman2022 §2.2: null slices).

    Args:
        case: with a brain mask.
        settings: of the step.

    Returns:
        The case and its record.
    """
    brain = brain_of(case)
    start, stop = _extent(brain)[2]
    return _cut(case, ((0, 0, start), (brain.shape[0], brain.shape[1], stop + 1 - start)))


def apply_fov(case: Case, settings: FieldOfViewSettings) -> tuple[Case, dict[str, Any]]:
    """Pad or crop x and y to a field of view.

    Args:
        case: what is changed.
        settings: of the step.

    Returns:
        The case and its record.

    Raises:
        InputError: where brain would be cut off.
    """
    brain = brain_of(case)
    edges = case.masks["brain"].spacing_mm
    x, y = (max(1, round(mm / edge)) for mm, edge in zip(settings.size_mm, edges[:2], strict=True))
    start = ((brain.shape[0] - x) // 2, (brain.shape[1] - y) // 2, 0)
    if settings.around == "brain":
        (left, right), (back, front), _ = _extent(brain)
        start = ((left + right + 1 - x) // 2, (back + front + 1 - y) // 2, 0)
    return _cut(case, (start, (x, y, brain.shape[2])))


def apply_box(case: Case, settings: PadOrCropSettings) -> tuple[Case, dict[str, Any]]:
    """Pad or crop to a box.

    Args:
        case: what is changed.
        settings: of the step.

    Returns:
        The case and its record.

    Raises:
        InputError: where brain would be cut off.
    """
    like = next(iter(case.images.values()))
    edges = np.array(like.spacing_mm)
    centre = (np.array(like.data.shape) - 1) / 2
    size: np.ndarray | None = None
    if settings.around == "brain":
        ends = np.array(_extent(brain_of(case)))
        centre = ends.mean(axis=1)
        size = np.ptp(ends, axis=1) + 1 + 2 * np.ceil(settings.margin_mm / edges)
    if settings.shape is not None:
        size = np.array(settings.shape)
    elif settings.size_mm is not None:
        size = np.maximum(1, np.rint(np.array(settings.size_mm) / edges))
    assert size is not None  # the settings ask for a size around the center
    return _cut(case, _centred(centre, (int(size[0]), int(size[1]), int(size[2]))))


def invert(image: Image, record: Record, like: str) -> Image:
    """Return the image in the box before; what was cut off is air.

    Args:
        image: on the grid after the step.
        record: of the step.
        like: the contrast whose box it gets.
    """
    x, y, z = record["start"]
    nx, ny, nz = record["shape_before"]
    return crop_or_pad(image, (-x, -y, -z), (nx, ny, nz))


DROP_EMPTY_SLICES = Step(DropEmptySlicesSettings, "geometry", apply_drop, invert)
FIELD_OF_VIEW = Step(FieldOfViewSettings, "geometry", apply_fov, invert)
PAD_OR_CROP = Step(PadOrCropSettings, "geometry", apply_box, invert)
