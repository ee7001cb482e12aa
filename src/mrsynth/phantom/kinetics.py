"""Contrast agent in a lesion over time: why a low-dose scan is no fixed fraction of the standard-dose one.

The low dose d is injected, its scan follows; then the rest, 1 − d, and the standard-dose scan follows that. In between
the first share goes on flowing into slow lesions and out of fast ones. Plasma: two exponentials (Weinmann et al. 1984,
Physiol Chem Phys Med NMR 16:167). Lesion: Tofts and Kermode 1991 (Magn Reson Med 17:357), with its own k_ep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PLASMA: tuple[tuple[float, float], ...] = ((3.99, 0.144), (4.78, 0.0111))
"""(a in kg/l, m in 1/min) of the plasma's concentration after 1 mmol/kg, Σ a·exp(−m·t): Tofts and Kermode 1991."""

KEP_PER_MIN, KEP_SPREAD = 0.4, 0.6
"""Median and SD of the log of a lesion's k_ep = K^trans/v_e: assumed; nine of ten lie between 0.15 and 1.1."""

SCAN_MIN, SECOND_MIN = (2.0, 5.0), (8.0, 12.0)
"""When the scan follows its injection, and when the second injection follows the first: assumed, drawn evenly."""


def draw_kinetics(rng: np.random.Generator, lesions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Draw how the agent moves in each lesion of an examination at a low dose.

    Args:
        rng: the generator of random numbers.
        lesions: as `draw_lesions` draws them.

    Returns:
        kep_per_min, one a lesion; scan_min and second_min of the examination (see SCAN_MIN). JSON-able.
    """
    return {
        "kep_per_min": (KEP_PER_MIN * np.exp(rng.normal(0, KEP_SPREAD, len(lesions)))).round(6).tolist(),
        "scan_min": round(float(rng.uniform(*SCAN_MIN)), 4),
        "second_min": round(float(rng.uniform(*SECOND_MIN)), 4),
    }


def uptake(minutes: float, kep_per_min: float) -> float:
    """Return a lesion's concentration after an injection, up to K^trans and dose: ∫ Cp(τ) · exp(−kep (t − τ)) dτ.

    Args:
        minutes: t, since the injection.
        kep_per_min: kep, how fast the agent leaves the lesion.
    """
    total = 0.0
    for a, m in PLASMA:
        rate = kep_per_min - m
        if abs(rate) < 1e-9:
            total += a * minutes * math.exp(-m * minutes)
        else:
            total += a * (math.exp(-m * minutes) - math.exp(-kep_per_min * minutes)) / rate
    return total


def low_dose_factor(kep_per_min: float, dose: float, scan_min: float, second_min: float) -> float:
    """Return the lesion's concentration in the low-dose scan over `dose` times that in the standard-dose scan.

    Args:
        kep_per_min: of the lesion.
        dose: the first injection, as a fraction of the full dose.
        scan_min: from an injection to its scan.
        second_min: from the first injection to the second.

    Returns:
        1 for an agent that stays as it is; below 1 for slow lesions, above 1 for those that it washes out of.
    """
    first = uptake(scan_min, kep_per_min)
    return first / (dose * uptake(second_min + scan_min, kep_per_min) + (1 - dose) * first)
