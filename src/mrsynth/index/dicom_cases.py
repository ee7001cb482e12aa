"""DICOM below a folder: volumes put into studies (cases) of patients, each with its contrast and the reason."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from os.path import commonpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrsynth.index.agent import GIVEN, NONE, agent_by_words, judge_agent
from mrsynth.index.corrections import IGNORE, Found
from mrsynth.index.evidence import UNSURE, Guess
from mrsynth.index.people import name_case
from mrsynth.index.recognise import agent_votes, guess_by_tags
from mrsynth.index.tags import number, values, word
from mrsynth.index.words import normalise, says

if TYPE_CHECKING:
    from mrsynth.io.dicom.scan import DicomVolume

REFORMATTED = r"mpr|reformat\w*|refor|reconstruct\w*|cor reform\w*|multiplanar\w*"

BONE = r"bone|knochen|os|osseux|hueso|osso|sharp|h6\d\w*|h7\d\w*"
"""Words of CT reconstructions for bone."""

WHOLE_HEAD_MM = 420.0
"""No series of a head alone is longer or wider: what is shows more of the body."""


def find_studies(folder: Path, workers: int = 1) -> tuple[list[Found], set[Path], list[str]]:
    """Return the DICOM volumes below a folder.

    The patient is PatientID, or what the folders say where it is empty; the case is the study, numbered by date where
    a patient has several.

    Args:
        folder: Where to look.
        workers: Processes that look into many files.

    Returns:
        The volumes, used or not; every file that is DICOM; and what was concluded about patients, in words.

    Raises:
        InputError: The folder cannot be read.
    """
    from mrsynth.io.dicom.scan import scan_dicom

    volumes, ignored = scan_dicom(folder, workers)
    guesses = [_of_a_head(v, guess_by_tags(v.tags, v.b_s_mm2)) for v in volumes]
    guesses = _after_agent(volumes, guesses)
    names, told = _names(volumes, folder)
    images = [
        Found(
            volume.locator,
            *names[volume.patient, volume.study],
            guess.contrast or IGNORE,
            guess.reason,
            _field_strength(volume),
            _traits(volume, guess),
        )
        for volume, guess in zip(volumes, guesses, strict=True)
    ]
    images += [Found(item.path, "", "", IGNORE, item.reason) for item in ignored]
    files = {path for volume in volumes for path in volume.files} | {item.path for item in ignored}
    return images, files, told


def _names(volumes: Sequence[DicomVolume], folder: Path) -> tuple[dict[tuple[str, str], tuple[str, str]], list[str]]:
    """Return (patient, case) of each (PatientID, study), and what speaks against one person behind an ID."""
    studies: dict[tuple[str, str], list[DicomVolume]] = defaultdict(list)
    for volume in volumes:
        studies[volume.patient, volume.study].append(volume)
    by_patient: dict[str, list[tuple[str, tuple[str, str]]]] = defaultdict(list)
    people: dict[str, set[str]] = defaultdict(set)
    sites: dict[str, set[str]] = defaultdict(set)
    for key, members in studies.items():
        patient = re.sub(r'[\s/\\:*?"<>|]+', "_", "".join(c if c.isprintable() else "_" for c in key[0])).strip("._ ")
        if not patient:
            place = Path(commonpath([path.parent for volume in members for path in volume.files]))
            parts = place.relative_to(folder).parts
            patient, _ = name_case(parts, "", folder.resolve().name, root_is_patient=not parts)
        first = min((word(v.tags, "StudyDate") + word(v.tags, "StudyTime") for v in members), default="")
        by_patient[patient].append((first, key))
        people[patient] |= {v.person for v in members} - {""}
        sites[patient] |= {v.site for v in members} - {""}
    names = {}
    told = []
    for patient, dated in by_patient.items():
        for count, (_, key) in enumerate(sorted(dated), start=1):
            names[key] = (patient, f"{patient}-{count}" if len(dated) > 1 else patient)
        for kinds, what in ((people, "birth dates or sexes"), (sites, "institutions")):
            if len(kinds[patient]) > 1:
                told.append(
                    f"PatientID {patient} stands with {len(kinds[patient])} {what}: taken for one person; if these are "
                    "several, give them names of their own in the found table"
                )
    return names, told


def _of_a_head(volume: DicomVolume, guess: Guess) -> Guess:
    """Return what a volume is, but ask where it is larger than a head."""
    _, low, high = volume.extent_mm
    size = max(high - low, 0.8 * volume.in_plane_mm)
    if guess.contrast is None or size <= WHOLE_HEAD_MM:
        return guess
    return Guess(None, f"{UNSURE}{guess.reason}; but it reaches over {size:.0f} mm: more than a head?")


def _after_agent(volumes: Sequence[DicomVolume], guesses: Sequence[Guess]) -> list[Guess]:
    """Return the guesses; a T1 or CT that says nothing of an agent is none before it where one was given earlier.

    The tag (0018,0010) is often left empty in the series after the injection; only words like "pre" then say that there
    was none.
    """
    given: dict[str, float] = {}
    silent: list[bool] = []
    for volume in volumes:
        votes = agent_votes(volume.tags)
        silent.append(not votes)
        moment = _moment_s(volume.tags)
        if votes and moment is not None and judge_agent(votes).contrast == GIVEN:
            given[volume.study] = min(moment, given.get(volume.study, moment))
    judged = []
    for volume, guess, unsaid in zip(volumes, guesses, silent, strict=True):
        moment = _moment_s(volume.tags)
        later = moment is not None and moment > given.get(volume.study, moment)
        if guess.contrast in ("t1", "ct") and unsaid and later:
            asked = "it was acquired after one with agent: before or after contrast agent?"
            guess = Guess(None, f"{UNSURE}{guess.reason}; but {asked}")
        judged.append(guess)
    return judged


def _moment_s(tags: Mapping[str, Any]) -> float | None:
    """Return when a volume was acquired in seconds, by the scanner's own date and time: studies go on over midnight."""
    for which in ("Acquisition", "Series"):
        match = re.fullmatch(r"(\d{2})(\d{2})(\d{2})?(\.\d+)?", word(tags, f"{which}Time").partition("\\")[0])
        if match is None:
            continue
        hours, minutes, seconds = (int(part or 0) for part in match.groups()[:3])
        date = word(tags, f"{which}Date") or word(tags, "StudyDate")
        try:
            day = datetime.strptime(date[:8], "%Y%m%d").toordinal()
        except ValueError:
            day = 0
        return 86400.0 * day + 3600.0 * hours + 60.0 * minutes + seconds
    return None


def _field_strength(volume: DicomVolume) -> dict[str, float]:
    """Return the field strength in tesla; some scanners write gauss."""
    field = number(volume.tags, "MagneticFieldStrength")
    if field is None or field <= 0:
        return {}
    return {"b0_tesla": field / 1e4 if field > 100 else field}


def _traits(volume: DicomVolume, guess: Guess) -> dict[str, float]:
    """Return what a choice between two series of one contrast looks at (`pick.CRITERIA`)."""
    kinds = [kind.upper() for kind in values(volume.tags, "ImageType")]
    text = normalise(f"{volume.description} {word(volume.tags, 'ConvolutionKernel')}")
    words = list(agent_by_words(volume.description, ""))
    axis, low, high = volume.extent_mm
    traits = {
        "without_agent": float(not any(vote.answer == GIVEN for vote in words)),
        "original": float("DERIVED" not in kinds),
        "acquired": float(not says(REFORMATTED, text) and not {"MPR", "REFORMATTED"} & set(kinds)),
        "trace": float(volume.trace),
        "corrected": float(max((2 * (k == "DIS3D") + (k == "DIS2D") for k in kinds), default=0)),
        "voxels": float(volume.shape[0] * volume.shape[1] * volume.shape[2]),
        "axis": float(axis),
        "low_mm": low,
        "high_mm": high,
    }
    if high > low:
        traits["coverage_mm"] = high - low
    if word(volume.tags, "Modality") == "CT":
        traits["soft"] = float(not says(BONE, text))
    if guess.contrast in ("t1", "ct"):
        traits["says_native"] = float(any(vote.answer == NONE for vote in agent_votes(volume.tags)))
        if (moment := _moment_s(volume.tags)) is not None:
            traits["moment_s"] = moment
    return traits
