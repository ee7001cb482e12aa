"""A monotone curve from one sequence's grey levels to another's: T1 after contrast agent on the scale of the T1 before.

Two sequences of one weighting differ by more than the factor of `radiometric`: one is a gradient echo, the other a spin
echo. Where nothing enhances, a curve takes one to the other; what enhances lies above it, and stays above it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case
from mrsynth.steps.intensity import brain_of, change_each, invert_with, require_finite
from mrsynth.steps.piecewise import Knots, map_image, merge_knots
from mrsynth.steps.radiometric import FEWEST_VOXELS, RadiometricSettings
from mrsynth.steps.step import Step

LEVELS = 24
"""Levels of the reference at which the curve is measured, from its 2nd to its 98th percentile, as many voxels each."""


class CurveSettings(RadiometricSettings):
    """reference: the contrast whose scale is kept. images: those brought to it, where a case has them."""


def fit_curve(reference: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the curve that takes an image's grey levels to those of a reference.

    At each level of the reference the image's median is taken: enhancing voxels are few at every level, so that they do
    not bend the curve, as they would if it were fitted the other way about. The medians are made to rise (isotonic
    regression), the curve is inverted, and goes on beyond its ends with the slope between them.

    Args:
        reference: brain voxels (n,).
        image: the same voxels (n,).

    Returns:
        Grey levels of the image, and those of the reference that they become, both rising strictly; None where the
        image does not rise with the reference.
    """
    edges = np.quantile(reference, np.linspace(0.02, 0.98, LEVELS + 1))
    level = np.searchsorted(edges, reference, side="right") - 1
    kept = [k for k in range(LEVELS) if np.any(level == k)]
    y = np.array([np.median(reference[level == k]) for k in kept])
    x = isotonic_regression([np.median(image[level == k]) for k in kept]).x
    width = x[-1] - x[0]
    knots = merge_knots(x, y, 1e-3 * width) if width > 0 and np.all(np.diff(y) > 0) else None
    if knots is None:
        return None
    slope = (y[-1] - y[0]) / width
    ends = np.array([-width, width])
    x = np.concatenate([[x[0] + ends[0]], knots.x, [x[-1] + ends[1]]])
    y = np.concatenate([[y[0] + slope * ends[0]], knots.y, [y[-1] + slope * ends[1]]])
    return x, y


def apply(case: Case, settings: CurveSettings) -> tuple[Case, dict[str, Any]]:
    """Bring the named images to the reference's grey levels.

    Args:
        case: with a brain mask.
        settings: of the step.

    Returns:
        The case, and a record that holds the curve of each image: from, to.

    Raises:
        InputError: where the reference is missing, or the image does not rise with it.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in case.images}
    names = [name for name in settings.images if name in case.images]
    if not names:
        return case, {"images": found}
    native, brain = case.image(settings.reference).data, brain_of(case)
    require_finite(case, settings.reference)
    for name in names:
        require_finite(case, name)
        curve = fit_curve(native[brain], case.images[name].data[brain]) if brain.sum() >= FEWEST_VOXELS else None
        if curve is None:
            raise InputError(
                f"{case.name}: {name} cannot be brought to the grey levels of {settings.reference}.",
                found=f"{int(brain.sum())} brain voxels, in which {name} does not rise with {settings.reference}",
                expected="two images of one weighting, registered",
                do="check that both are what they are called, and that register comes before curve",
            )
        found[name] = {"from": curve[0].tolist(), "to": curve[1].tolist()}
    return change_each(case, found, lambda image, n: map_image(image, _knots(n))), {"images": found}


def _knots(numbers: dict[str, Any]) -> Knots:
    """Return the map that an image's record describes."""
    return Knots(np.asarray(numbers["from"]), np.asarray(numbers["to"]))


CURVE = Step(CurveSettings, "intensity", apply, invert_with(lambda image, n: map_image(image, _knots(n).inverse)))
