"""Normalisation of intensities: z-score over the brain, and the unit range. Both are affine and can be undone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mrsynth.errors import InputError
from mrsynth.image import Case, Image
from mrsynth.prepare.step import Record, Step
from mrsynth.settings import Settings


class ZScoreSettings(Settings):
    """No setting: mean and standard deviation are those of the brain."""


class UnitSettings(Settings):
    """upper_percentile: the percentile of brain intensities that becomes 1 (100: the maximum); brighter voxels are
    clipped to 1, and the record counts them."""

    upper_percentile: float


class WindowSettings(Settings):
    """low, high: the values that become 0 and 1, the same for every case; what lies beyond is clipped and counted."""

    low: float
    high: float


def brain_of(case: Case) -> np.ndarray:
    """Return the case's brain mask as bool (x, y, z); raises InputError where no step made one."""
    if "brain" not in case.masks:
        raise InputError(f"{case.name}: this step needs a brain mask.", do="put brain_mask before it in the recipe")
    return case.masks["brain"].data > 0


def _affine(image: Image, offset: float, scale: float) -> Image:
    """Return (image − offset) / scale as float32."""
    return image.with_data(((image.data - np.float32(offset)) / np.float32(scale)).astype(np.float32))


def apply_zscore(case: Case, settings: ZScoreSettings) -> tuple[Case, dict[str, Any]]:
    """Give each image zero mean and unit standard deviation over its brain voxels (osman2022 §2.2)."""
    brain = brain_of(case)
    images, found = {}, {}
    for name, image in case.images.items():
        values = image.data[brain].astype(np.float64)
        mean, sd = float(values.mean()), float(values.std())
        if not sd > 1e-6 * max(abs(mean), 1e-12):
            raise InputError(
                f"{case.name}: {name} is constant inside the brain.",
                found=f"mean {mean:g}, standard deviation {sd:g}",
                expected="an image with contrast",
                do="check the file and the brain mask",
            )
        images[name], found[name] = _affine(image, mean, sd), {"mean": mean, "sd": sd}
    return replace(case, images=images), {"images": found}


def invert_zscore(image: Image, record: Record, like: str) -> Image:
    """Return image · sd + mean."""
    found = record["images"][like]
    return _affine(image, -found["mean"] / found["sd"], 1 / found["sd"])


def apply_unit(case: Case, settings: UnitSettings) -> tuple[Case, dict[str, Any]]:
    """Bring each volume to [0, 1]: its minimum becomes 0, the upper percentile of the brain becomes 1."""
    brain = brain_of(case)
    images, found = {}, {}
    for name, image in case.images.items():
        low = float(image.data.min())
        high = float(np.percentile(image.data[brain], settings.upper_percentile))
        if not high > low:
            raise InputError(f"{case.name}: {name} has no range.", found=f"{low:g} … {high:g}", do="check the file")
        scaled = _affine(image, low, high - low)
        clipped = int((scaled.data > 1).sum()) if settings.upper_percentile < 100 else 0
        images[name] = scaled.with_data(np.clip(scaled.data, 0, 1))
        found[name] = {"low": low, "high": high, "clipped": clipped}
    return replace(case, images=images), {"images": found}


def invert_unit(image: Image, record: Record, like: str) -> Image:
    """Return image · (high − low) + low; clipped voxels stay at the upper percentile."""
    found = record["images"][like]
    span = found["high"] - found["low"]
    return _affine(image, -found["low"] / span, 1 / span)


def apply_window(case: Case, settings: WindowSettings) -> tuple[Case, dict[str, Any]]:
    """Bring [low, high] to [0, 1] in every image, clipped, and set what is not brain to 0.

    After a z-score one unit of the result means the same in every patient, which a scale taken from the brightest
    voxels of each volume does not give.
    """
    brain = brain_of(case)
    images, found = {}, {}
    for name, image in case.images.items():
        scaled = _affine(image, settings.low, settings.high - settings.low)
        clipped = int(((scaled.data < 0) | (scaled.data > 1))[brain].sum())
        images[name] = scaled.with_data(np.where(brain, np.clip(scaled.data, 0, 1), 0).astype(np.float32))
        found[name] = {"low": settings.low, "high": settings.high, "clipped": clipped}
    return replace(case, images=images), {"images": found}


ZSCORE = Step(ZScoreSettings, "intensity", apply_zscore, invert_zscore)
UNIT = Step(UnitSettings, "intensity", apply_unit, invert_unit)
WINDOW = Step(WindowSettings, "intensity", apply_window, invert_unit)
