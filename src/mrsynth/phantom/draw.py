"""Everything that is random about a simulated examination, drawn into one JSON-able dictionary."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from mrsynth.core.seeds import derive_seed, generator
from mrsynth.core.settings import Settings
from mrsynth.core.types import b_of
from mrsynth.phantom.anatomy import template_anatomy
from mrsynth.phantom.kinetics import draw_kinetics
from mrsynth.phantom.lesions import KINDS, draw_lesions
from mrsynth.phantom.protocols import DRAWN, draw_site
from mrsynth.phantom.scanner import USUAL_SITES, SiteProfile, site_profile
from mrsynth.phantom.shape import MEAN_SCALE, draw_shape
from mrsynth.phantom.tissues import draw_jitter

PROFILES: dict[str, tuple[str, ...]] = {
    "brats": ("t1", "t1ce", "t2", "flair"),
    "ct": ("ct", "t1", "t2"),
    "dose": ("t1", "t1ld", "t1ce"),
    "full": ("t1", "t1ce", "t2", "flair", "dwi", "adc", "ct"),
    "tumour": ("t1", "t1ce", "t2", "flair", "dwi_b0", "dwi_b500", "dwi_b1000"),  # chen2022 §III-A, and FLAIR
}
"""The contrasts of each profile."""

Profile = Literal["brats", "ct", "dose", "full", "tumour"]

STRIPPED: tuple[Profile, ...] = ("brats", "dose", "tumour")
"""Profiles that show only the brain where the settings don't say."""


class SubjectSettings(Settings):
    """What to simulate.

    Attributes:
        profile: which contrasts (see PROFILES).
        spacing_mm: 1 is the full resolution, 2 is quick.
        lesion: a kind of `KINDS` or "random".
        site: a site's name, "random", or "drawn" for a scanner of the patient's own.
        doses: of t1ld, as fractions of the full dose.
        stripped: only the brain on BraTS's grid (by default in the profiles STRIPPED) or the whole head.
        registered: False leaves the patient's movement between contrasts in.
        variation: how far the shape departs from the template (0 none, 1 a population).
    """

    profile: Profile = "brats"
    spacing_mm: float = Field(default=1.0, ge=1.0, le=4.0)
    lesion: Literal["random", "glioma_high", "glioma_low", "metastases", "ms", "none"] = "random"
    site: str = "random"
    doses: tuple[float, ...] = Field(default=(0.1,), min_length=1)
    stripped: bool | None = None
    registered: bool = True
    variation: float = Field(default=1.0, ge=0.0, le=1.5)

    @property
    def skull_stripped(self) -> bool:
        """Whether only the brain is kept."""
        return self.profile in STRIPPED if self.stripped is None else self.stripped


def draw_subject(seed: int, settings: SubjectSettings, name: str | None) -> dict[str, Any]:
    """Draw everything about a person and the examination.

    Args:
        seed: of the subject.
        settings: what is not drawn.
        name: of patient and case; by default made from the seed.

    Returns:
        The draws, JSON-able and complete: they replay the subject.
    """
    person = generator(seed, "person")
    kind = settings.lesion if settings.lesion != "random" else str(person.choice(KINDS))
    site = settings.site if settings.site != "random" else str(person.choice(USUAL_SITES))
    low, high = {"ms": (22.0, 55.0), "none": (20.0, 80.0)}.get(kind, (30.0, 80.0))
    age_years = float(person.uniform(low, high))
    atrophy = float(np.clip((age_years - 35.0) / 55.0 + person.normal(0.0, 0.15), 0.0, 1.2)) * settings.variation
    tilt_deg = 0.7 if settings.skull_stripped else 3.0
    shape = draw_shape(generator(seed, "shape"), atrophy, tilt_deg)
    shape["strength"] *= settings.variation
    shape["scale"] = [MEAN_SCALE + (s - MEAN_SCALE) * settings.variation for s in shape["scale"]]
    protocol = draw_site(generator(seed, "site")) if site == DRAWN else site_profile(site)
    own = {"protocol": protocol.model_dump(mode="json", exclude_none=True)} if site == DRAWN else {}
    lesions = draw_lesions(generator(seed, "lesions"), kind, template_anatomy())
    kinetics = {"kinetics": draw_kinetics(generator(seed, "kinetics"), lesions)} if settings.profile == "dose" else {}
    return {
        "settings": settings.model_dump(mode="json"),
        "seed": int(seed),
        "name": name or f"phantom-{seed:04d}",
        "site": site,
        **own,
        "age_years": round(age_years, 1),
        "lesion": kind,
        "lesions": lesions,
        **kinetics,
        "shape": shape,
        "fields_seed": derive_seed(seed, "fields"),
        "jitter": draw_jitter(generator(seed, "tissues"), protocol.tissue_spread),
        "coil_seed": derive_seed(seed, "coil"),
        "scans": {scan: _draw_scan(seed, scan, settings, protocol) for scan in _scan_names(settings)},
    }


def dose_name(dose: float) -> str:
    """Return the name under which a dose's scan is drawn and kept."""
    return {0.0: "t1", 1.0: "t1ce"}.get(dose, f"t1ld_{dose:g}")


def _scan_names(settings: SubjectSettings) -> list[str]:
    images = ["dwi" if b_of(c) is not None else c for c in PROFILES[settings.profile]]  # one scan gives all b-values
    contrasts = [c for c in images if c not in ("t1ld", "adc")]
    doses = [dose_name(dose) for dose in settings.doses] if settings.profile == "dose" else []
    return list(dict.fromkeys([*contrasts, *doses]))


def _draw_scan(seed: int, scan: str, settings: SubjectSettings, site: SiteProfile) -> dict[str, Any]:
    """Draw what happens to one scan: strength of the coil field, noise, gain, and how the head lies relative to t1."""
    rng = generator(seed, "scan", scan)
    turn_deg, shift_mm = (site.rotation_deg, site.shift_mm) if settings.registered else (1.5, 2.0)
    still = scan == "t1"
    gain = float(np.exp(rng.normal(0.0, 0.015)))
    return {
        "noise_seed": int(rng.integers(2**31)),
        "noise": site.noise * float(rng.uniform(0.8, 1.25)),
        "bias": site.bias * (1.0 if scan.startswith("t1") else float(rng.uniform(0.8, 1.2))),
        "gain": gain * float(np.exp(_session_gain(seed) if scan.startswith("t1") else rng.normal(0.0, 0.15))),
        "rotation_deg": [0.0] * 3 if still else rng.normal(0.0, turn_deg, 3).tolist(),
        "shift_mm": [0.0] * 3 if still else rng.normal(0.0, shift_mm, 3).tolist(),
    }


def _session_gain(seed: int) -> float:
    """Return the log gain that all T1-weighted scans of a session share."""
    return float(generator(seed, "gain").normal(0.0, 0.15))
