"""Robust radiometric registration: brings images of one sequence to the scale of the native one (pinetz2023).

Scanners scale each image by itself, so T1 before and after contrast differ by a factor that has no meaning. The factor
is fitted on brain voxels, and tissue that enhances must not pull at it. What all tissue takes up alike cannot be told
from the scanner's factor: after a full dose the factor holds the blood's few per cent too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field, model_validator

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case
from mrsynth.core.settings import Settings
from mrsynth.steps.intensity import Contrast, brain_of, change_each, invert_with, require_finite, scaled, unscaled
from mrsynth.steps.step import Step

MAD_TO_SD = 1.4826
"""Standard deviation of a Gaussian over its median absolute deviation."""

MOST_VOXELS = 2**18
"""Evenly spaced brain voxels that are fitted: more change the factor by less than 0.05 %."""

FEWEST_VOXELS = 100


class RadiometricSettings(Settings):
    """Settings of the step `radiometric`.

    Attributes:
        reference: the contrast whose scale is kept.
        images: those brought to it, where a case has them.
    """

    reference: Contrast
    images: tuple[Contrast, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _apart(self) -> RadiometricSettings:
        """Refuse a reference that is to be scaled to itself."""
        if self.reference in self.images:
            raise ValueError(f"the reference {self.reference} cannot be among the images that are scaled to it")
        return self


def fit_scale(reference: np.ndarray, image: np.ndarray) -> tuple[float, float, float]:
    """Return the factor s for which s · image is nearest to a reference under the Cauchy loss.

    Iteratively reweighted: residuals r = reference − s · image, weights 1 / (1 + (r / γ)²), γ = median |r|, a Cauchy
    distribution's half width. (Tuned to be 95 % efficient on Gaussian noise, γ would be 3.5 times as large and let
    enhancing tissue pull; among 10⁵ voxels robustness is worth more.) Both images are noisy alike, so the fit is
    symmetric, s² = Σ w · reference² / Σ w · image²: least squares of one on the other would find s too small by the
    noise's share of image². The fit is deterministic.

    Args:
        reference: (n,), positive.
        image: (n,), positive.

    Returns:
        s; the share of voxels within three standard deviations (1.4826 γ); this standard deviation over the
            reference's median.
    """
    y, x = reference.astype(np.float64), image.astype(np.float64)
    y2, x2, middle = y * y, x * x, float(np.median(y))
    scale = float(np.median(y / x))
    for _ in range(100):
        residual = np.abs(y - scale * x)
        half = float(np.median(residual))
        gamma = max(half, 1e-6 * middle)  # images equal in most voxels have a median residual of 0
        weight = 1 / (1 + (residual / gamma) ** 2)
        before, scale = scale, float(np.sqrt(np.dot(weight, y2) / np.dot(weight, x2)))
        if abs(scale - before) <= 1e-7 * scale:
            break
    return scale, float(np.mean(residual <= 3 * MAD_TO_SD * gamma)), MAD_TO_SD * half / middle


def apply(case: Case, settings: RadiometricSettings) -> tuple[Case, dict[str, Any]]:
    """Multiply the named images by their factor to the reference.

    Args:
        case: with a brain mask.
        settings: of the step.

    Returns:
        The case, and a record that holds for each image: scale; inliers, the share of voxels that the fit sees as
            unchanged tissue; spread, the standard deviation of their difference over the reference's median (0.05 to
            0.2 is usual; far more is another contrast, or an image out of place).

    Raises:
        InputError: where the reference is missing or too few voxels can be compared.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in case.images}
    names = [name for name in settings.images if name in case.images]
    if not names:
        return case, {"images": found}
    native, brain = case.image(settings.reference).data, brain_of(case)
    require_finite(case, settings.reference)
    for name in names:
        require_finite(case, name)
        y, x = native[brain], case.images[name].data[brain]
        both = (y > 0) & (x > 0)
        if np.count_nonzero(both) < FEWEST_VOXELS:
            raise InputError(
                f"{case.name}: {name} cannot be brought to the scale of {settings.reference}.",
                found=f"{np.count_nonzero(both)} brain voxels above 0 in both",
                expected=f"at least {FEWEST_VOXELS}",
                do="put radiometric before any step that shifts values (zscore), and check the brain mask",
            )
        step = -(-np.count_nonzero(both) // MOST_VOXELS)
        scale, inliers, spread = fit_scale(y[both][::step], x[both][::step])
        found[name] = {"scale": scale, "inliers": inliers, "spread": spread}
    return change_each(case, found, lambda image, n: unscaled(image, 0, n["scale"])), {"images": found}


RADIOMETRIC = Step(RadiometricSettings, "intensity", apply, invert_with(lambda image, n: scaled(image, 0, n["scale"])))
