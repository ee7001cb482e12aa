"""Turns the axes of images to given directions without touching a value, e.g. to LPS for what expects DICOM's order."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
from pydantic import field_validator

from mrsynth.core.image import Case, Image
from mrsynth.core.settings import Settings
from mrsynth.steps.step import Record, Step
from mrsynth.steps.transform import turn

CODES = ("LR", "PA", "IS")
"""Towards which side of the patient an axis runs: backwards and forwards along x, y, z (mm, RAS+)."""


class ReorientSettings(Settings):
    """Settings of the step `reorient`.

    Attributes:
        axes: three letters, the side of the patient that each axis runs to (R or L, A or P, S or I), e.g. RAS, LPS.
    """

    axes: str

    @field_validator("axes")
    @classmethod
    def _three_sides(cls, axes: str) -> str:
        axes = axes.upper()
        if len(axes) != 3 or any(sum(letter in pair for letter in axes) != 1 for pair in CODES):
            raise ValueError("not three sides of the patient, one each of R/L, A/P and S/I (e.g. RAS)")
        return axes


def axis_codes(affine: np.ndarray) -> str:
    """Return the side of the patient that each voxel axis runs nearest to, e.g. "RAS"; each direction once."""
    axes = np.asarray(affine, float)[:3, :3]
    axes = axes / np.linalg.norm(axes, axis=0)
    best = max(permutations(range(3)), key=lambda world: sum(abs(axes[w, k]) for k, w in enumerate(world)))
    return "".join(CODES[w][int(axes[w, k] > 0)] for k, w in enumerate(best))


def reorient(image: Image, axes: str) -> tuple[Image, dict[str, Any]]:
    """Return the image with its axes turned to three codes, and how.

    Args:
        image: what is turned.
        axes: codes of the new axes, e.g. "RAS".

    Returns:
        The image, and {axes: the old ones in order, flips}.
    """
    codes = axis_codes(image.affine)
    old = [next(k for k, code in enumerate(codes) if code in pair) for pair in map(_pair, axes)]
    how = {"axes": old, "flips": [codes[k] != code for k, code in zip(old, axes, strict=True)]}
    return _turned(image, how), how


def turned_back(image: Image, how: Record) -> Image:
    """Return an image that lies as `reorient` left another one, with the axes that this had.

    Args:
        image: what is turned back.
        how: what `reorient` returned.
    """
    back = [how["axes"].index(axis) for axis in range(3)]
    return _turned(image, {"axes": back, "flips": [how["flips"][axis] for axis in back]})


def _pair(code: str) -> str:
    return next(pair for pair in CODES if code in pair)


def _turned(image: Image, how: Record) -> Image:
    x, y, z = how["axes"]
    a, b, c = how["flips"]
    turned = turn(image, (x, y, z), (a, b, c))
    return replace(turned, data=np.ascontiguousarray(turned.data))  # torch takes no views that run backwards


def apply(case: Case, settings: ReorientSettings) -> tuple[Case, dict[str, Any]]:
    """Turn the axes of all images and masks; positions in mm stay.

    Args:
        case: what is changed.
        settings: of the step.

    Returns:
        The case and its record.
    """
    turned = {name: reorient(image, settings.axes) for name, image in case.images.items()}
    images = {name: image for name, (image, _) in turned.items()}
    masks = {name: reorient(mask, settings.axes)[0] for name, mask in case.masks.items()}
    return replace(case, images=images, masks=masks), {"grids": {name: how for name, (_, how) in turned.items()}}


def invert(image: Image, record: Record, like: str) -> Image:
    """Return the image with its axes as another one had them.

    Args:
        image: on the grid after the step.
        record: of the step.
        like: the contrast whose axes it gets.
    """
    return turned_back(image, record["grids"][like])


REORIENT = Step(ReorientSettings, "geometry", apply, invert, any_grid=True)
