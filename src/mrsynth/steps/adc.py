"""The apparent diffusion coefficient: fitted from diffusion-weighted images of any b-values, in mm²/s.

Signal model: S(b) = S0·exp(−b·ADC) (Stejskal and Tanner, J Chem Phys 42:288, 1965).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from pydantic import Field

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image, grid_error
from mrsynth.core.settings import Settings
from mrsynth.core.types import b_of, in_order
from mrsynth.steps.adc_fit import fit_loglinear, fit_nonlinear, noise_of
from mrsynth.steps.step import Record, Step

UNITS: tuple[tuple[float, float], ...] = ((1.0, 1e-5), (1e-3, 1e-2), (1e-6, 10.0))
"""(mm²/s per unit, lowest median of such a map): brain tissue has 0.7e-3 to 0.9e-3 mm²/s and free water at 37 °C
3.0e-3 (Holz et al., Phys Chem Chem Phys 2:4740, 2000), so that maps in mm²/s, 1e-3 mm²/s (µm²/ms) and 1e-6 mm²/s
(µm²/s, most scanners) lie three decades apart."""
HIGHEST_MEDIAN = 1e4


class ADCSettings(Settings):
    """Settings of the step `adc`.

    Attributes:
        method: loglinear (weighted, closed form) or nonlinear (least squares on the signal itself, for low signal).
        max_adc_mm2_s: above what can diffuse freely in the body; results are clamped to 0 … this.
        min_snr: voxels whose signal at the lowest b is less than so many standard deviations of the noise hold air and
            get 0.
        keep: whether the diffusion-weighted images stay in the case.
    """

    method: Literal["loglinear", "nonlinear"]
    max_adc_mm2_s: float = Field(gt=0)
    min_snr: float = Field(ge=0)
    keep: bool


def apply_adc(case: Case, settings: ADCSettings) -> tuple[Case, dict[str, Any]]:
    """Add the ADC image in mm²/s to the case.

    A case that brings an ADC keeps it, brought to mm²/s if it is in another unit; nothing is fitted then.

    Args:
        case: with an ADC or diffusion-weighted images.
        settings: of the step.

    Returns:
        The case and its record.

    Raises:
        InputError: where there is neither an ADC nor two different b-values, or where the images lie on different
            grids.
    """
    weighted = {b: name for name in in_order(case.images) if (b := b_of(name)) is not None}
    if "adc" in case.images:
        image, record = to_mm2_s(case)
    else:
        image, record = _fitted(case, weighted, settings)
    images = dict(case.images) | {"adc": image}
    if not settings.keep:
        images = {name: images[name] for name in images if b_of(name) is None}
    return replace(case, images={name: images[name] for name in in_order(images)}), record


def to_mm2_s(case: Case) -> tuple[Image, dict[str, Any]]:
    """Return the case's own ADC in mm²/s and {"source", "scale", "median"}; raises InputError for no known unit."""
    image = case.images["adc"]
    positive = image.data[image.data > 0]
    median = float(np.median(positive)) if positive.size else 0.0
    scale = next((unit for unit, low in reversed(UNITS) if low <= median < HIGHEST_MEDIAN), None)
    if scale is None:
        raise InputError(
            f"{case.name}: the unit of the ADC image is not clear.",
            found=f"median {median:g} where it is positive",
            expected="about 0.0008 (mm²/s), 0.8 (1e-3 mm²/s) or 800 (1e-6 mm²/s)",
            do="check that the file is an ADC map, or scale it to mm²/s",
        )
    if scale != 1.0:
        image = image.with_data((image.data * np.float32(scale)).astype(np.float32))
    return image, {"source": "given", "scale": scale, "median": median * scale}


def _fitted(case: Case, weighted: dict[int, str], settings: ADCSettings) -> tuple[Image, dict[str, Any]]:
    """Return the ADC fitted from the diffusion-weighted images, and what was found."""
    if len(weighted) < 2:
        raise InputError(
            f"{case.name}: no ADC, and not enough b-values to fit one.",
            found=", ".join(weighted.values()) or "no dwi_b<b-value> image among " + ", ".join(case.images),
            expected="an adc image, or two of dwi_b0, dwi_b500, dwi_b1000 …",
            do="add the columns to this case, or leave the adc step out",
        )
    low = case.images[weighted[min(weighted)]]
    for name in weighted.values():
        if error := grid_error(case.name, low, case.images[name]):
            raise InputError(
                error.what, found=error.found, expected=error.expected, do="put register and resample before adc"
            )
    b = np.array(sorted(weighted), dtype=np.float64)
    signals = np.stack([case.images[weighted[int(value)]].data for value in b]).astype(np.float32)
    np.nan_to_num(signals, copy=False, posinf=0.0, neginf=0.0)
    sigma = noise_of(low.data)
    inside = signals[0] > settings.min_snr * sigma
    # Each voxel with tissue is a column; a fit needs signal at two b-values.
    columns = signals[:, inside]
    usable = (columns > 0).sum(axis=0) >= 2
    columns = columns[:, usable]
    fit = fit_loglinear(b, columns)
    if low.data.size >= FEWEST_JUDGED:
        _require_fall(case.name, fit, b, settings)
    if settings.method == "nonlinear":
        fit = fit_nonlinear(b, columns, sigma, fit, settings.max_adc_mm2_s)
    values = np.zeros(inside.sum(), dtype=np.float32)
    values[usable] = np.clip(fit, 0.0, settings.max_adc_mm2_s)
    data = np.zeros(low.data.shape, dtype=np.float32)
    data[inside] = values
    record = {
        "source": settings.method,
        "b_s_mm2": [int(value) for value in b],
        "noise": sigma,
        "voxels": int(usable.sum()),
        "without_signal": int(usable.size - usable.sum()),
        "below": int((fit < 0).sum()),
        "above": int((fit > settings.max_adc_mm2_s).sum()),
        "median": float(np.median(values[usable])) if usable.any() else None,
    }
    return replace(low, data=data, contrast="adc"), record


MOST_OFF = 0.5
"""Where more of the tissue has an ADC of 0 or less, or more than anything can have, the images are not comparable."""

FEWEST_JUDGED = 1000
"""In an image of fewer voxels that says nothing."""


def _require_fall(case: str, fit: np.ndarray, b: np.ndarray, settings: ADCSettings) -> None:
    """Raise InputError if the signal does not fall with b as that of tissue does."""
    below = float(np.mean(fit <= 0)) if fit.size else 1.0
    above = float(np.mean(fit > settings.max_adc_mm2_s)) if fit.size else 0.0
    if max(below, above) <= MOST_OFF:
        return
    falls = "does not fall" if below > above else "falls too fast"
    raise InputError(
        f"{case}: no ADC can be fitted from the diffusion-weighted images.",
        found=f"the signal {falls} with b in {100 * max(below, above):.0f} % of {fit.size} voxels",
        expected="a signal that falls with b in tissue (b = " + ", ".join(f"{value:g}" for value in b) + " s/mm²)",
        do="check the b-values, and whether all images were scaled alike; or give an adc image",
    )


def invert_adc(image: Image, record: Record, like: str) -> Image:
    """Return an ADC in the unit that the case's own file had; everything else, and fitted maps, unchanged.

    Args:
        image: after the step.
        record: of the step.
        like: the contrast whose unit it gets.
    """
    scale = record.get("scale", 1.0)
    if like != "adc" or scale == 1.0:
        return image
    return image.with_data((image.data / np.float32(scale)).astype(np.float32))


ADC = Step(ADCSettings, "intensity", apply_adc, invert_adc, any_grid=True)
