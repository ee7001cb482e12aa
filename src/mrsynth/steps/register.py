"""Brings the images of a case together (and, where asked, to a template) by their affines: no voxel is touched.

`resample` then interpolates every image once, through the affine it has by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field

from mrsynth.core.image import Case, Image, same_grid
from mrsynth.core.settings import Settings
from mrsynth.core.types import b_of, in_order
from mrsynth.steps.match import Kind, match
from mrsynth.steps.pyramid import Pyramid, pyramid
from mrsynth.steps.same_head import require_same_head
from mrsynth.steps.step import Record, Step
from mrsynth.steps.template import template

TEMPLATE = "template"


class RegisterSettings(Settings):
    """Settings of the step `register`.

    Attributes:
        to: the contrast that the others are brought to (null: the first one; it must be among a model's inputs), or
            `template`: the others to the first one, and that one by an affine matrix to MNI space.
        transform: of the others.
        leave_below_mm, leave_below_gain: an image on the reference's own grid, which somebody brought there, stays if
            it would move by less on average, or gain a smaller share of mutual information; a second interpolation
            costs more.
        diffusion_together: dwi_b*, dwi and adc that lie on one grid share the movement of the lowest b, as they share
            the acquisition.
    """

    to: str | None
    transform: Kind
    leave_below_mm: float = Field(ge=0)
    leave_below_gain: float = Field(ge=0)
    diffusion_together: bool


def reference_of(case: Case, to: str | None) -> str:
    """Return the contrast that the others are brought to.

    Args:
        case: whose images they are.
        to: the contrast that the recipe names, None for the first one.

    Raises:
        InputError: where the case does not have it.
    """
    name = in_order(case.images)[0] if to in (None, TEMPLATE) else str(to)
    case.image(name)
    return name


def groups_of(images: Mapping[str, Image], diffusion_together: bool) -> list[list[str]]:
    """Return the contrasts that move together, each group led by the one that is registered.

    Args:
        images: of a case.
        diffusion_together: the diffusion-weighted images and the ADC move as one.
    """
    names = in_order(images)
    diffusion = [name for name in names if name in ("dwi", "adc") or b_of(name) is not None]
    # the lower b, the more an image looks like T2; a map has no signal outside the head
    diffusion.sort(key=lambda name: (name == "adc", name == "dwi", b_of(name) or 0))
    groups: list[list[str]] = []
    for name in [n for n in names if n not in diffusion] + diffusion:
        leader = next((g for g in groups if g[0] in diffusion and same_grid(images[g[0]], images[name])), None)
        if diffusion_together and name in diffusion and leader is not None:
            leader.append(name)
        else:
            groups.append([name])
    return groups


def apply(case: Case, settings: RegisterSettings) -> tuple[Case, dict[str, Any]]:
    """Multiply each image's affine (and that of the masks on its grid) by the matrix that brings it to the reference.

    Args:
        case: what is changed.
        settings: of the step.

    Returns:
        The case, and a record: grids: contrast → world (4×4), with (the contrast whose match it shares), left (it
            stayed where it was), before and after (mutual information, nats), moved_mm (mean over the head), detail
            (`same_head.shared_detail`).

    Raises:
        InputError: where a match fails, or brings two heads together.
    """
    reference = reference_of(case, settings.to)
    groups = groups_of(case.images, settings.diffusion_together)
    fixed = pyramid(case.image(reference)) if len(groups) > 1 or settings.to == TEMPLATE else None
    grids: dict[str, dict[str, Any]] = {}
    for group in groups:
        leader = reference if reference in group else group[0]
        found = {"left": True} if leader == reference or fixed is None else _movement(case, fixed, leader, settings)
        for name in group:
            grids[name] = {"world": np.eye(4).tolist(), **found, "with": leader}
    record: dict[str, Any] = {"reference": reference, "grids": grids}
    if settings.to == TEMPLATE and fixed is not None:
        there = match(pyramid(*template()), fixed, "affine")
        record |= {"reference": TEMPLATE, "template": _measures(there)}
        for grid in grids.values():
            grid["world"] = (there.world @ np.array(grid["world"])).tolist()
    record["masks"] = {name: _owner(case, mask, reference) for name, mask in case.masks.items()}
    return _moved(case, record), record


def _movement(case: Case, fixed: Pyramid, name: str, settings: RegisterSettings) -> dict[str, Any]:
    """Return the entry of one image that is registered to the reference."""
    moving = pyramid(case.image(name))
    found = match(fixed, moving, settings.transform)
    left = found.after <= found.before
    if same_grid(case.image(name), case.image(fixed.image.contrast)):
        enough = found.after >= (1 + settings.leave_below_gain) * found.before
        left = left or not enough or found.moved_mm < settings.leave_below_mm
    world = np.eye(4) if left else found.world
    moved = replace(moving.image, affine=world @ np.asarray(moving.image.affine, float))
    detail = require_same_head(fixed.image, moved)
    return {"world": world.tolist(), "left": left, **_measures(found), "detail": detail}


def _measures(found: Any) -> dict[str, float]:
    return {"before": found.before, "after": found.after, "moved_mm": found.moved_mm}


def _owner(case: Case, mask: Image, reference: str) -> str:
    """Return the contrast that a mask moves with: the first whose grid it lies on, else the reference."""
    first = [reference, *(name for name in in_order(case.images) if name != reference)]
    return next((name for name in first if same_grid(case.images[name], mask)), reference)


def _moved(case: Case, record: Record) -> Case:
    def move(image: Image, name: str) -> Image:
        return replace(image, affine=np.array(record["grids"][name]["world"]) @ np.asarray(image.affine, float))

    return replace(
        case,
        images={name: move(image, name) for name, image in case.images.items()},
        masks={name: move(mask, record["masks"][name]) for name, mask in case.masks.items()},
        metadata={**case.metadata, "reference": record["reference"]},
    )


def invert(image: Image, record: Record, like: str) -> Image:
    """Return the image where another one lay before: its affine multiplied by the inverse matrix.

    Args:
        image: after the step.
        record: of the step.
        like: the contrast whose place it gets.
    """
    world = np.array(record["grids"][like]["world"])
    return replace(image, affine=np.linalg.solve(world, np.asarray(image.affine, float)))


REGISTER = Step(RegisterSettings, "geometry", apply, invert, any_grid=True)
