"""Measures of contrast enhancement, of one image at a time; their error is prediction against truth.

With S the mean signal, σ the standard deviation, `lesion` the enhancing lesion and `brain` the tissue that neither
enhances nor is lesion:

    cnr                    (S_lesion − S_brain) / σ_brain
    lesion_to_brain_ratio  S_lesion / S_brain
    enhancement_percent    100 · (S_lesion, after − S_lesion, before) / S_lesion, before

They are the quantitative end points of contrast-agent trials in the central nervous system (lesion-to-background ratio,
enhancement percentage and contrast-to-noise ratio of the PICTURE trial, Investigative Radiology 2023). Trials take σ
from noise; images here are skull-stripped, so σ is that of the brain tissue.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

ENHANCEMENT_MEASURES: tuple[str, ...] = ("cnr", "lesion_to_brain_ratio", "enhancement_percent")
"""The measures, in the order of their records."""


def enhancement_measures(
    image: np.ndarray, native: np.ndarray, lesion: np.ndarray, brain: np.ndarray
) -> dict[str, float | None]:
    """Return the measures of an image after contrast agent.

    Args:
        image: after contrast agent (x, y, z).
        native: the same patient before contrast agent, on the same scale.
        lesion: boolean mask of the enhancing lesion, not empty.
        brain: boolean mask of the tissue to compare with, not empty.

    Returns:
        ENHANCEMENT_MEASURES by name; None where a measure divides by zero.
    """
    in_lesion, in_brain = image[lesion].astype(float), image[brain].astype(float)
    before = float(native[lesion].astype(float).mean())
    signal, tissue, spread = float(in_lesion.mean()), float(in_brain.mean()), float(in_brain.std())
    return {
        "cnr": _ratio(signal - tissue, spread),
        "lesion_to_brain_ratio": _ratio(signal, tissue),
        "enhancement_percent": _ratio(100 * (signal - before), before),
    }


def enhancing_lesion(regions: Mapping[str, np.ndarray]) -> tuple[str, np.ndarray] | None:
    """Return name and mask of the enhancing lesion: the label where there is one, else where T1ce − T1 is above δ."""
    for name in ("enhancing_tumour", "enhancing"):
        if name in regions and regions[name].any():
            return name, regions[name]
    return None


def reference_tissue(regions: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Return the brain without lesion and without enhancement; None without a brain region or where nothing is left."""
    if "brain" not in regions:
        return None
    tissue = regions["brain"].astype(bool, copy=True)
    for name in ("lesion", "enhancing"):
        if name in regions:
            tissue &= ~regions[name]
    return tissue if tissue.any() else None


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None
