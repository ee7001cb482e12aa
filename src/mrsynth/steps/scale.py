"""Scales measured in the brain: z-score, the robust score, the unit range between two percentiles, the 95th percentile.
All affine."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field, model_validator

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.steps.intensity import (
    NormaliseSettings,
    Numbers,
    brain_of,
    change_each,
    flat,
    invert_with,
    measure_each,
    scaled,
    unscaled,
)
from mrsynth.steps.step import Step


class ZScoreSettings(NormaliseSettings):
    """Mean and standard deviation are those of the brain."""


class RobustSettings(NormaliseSettings):
    """Middle and spread are those of the brain: the median, and a quarter of the 2nd to the 98th percentile, which of a
    Gaussian is 1.03 standard deviations. A lesion or a hot vessel moves neither."""


class UnitSettings(NormaliseSettings):
    """Settings of the step `unit`.

    Attributes:
        lower_percentile, upper_percentile: of the brain's values, become 0 and 1; a lower percentile of null is the
            volume's minimum (0 and 100: the brain's own).
        clip: whether values beyond are set to 0 and 1; the record counts those of the brain.
    """

    lower_percentile: float | None = Field(ge=0, le=100)
    upper_percentile: float = Field(ge=0, le=100)
    clip: bool

    @model_validator(mode="after")
    def _ordered(self) -> UnitSettings:
        """Refuse a range that runs backwards."""
        if (self.lower_percentile or 0) >= self.upper_percentile:
            raise ValueError("lower_percentile must lie below upper_percentile")
        return self


class Q95Settings(NormaliseSettings):
    """The percentile is 95, as in the paper."""


def apply_zscore(case: Case, settings: ZScoreSettings) -> tuple[Case, dict[str, Any]]:
    """Give each image zero mean and unit standard deviation over its brain voxels (osman2022 §2.2).

    Args:
        case: with a brain mask.
        settings: of the step.

    Returns:
        The case and its record.
    """

    def measure(case: Case, name: str, values: np.ndarray) -> Numbers:
        values = values.astype(np.float64)
        mean, sd = float(values.mean()), float(values.std())
        if not sd > 1e-6 * max(abs(mean), 1e-12):
            raise flat(case, name, "is constant inside the brain", f"mean {mean:g}, standard deviation {sd:g}")
        return {"mean": mean, "sd": sd}

    found = measure_each(case, settings, measure)
    return change_each(case, found, lambda image, n: scaled(image, n["mean"], n["sd"])), {"images": found}


def apply_robust(case: Case, settings: RobustSettings) -> tuple[Case, dict[str, Any]]:
    """Give each image a median of zero and a robust spread of one over its brain voxels: the scale that one scan alone
    allows, whichever scanner made it.

    Args:
        case: with a brain mask.
        settings: of the step.

    Returns:
        The case and its record.
    """

    def measure(case: Case, name: str, values: np.ndarray) -> Numbers:
        low, middle, high = (float(q) for q in np.percentile(values, (2, 50, 98)))
        if not high - low > 1e-6 * max(abs(middle), 1e-12):
            raise InputError(
                f"{case.name}: {name} has no contrast inside the brain.",
                found=f"{low:g} … {high:g} from the 2nd to the 98th percentile",
                expected="an image with contrast",
                do="check the file and the brain mask",
            )
        return {"middle": middle, "spread": (high - low) / 4}

    found = measure_each(case, settings, measure)
    return change_each(case, found, lambda image, n: scaled(image, n["middle"], n["spread"])), {"images": found}


def apply_unit(case: Case, settings: UnitSettings) -> tuple[Case, dict[str, Any]]:
    """Bring two percentiles of the brain (or the volume's minimum and one) to 0 and 1.

    Args:
        case: with a brain mask.
        settings: of the step.

    Returns:
        The case and its record.
    """

    def measure(case: Case, name: str, values: np.ndarray) -> Numbers:
        lower, upper = settings.lower_percentile, settings.upper_percentile
        low = float(case.images[name].data.min() if lower is None else np.percentile(values, lower))
        high = float(np.percentile(values, upper))
        if not high > low:
            raise flat(case, name, "has no range", f"{low:g} … {high:g}")
        return {"low": low, "high": high}

    found, brain = measure_each(case, settings, measure), brain_of(case)
    for name, n in found.items():
        if n:
            values = case.images[name].data[brain]
            n["clipped"] = int(np.count_nonzero((values < n["low"]) | (values > n["high"]))) if settings.clip else 0
    return change_each(case, found, lambda image, n: to_unit(image, n, settings.clip)), {"images": found}


def to_unit(image: Image, numbers: Numbers, clip: bool) -> Image:
    """Return the image with one value at 0 and another at 1.

    Args:
        image: what is changed.
        numbers: "low", which becomes 0, and "high", which becomes 1.
        clip: cut values beyond them off.
    """
    image = scaled(image, numbers["low"], numbers["high"] - numbers["low"])
    if clip:
        np.clip(image.data, 0, 1, out=image.data)
    return image


def from_unit(image: Image, numbers: Numbers) -> Image:
    """Return image · (high − low) + low; clipped voxels stay at the limit.

    Args:
        image: in [0, 1].
        numbers: "low" and "high", as of `to_unit`.
    """
    return unscaled(image, numbers["low"], numbers["high"] - numbers["low"])


def apply_q95(case: Case, settings: Q95Settings) -> tuple[Case, dict[str, Any]]:
    """Divide each image by the 95th percentile of its brain values (pinetz2023: 0.95 quantile); 0 stays 0.

    Args:
        case: with a brain mask.
        settings: of the step.

    Returns:
        The case and its record.
    """

    def measure(case: Case, name: str, values: np.ndarray) -> Numbers:
        scale = float(np.percentile(values, 95))
        if not scale > 0:
            raise InputError(
                f"{case.name}: {name} has no positive scale.",
                found=f"a 95th percentile of {scale:g} in the brain",
                expected="a positive number",
                do="put q95 before any step that shifts values (zscore), and check the brain mask",
            )
        return {"scale": scale}

    found = measure_each(case, settings, measure)
    return change_each(case, found, lambda image, n: scaled(image, 0, n["scale"])), {"images": found}


ZSCORE = Step(
    ZScoreSettings, "intensity", apply_zscore, invert_with(lambda image, n: unscaled(image, n["mean"], n["sd"]))
)
ROBUST = Step(
    RobustSettings, "intensity", apply_robust, invert_with(lambda image, n: unscaled(image, n["middle"], n["spread"]))
)
UNIT = Step(UnitSettings, "intensity", apply_unit, invert_with(from_unit))
Q95 = Step(Q95Settings, "intensity", apply_q95, invert_with(lambda image, n: unscaled(image, 0, n["scale"])))
