"""Landmarks of the histogram, learned on the training patients (Nyúl & Udupa 1999; Nyúl, Udupa & Zhang 2000).

Percentiles of an image's brain become the landmarks: their means over the training patients, each first scaled so that
its own first and last percentile are 0 and 1. Between landmarks the map is linear, beyond them it goes on straight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from pydantic import field_validator, model_validator

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case
from mrsynth.steps.intensity import Contrast, NormaliseSettings, Numbers, change_each, flat, invert_with, measure_each
from mrsynth.steps.piecewise import Knots, map_image, merge_knots
from mrsynth.steps.step import Learn, Step

RESOLUTION = 1e-3
"""Percentiles closer than this part of their whole range become one knot: a long run of equal voxels (a FLAIR's fluid
at 0) would else make the map jump, and its continuation below the first knot meaningless."""

SMALLEST_RISE = 0.005
"""Between neighbouring landmarks: float32 values (half a unit in the last place: 2⁻²⁵) then return to 1e-5 of the
image's range."""


class NyulSettings(NormaliseSettings):
    """Settings of the step `nyul`.

    Attributes:
        percentiles: of the brain's values, ascending.
        landmarks: {contrast: their values, from 0 to 1}, null until learned from the training patients.
    """

    percentiles: tuple[float, ...]
    landmarks: Mapping[Contrast, tuple[float, ...]] | None

    @field_validator("percentiles")
    @classmethod
    def _ascending(cls, percentiles: tuple[float, ...]) -> tuple[float, ...]:
        """Refuse percentiles that define no map."""
        inside = len(percentiles) > 1 and percentiles[0] >= 0 and percentiles[-1] <= 100
        if not inside or any(b <= a for a, b in pairwise(percentiles)):
            raise ValueError("expected two or more ascending numbers from 0 to 100")
        return percentiles

    @model_validator(mode="after")
    def _fitting(self) -> NyulSettings:
        """Refuse landmarks that do not fit the percentiles or do not rise."""
        for name, landmarks in (self.landmarks or {}).items():
            if len(landmarks) != len(self.percentiles):
                raise ValueError(f"landmarks of {name}: expected {len(self.percentiles)}, one a percentile")
            if any(b <= a for a, b in pairwise(landmarks)):
                raise ValueError(f"landmarks of {name} must rise")
        return self


def _percentiles(case: Case, name: str, values: np.ndarray, settings: NyulSettings) -> np.ndarray:
    """Return the percentiles of brain values (n,); raises InputError where all are equal."""
    found: np.ndarray = np.percentile(values, settings.percentiles).astype(np.float64)
    if not found[-1] > found[0]:
        least, most = settings.percentiles[0], settings.percentiles[-1]
        equal = f"percentiles {least:g} and {most:g} are both {found[0]:g}"
        raise flat(case, name, "has no range inside the brain", equal)
    return found


def summarise(case: Case, settings: NyulSettings) -> dict[str, Any]:
    """Return what a training case teaches of the landmarks, for images with landmarks of their own.

    Args:
        case: with a brain mask.
        settings: of the step.

    Returns:
        contrast → percentiles, scaled to 0 … 1.
    """

    def measure(case: Case, name: str, values: np.ndarray) -> Numbers:
        found = _percentiles(case, name, values, settings)
        return {"percentiles": ((found - found[0]) / (found[-1] - found[0])).tolist()}

    found = measure_each(case, settings, measure)
    return {name: n["percentiles"] for name, n in found.items() if n and name not in settings.like}


def settle(summaries: Sequence[dict[str, Any]], settings: NyulSettings) -> NyulSettings:
    """Return the settings with each contrast's mean landmarks over the training cases that have it.

    Args:
        summaries: one a training case (`summarise`).
        settings: of the step.
    """
    names = dict.fromkeys(name for summary in summaries for name in summary)
    landmarks = {}
    for name in names:
        mean = np.mean([summary[name] for summary in summaries if name in summary], axis=0)
        rises = np.maximum(np.diff(mean), SMALLEST_RISE)
        landmarks[name] = tuple(np.concatenate([[0.0], np.cumsum(rises) / rises.sum()]).tolist())
    return settings.model_copy(update={"landmarks": landmarks})


def apply(case: Case, settings: NyulSettings) -> tuple[Case, dict[str, Any]]:
    """Map each image's percentiles to the landmarks of its contrast.

    Args:
        case: with a brain mask.
        settings: of the step, with landmarks.

    Returns:
        The case and its record.
    """

    def measure(case: Case, name: str, values: np.ndarray) -> Numbers:
        landmarks = settings.landmarks or {}
        if name not in landmarks:
            raise InputError(
                f"{case.name}: there are no landmarks of {name}.",
                found=", ".join(landmarks) or "none",
                expected=f"landmarks learned from training cases that have {name}",
                do=f"prepare a training split with {name}, or leave {name} out of the step's `contrasts`",
            )
        return {"from": _percentiles(case, name, values, settings).tolist(), "to": list(landmarks[name])}

    found = measure_each(case, settings, measure)
    return change_each(case, found, lambda image, n: map_image(image, _knots(n))), {"images": found}


def _knots(numbers: Numbers) -> Knots:
    """Return the map that an image's record describes."""
    x = np.asarray(numbers["from"])
    knots = merge_knots(x, np.asarray(numbers["to"]), RESOLUTION * (x[-1] - x[0]))
    assert knots is not None  # the first and the last percentile differ
    return knots


NYUL = Step(
    NyulSettings,
    "intensity",
    apply,
    invert_with(lambda image, n: map_image(image, _knots(n).inverse)),
    learn=Learn(lambda settings: settings.landmarks is not None, summarise, settle),
)
