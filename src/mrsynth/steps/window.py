"""Fixed limits, the same for every case: a window that becomes [0, 1], the CT window, and a plain clip."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from mrsynth.core.image import Case, Image, same_grid
from mrsynth.core.settings import Settings
from mrsynth.core.types import AIR_HU
from mrsynth.steps.intensity import OnContrasts, brain_of, change_each, invert_with, require_finite
from mrsynth.steps.scale import from_unit, to_unit
from mrsynth.steps.step import Record, Step


class WindowSettings(OnContrasts):
    """Settings of the step `window`.

    Attributes:
        low, high: the values that become 0 and 1, the same for every case; what lies beyond is clipped and counted.
    """

    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> WindowSettings:
        """Refuse a window that runs backwards."""
        if not self.low < self.high:
            raise ValueError("low must lie below high")
        return self


class CTWindowSettings(Settings):
    """Settings of the step `ct_window`.

    Attributes:
        level, width: in HU: level ± width / 2 become 0 and 1.
    """

    level: float
    width: float = Field(gt=0)


class ClipSettings(OnContrasts):
    """Settings of the step `clip`.

    Attributes:
        low, high: limits of the values, null for none.
    """

    low: float | None
    high: float | None

    @model_validator(mode="after")
    def _ordered(self) -> ClipSettings:
        """Refuse limits that are missing or cross."""
        if self.low is None and self.high is None:
            raise ValueError("one of low and high must be a number")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError("low must lie below high")
        return self


def _outside(values: np.ndarray, low: float | None, high: float | None) -> int:
    """Return how many values lie beyond the limits."""
    below = 0 if low is None else np.count_nonzero(values < low)
    return int(below + (0 if high is None else np.count_nonzero(values > high)))


def apply_window(case: Case, settings: WindowSettings) -> tuple[Case, dict[str, Any]]:
    """Bring [low, high] to [0, 1], clipped, and set what is not brain to 0.

    After a z-score one unit of the result means the same in every patient, which a scale taken from the brightest
    voxels of each volume does not give.

    Args:
        case: with a brain mask.
        settings: of the step.

    Returns:
        The case and its record.
    """
    brain, limits = brain_of(case), {"low": settings.low, "high": settings.high}
    found: dict[str, dict[str, Any]] = {name: {} for name in case.images}
    for name in filter(settings.acts_on, found):
        require_finite(case, name)
        found[name] = {**limits, "clipped": _outside(case.images[name].data[brain], **limits)}

    def change(image: Image, numbers: dict[str, Any]) -> Image:
        image = to_unit(image, numbers, clip=True)
        np.multiply(image.data, brain, out=image.data)
        return image

    return change_each(case, found, change), {"images": found}


def apply_ct_window(case: Case, settings: CTWindowSettings) -> tuple[Case, dict[str, Any]]:
    """Bring the CT's values within the window to [0, 1], clipped (li2022, Image preprocessing); needs no brain mask.

    Counted as clipped are voxels of the brain where a mask lies on the CT's grid, else of the volume.

    Args:
        case: with a CT.
        settings: of the step.

    Returns:
        The case and its record.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in case.images}
    if "ct" in case.images:
        require_finite(case, "ct")
        ct = case.images["ct"]
        # A CT may be windowed before it is resampled: the mask may lie on another grid.
        brain = case.masks.get("brain")
        values = ct.data[brain.data > 0] if brain is not None and same_grid(ct, brain) else ct.data
        limits = {"low": settings.level - settings.width / 2, "high": settings.level + settings.width / 2}
        found["ct"] = {**limits, "clipped": _outside(values, **limits), "padding": _outside(ct.data, AIR_HU, None)}

    def change(image: Image, numbers: dict[str, Any]) -> Image:
        return to_unit(image.with_data(np.maximum(image.data, np.float32(AIR_HU))), numbers, clip=True)

    return change_each(case, found, change), {"images": found}


def apply_clip(case: Case, settings: ClipSettings) -> tuple[Case, dict[str, Any]]:
    """Set values beyond the limits to them, in the whole volume: the overshoot that a cubic interpolation leaves.

    Args:
        case: what is changed.
        settings: of the step.

    Returns:
        The case and its record.
    """
    images, clipped = dict(case.images), dict[str, int]()
    for name in filter(settings.acts_on, case.images):
        require_finite(case, name)
        image = images[name]
        clipped[name] = _outside(image.data, settings.low, settings.high)
        images[name] = image.with_data(np.clip(image.data.astype(np.float32, copy=False), settings.low, settings.high))
    return replace(case, images=images), {"clipped": clipped}


def _as_given(image: Image, record: Record, like: str) -> Image:
    """Return the image unchanged: what lay beyond the limits is not known any more."""
    return image


WINDOW = Step(WindowSettings, "intensity", apply_window, invert_with(from_unit))
CT_WINDOW = Step(CTWindowSettings, "intensity", apply_ct_window, invert_with(from_unit), any_grid=True)
CLIP = Step(ClipSettings, "intensity", apply_clip, _as_given, any_grid=True)
