"""Brings all images and masks of a case onto one grid, each by at most one interpolation."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from mrsynth.core.image import Case, Image
from mrsynth.core.settings import Settings
from mrsynth.steps.register import TEMPLATE, reference_of
from mrsynth.steps.step import Record, Step
from mrsynth.steps.template import template_grid
from mrsynth.steps.transform import Grid, Order, bring, regular_grid, shared_voxels

Millimetres = Annotated[float, Field(gt=0)]
Voxels = Annotated[int, Field(gt=0)]


class ResampleSettings(Settings):
    """Settings of the step `resample`.

    Attributes:
        to: the contrast whose grid all images take (null: the one that register brought them to, else the first), or
            `template`.
        spacing_mm, shape: of a grid about the centre of that contrast's field of view instead; with one of them alone
            the field of view stays.
        order: linear, cubic (B-spline through the voxels) or bspline (of fifth order), clipped to the image's range;
            masks take the nearest voxel.
        antialias: blur before losing resolution.
    """

    to: str | None
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] | None
    shape: tuple[Voxels, Voxels, Voxels] | None
    order: Order
    antialias: bool


def apply(case: Case, settings: ResampleSettings) -> tuple[Case, dict[str, Any]]:
    """Bring all images and masks onto one grid; voxels that both grids share are copied, not interpolated.

    Args:
        case: what is changed.
        settings: of the step.

    Returns:
        The case, and a record: grids: contrast → shape and affine before, and whether it was interpolated.

    Raises:
        InputError: where the contrast is missing or the grid is too large.
    """
    to = case.metadata.get("reference") if settings.to is None else settings.to
    if to != TEMPLATE and to not in case.images:
        to = reference_of(case, settings.to)
    own = template_grid() if to == TEMPLATE else Grid.of(case.image(str(to)))
    grid = regular_grid(own, settings.spacing_mm, settings.shape)

    def onto(image: Image) -> Image:
        return bring(image, grid, settings.order, settings.antialias)

    before = {
        name: {**Grid.of(image).record(), "interpolated": shared_voxels(image, grid) is None}
        for name, image in case.images.items()
    }
    images = {name: onto(image) for name, image in case.images.items()}
    masks = {name: onto(mask) for name, mask in case.masks.items()}
    record = {"to": to, "grids": before, "order": settings.order, "antialias": settings.antialias}
    return replace(case, images=images, masks=masks), record


def invert(image: Image, record: Record, like: str) -> Image:
    """Return the image on the grid that another one had: voxels that both grids share are copied, else one
    interpolation.

    Args:
        image: on the grid after the step.
        record: of the step.
        like: the contrast whose grid it gets.
    """
    return bring(image, Grid.recorded(record["grids"][like]), record["order"], record["antialias"])


RESAMPLE = Step(ResampleSettings, "geometry", apply, invert, any_grid=True)
