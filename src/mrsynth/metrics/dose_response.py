"""How the signal answers to the dose: the mean enhancement of tissues and lesions, and whether it ever falls."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

LESION = re.compile(r"lesion#[0-9]+")
"""The regions of single lesions, as `build_regions` names them."""

LABELS = ("enhancing_tumour", "non_enhancing_tumour", "necrosis", "oedema", "ms_plaque")

MIN_VOXELS = 8
"""Smaller regions are left out: their mean is mostly noise."""


def enhancement(image: np.ndarray, native: np.ndarray, region: np.ndarray) -> float | None:
    """Return the mean of image − native over a region.

    pinetz2023 (supplement): "the contrast enhancement is then calculated using the mean over the CE pixels".

    Args:
        image: after contrast agent (x, y, z).
        native: before it, on the same scale.
        region: boolean mask (x, y, z).

    Returns:
        The mean in the images' units; None for an empty region.
    """
    if not region.any():
        return None
    return float(image[region].mean(dtype=np.float64) - native[region].mean(dtype=np.float64))


def response_regions(regions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the tissues and lesions whose enhancement is followed over the dose, from the regions of a case.

    regions: `build_regions` with native and standard dose. Tissues: each label of the lesion mask, `vessels and
    membranes` (what enhances outside of the lesions) and `other brain`. Lesions, `lesion#1` …: the part that is
    labelled as enhancing; where nothing in the case is, the whole of those of which more than half enhances. Regions of
    less than MIN_VOXELS voxels are left out.
    """
    enhancing, rest = regions["enhancing"], regions["non_enhancing"]
    lesion = regions.get("lesion", np.zeros_like(enhancing))
    found = {name: regions[name] for name in LABELS if name in regions}
    found |= {"vessels and membranes": enhancing & ~lesion, "other brain": rest & ~lesion}
    labelled = regions.get("enhancing_tumour")
    for name in filter(LESION.fullmatch, regions):
        one = regions[name]
        if labelled is not None:
            found[name] = one & labelled
        elif enhancing[one].mean() > 0.5:
            found[name] = one
    return {name: mask for name, mask in found.items() if np.count_nonzero(mask) >= MIN_VOXELS}


def is_lesion(region: str) -> bool:
    """Say whether a region of `response_regions` is a single lesion."""
    return LESION.fullmatch(region) is not None


def descents(doses: Sequence[float], values: Sequence[float]) -> int:
    """Return how often the value falls from one dose to the next higher one.

    Args:
        doses: in any order, each once.
        values: one for each dose.
    """
    in_order = np.asarray(values, float)[np.argsort(doses)]
    return int(np.count_nonzero(np.diff(in_order) < 0))


def is_monotone(doses: Sequence[float], values: Sequence[float]) -> bool:
    """Say whether the value never falls with the dose.

    Args:
        doses: in any order, each once.
        values: one for each dose.
    """
    return descents(doses, values) == 0
