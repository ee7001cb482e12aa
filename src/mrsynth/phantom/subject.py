"""One person of the phantom: everything is drawn first, then built from the draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mrsynth.core.image import Case, Image
from mrsynth.core.seeds import derive_seed
from mrsynth.phantom.draw import SubjectSettings, dose_name, draw_subject
from mrsynth.phantom.examination import Examination, Truth


def simulate_subject(seed: int, settings: SubjectSettings | None = None, name: str | None = None) -> Case:
    """Return a simulated examination with masks.

    Args:
        seed: of the subject; the same seed and settings give the same bytes.
        settings: what is not drawn; defaults by default.
        name: of patient and case; by default made from the seed.

    Returns:
        The case; metadata["draws"] replays it (`replay_subject`).
    """
    return Examination(draw_subject(seed, settings or SubjectSettings(), name)).case()


def simulate_with_truth(
    seed: int, settings: SubjectSettings | None = None, name: str | None = None
) -> tuple[Case, Truth]:
    """Return a simulated examination and its ground truth.

    Args:
        seed: of the subject.
        settings: what is not drawn; defaults by default.
        name: of patient and case; by default made from the seed.

    Returns:
        The case, and tissue fractions, clean images, coil fields and true ADC.
    """
    examination = Examination(draw_subject(seed, settings or SubjectSettings(), name))
    return examination.case(), examination.truth()


def replay_subject(draws: Mapping[str, Any]) -> Case:
    """Return the case of recorded draws: metadata["draws"] of a case, also after a trip through JSON."""
    return Examination(draws).case()


def scan_again(draws: Mapping[str, Any], contrast: str) -> Image:
    """Return a second scan of recorded draws: the same patient, protocol, gain and position, new noise.

    It is the ceiling of what a faithful image of that contrast can reach, and the floor of every error.

    Args:
        draws: metadata["draws"] of a case.
        contrast: one that is scanned by itself (t1, t1ce, t1ld, t2, flair, ct).
    """
    dose = {"t1": 0.0, "t1ce": 1.0, "t1ld": draws["settings"]["doses"][0]}.get(contrast)
    scan = contrast if dose is None else dose_name(dose)
    known = draws["scans"][scan]
    scans = {**draws["scans"], scan: {**known, "noise_seed": derive_seed(int(known["noise_seed"]), "again") % 2**31}}
    return replace(Examination({**draws, "scans": scans}).image(scan, dose), contrast=contrast)


def simulate_doses(seed: int, settings: SubjectSettings, doses: Sequence[float]) -> dict[float, Image]:
    """Return the T1-weighted image of one patient at each dose.

    Anatomy and scale are the same, each image has its own noise.

    Args:
        seed: of the subject.
        settings: what is not drawn.
        doses: fractions of the full dose, 0 to 1.

    Returns:
        Dose and image. Dose 0 is the case's t1, dose 1 its t1ce; the others are named t1ld.
    """
    series = {"profile": "dose", "doses": tuple(doses), "stripped": settings.skull_stripped}
    scanned = Examination(draw_subject(seed, settings.model_copy(update=series), None))
    return {dose: scanned.image(dose_name(dose), dose) for dose in doses}
