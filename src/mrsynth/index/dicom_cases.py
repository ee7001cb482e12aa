"""DICOM below a folder: volumes put into studies (cases) of patients, each with its contrast and the reason."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from os.path import commonpath
from pathlib import Path
from typing import TYPE_CHECKING

from mrsynth.index.corrections import IGNORE, Found
from mrsynth.index.names import name_case
from mrsynth.index.recognise import AGENT, Guess, guess_by_tags, normalise, number, says, values, word

if TYPE_CHECKING:
    from mrsynth.io.dicom.scan import DicomVolume

REFORMATTED = r"mpr|reformat\w*|refor|reconstruct\w*|cor reform\w*|multiplanar\w*"

BONE = r"bone|knochen|os|osseux|hueso|osso|sharp|h6\d\w*|h7\d\w*"
"""Words of CT reconstructions for bone."""


def find_studies(folder: Path) -> tuple[list[Found], set[Path]]:
    """Return the DICOM volumes below a folder, used or not, and every file that is DICOM.

    The patient is PatientID, or what the folders say where it is empty; the case is the study, numbered by date where
    a patient has several. Raises InputError if the folder cannot be read.
    """
    from mrsynth.io.dicom.scan import scan_dicom

    volumes, ignored = scan_dicom(folder)
    guesses = _wary_of_agent(volumes, [guess_by_tags(v.tags, v.b_s_mm2) for v in volumes])
    names = _names(volumes, folder)
    found = [
        Found(
            volume.locator,
            *names[volume.patient, volume.study],
            guess.contrast or IGNORE,
            guess.reason,
            _known(volume),
            _traits(volume),
        )
        for volume, guess in zip(volumes, guesses, strict=True)
    ]
    found += [Found(item.path, "", "", IGNORE, item.reason) for item in ignored]
    return found, {path for volume in volumes for path in volume.files} | {item.path for item in ignored}


def _names(volumes: Sequence[DicomVolume], folder: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (patient, case) of each (PatientID, study)."""
    studies: dict[tuple[str, str], list[DicomVolume]] = defaultdict(list)
    for volume in volumes:
        studies[volume.patient, volume.study].append(volume)
    by_patient: dict[str, list[tuple[str, tuple[str, str]]]] = defaultdict(list)
    for key, members in studies.items():
        patient = re.sub(r'[\s/\\:*?"<>|]+', "_", "".join(c if c.isprintable() else "_" for c in key[0])).strip("._ ")
        if not patient:
            place = Path(commonpath([path.parent for volume in members for path in volume.files]))
            parts = place.relative_to(folder).parts
            patient, _ = name_case(parts, "", folder.resolve().name, root_is_patient=not parts)
        first = min((word(v.tags, "StudyDate") + word(v.tags, "StudyTime") for v in members), default="")
        by_patient[patient].append((first, key))
    names = {}
    for patient, dated in by_patient.items():
        for count, (_, key) in enumerate(sorted(dated), start=1):
            names[key] = (patient, f"{patient}-{count}" if len(dated) > 1 else patient)
    return names


def _wary_of_agent(volumes: Sequence[DicomVolume], guesses: Sequence[Guess]) -> list[Guess]:
    """Take no T1 for one before contrast agent that was acquired after an agent was given in the same study.

    The tag (0018,0010) is often left empty; only words like "pre" then say that there was none.
    """
    given: dict[str, float] = {}
    for volume, guess in zip(volumes, guesses, strict=True):
        time = _time(volume)
        if guess.contrast == "t1ce" and time is not None:
            given[volume.study] = min(time, given.get(volume.study, time))
    wary = []
    for volume, guess in zip(volumes, guesses, strict=True):
        time = _time(volume)
        unsaid = guess.contrast == "t1" and "no agent given" in guess.reason
        if unsaid and time is not None and time > given.get(volume.study, time):
            reason = f"{guess.reason}, but it was acquired after one with agent: before or after contrast agent?"
            guess = Guess(None, reason)
        wary.append(guess)
    return wary


def _time(volume: DicomVolume) -> float | None:
    """Return when a volume was acquired, in the scanner's own HHMMSS, which grows through a study."""
    for key in ("AcquisitionTime", "SeriesTime"):
        if (time := number(volume.tags, key)) is not None:
            return time
    return None


def _known(volume: DicomVolume) -> dict[str, float]:
    """Return the field strength in tesla; some scanners write gauss."""
    field = number(volume.tags, "MagneticFieldStrength")
    if field is None or field <= 0:
        return {}
    return {"b0_tesla": field / 1e4 if field > 100 else field}


def _traits(volume: DicomVolume) -> dict[str, float]:
    """Return what a choice between two series of one contrast looks at (`choose.CRITERIA`)."""
    kinds = [kind.upper() for kind in values(volume.tags, "ImageType")]
    text = normalise(f"{volume.description} {word(volume.tags, 'ConvolutionKernel')}")
    traits = {
        "without_agent": float(not says(AGENT, text)),
        "original": float("DERIVED" not in kinds),
        "acquired": float(not says(REFORMATTED, text) and not {"MPR", "REFORMATTED"} & set(kinds)),
        "trace": float(volume.trace),
        "corrected": float(max((2 * (k == "DIS3D") + (k == "DIS2D") for k in kinds), default=0)),
    }
    if word(volume.tags, "Modality") == "CT":
        traits["soft"] = float(not says(BONE, text))
    columns, rows, slices = volume.shape
    traits["voxels"] = columns * rows * slices
    if step := number(volume.tags, "SpacingBetweenSlices") or number(volume.tags, "SliceThickness"):
        traits["coverage_mm"] = step * slices
    return traits
