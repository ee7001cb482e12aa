"""Histogram equalisation inside the brain (chen2022 §III: "image equalization"), undone through its recorded map."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from mrsynth.core.image import Case
from mrsynth.steps.intensity import NormaliseSettings, Numbers, change_each, flat, invert_with, measure_each
from mrsynth.steps.piecewise import Knots, map_image, merge_knots
from mrsynth.steps.step import Step


class EqualizeSettings(NormaliseSettings):
    """Settings of the step `equalize`.

    Attributes:
        bins: of equal numbers of brain voxels. More follow the histogram closer; 256 is the most with which float32
            values return to 1e-5 of the image's range, however unequal the bins' widths.
    """

    bins: int = Field(ge=2, le=256)


def apply(case: Case, settings: EqualizeSettings) -> tuple[Case, dict[str, Any]]:
    """Give each image's brain values an even distribution over [0, 1].

    The map is the cumulative histogram, linear inside a bin. Its bins hold equally many voxels each, where the
    textbook takes bins of equal width: one hot vessel then cannot squeeze all tissue into a few of them, and no bin
    is empty, so the map rises strictly and can be inverted. Values outside the brain, and those of an image that
    takes another's map (`like`), may lie beyond the map's ends; there it goes on straight.

    Args:
        case: with a brain mask.
        settings: of the step.

    Returns:
        The case and its record.
    """

    def measure(case: Case, name: str, values: np.ndarray) -> Numbers:
        numbers = {"from": np.quantile(values, np.linspace(0, 1, settings.bins + 1)).astype(np.float64).tolist()}
        if not numbers["from"][-1] > numbers["from"][0]:
            raise flat(case, name, "is constant inside the brain", f"{numbers['from'][0]:g} in every voxel")
        return numbers

    found = measure_each(case, settings, measure)
    return change_each(case, found, lambda image, n: map_image(image, _knots(n))), {"images": found}


def _knots(numbers: Numbers) -> Knots:
    """Return the map that an image's record describes."""
    x = np.asarray(numbers["from"])
    knots = merge_knots(x, np.linspace(0, 1, len(x)), 0.0)
    assert knots is not None  # the image is not constant
    return knots


EQUALIZE = Step(EqualizeSettings, "intensity", apply, invert_with(lambda image, n: map_image(image, _knots(n).inverse)))
