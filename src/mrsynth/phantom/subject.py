"""One person of the phantom: everything is drawn first, then built from the draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mrsynth.core.image import Case, Image
from mrsynth.phantom.draw import SubjectSettings, dose_name, draw_subject
from mrsynth.phantom.examination import Examination, Truth


def simulate_subject(seed: int, settings: SubjectSettings | None = None, name: str | None = None) -> Case:
    """Return a simulated examination with masks; metadata["draws"] replays it (see replay_subject).

    name: of patient and case; by default made from the seed. The same seed and settings give the same bytes.
    """
    return Examination(draw_subject(seed, settings or SubjectSettings(), name)).case()


def simulate_with_truth(
    seed: int, settings: SubjectSettings | None = None, name: str | None = None
) -> tuple[Case, Truth]:
    """Return a simulated examination and its ground truth."""
    examination = Examination(draw_subject(seed, settings or SubjectSettings(), name))
    return examination.case(), examination.truth()


def replay_subject(draws: Mapping[str, Any]) -> Case:
    """Return the case of recorded draws: metadata["draws"] of a case, also after a trip through JSON."""
    return Examination(draws).case()


def simulate_doses(seed: int, settings: SubjectSettings, doses: Sequence[float]) -> dict[float, Image]:
    """Return the T1-weighted image of one patient at each dose (0 to 1).

    Anatomy and scale are the same, each image has its own noise. Dose 0 is the case's t1, dose 1 its t1ce; the others
    named t1ld.
    """
    series = {"profile": "dose", "doses": tuple(doses), "stripped": settings.skull_stripped}
    scanned = Examination(draw_subject(seed, settings.model_copy(update=series), None))
    return {dose: scanned.image(dose_name(dose), dose) for dose in doses}
