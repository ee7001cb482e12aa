"""Whose image it is: patient and examination by folders and names, and one person under several spellings.

Where two readings are possible the one is taken that calls images those of one person: a person in two splits makes
results wrong, two persons taken for one only make a cohort smaller. What was concluded is told (`describe_people`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from mrsynth.index.corrections import IGNORE, Found
from mrsynth.index.names import spelt
from mrsynth.io.cohort import patient_of

_DATE = r"(?:19|20)\d\d[-_. ]?[01]\d[-_. ]?[0-3]\d(?:[-_. T]\d+)?|[0-3]?\d[-_. ][01]?\d[-_. ](?:19|20)\d\d"

_VISIT = (
    r"(?:ses|sess|session|visit|vis|time|timepoint|tp|scan|exam|examination|study|run|acq|day|week|month|year|mr|date|visite|besuch"
    r"|zeitpunkt|zp|fu|follow[-_ ]?up|y|m|w|d|v)[-_ ]?\d{1,8}[a-z]?"
)

_MOMENT = (
    r"baseline|bl|followup|follow[-_ ]up|fu|preop|postop|pre[-_]op|post[-_]op|pre|post|before|after|initial"
    r"|first|second|third"
    r"|last|screening|early|late|recurrence|progression|prior|current"
)

TIMEPOINT = re.compile(
    r"(?:ses|sess|session|visit|visite|besuch|time|timepoint|tp|scan|exam|run|day|week|month|year|fu)[-_ ]?\d+[a-z]?"
    rf"|{_DATE}",
    re.I,
)
"""Folders of visits: visit2, ses-1, 2019-03-07, 07.03.2019."""

_VISIT_IN_NAME = re.compile(rf"[\W_]+(?:{_VISIT}|{_MOMENT}|{_DATE})(?=$|[\W_])", re.I)
"""A visit inside what stands before the contrast: P01_ses1, P01_2019-03-07, anna_followup."""

_REPEAT = re.compile(
    r"((?:sub|subj|subject|pat|patient|case|proband|pid|id|p|s)[-_ ]?\d+)(?:[-_ ]\d{1,2}|[-_ ]?[a-d])"
    r"|(\d+|[a-z]+[-_]?(?!(?:19|20)\d\d[-_])\d{3,})[-_]\d{1,2}",
    re.I,
)
"""A patient and the number or letter of a visit: P01_1, P01a."""

PATIENT = re.compile(r"sub-[^\W_]+|(sub|subj|subject|pat|patient|case|proband|pid|id|p|s)[-_ ]?\d\w*", re.I)
"""Folders that are named as patients are."""

NO_PATIENT = re.compile(
    r"raw|orig|original|native|nativ|atlas|mni|bet|brain|stripped|skullstripped|skull|preprocessed|"
    r"processed|prep|proc|registered|reg|coreg|coregistered|resampled|normalized|nifti|nii|dicom|dcm|"
    r"anat|dwi|func|perf|fmap|images|image|img|imgs|labels|label|masks|mask|seg|segmentation|scans|"
    r"scan|data|mr|mri|mrs|ct|train|training|val|validation|test|testing|hgg|lgg|rawdata|"
    r"sourcedata|derivatives|pre|post|preop|postop|baseline|followup"
)
"""Words that name no patient: folders made of these say what was done to images, or which part of a set they are."""


def names_no_patient(name: str) -> bool:
    """Say whether a folder's name is only words that name no patient (raw, atlas_bet, train, T1, visit2)."""
    words = re.findall(r"[^\W_]+", name.lower())
    return bool(TIMEPOINT.fullmatch(name)) or all(
        NO_PATIENT.fullmatch(word) or spelt(word) is not None for word in words
    )


def names_a_case(prefix: str) -> bool:
    """Say whether what stands before the contrast in a file name is a case of its own (it has a number)."""
    return bool(re.search(r"\d", prefix)) and not TIMEPOINT.fullmatch(prefix)


def is_series_number(prefix: str) -> bool:
    """Say whether what stands before the contrast may be the number that a converter gave a series (5_t1_mprage)."""
    return prefix.isdecimal() and len(prefix) <= 4


def person_of(name: str) -> str:
    """Return the person that the name of a case belongs to: without its visit (P01_ses1, P01_2019-03-07, P01_2 →
    P01)."""
    person = patient_of(name)
    if person != name:
        return person
    visit = _VISIT_IN_NAME.search(name)
    if visit is not None and re.search(r"[^\W_]", name[: visit.start()]):
        return re.sub(r"[\W_]+$", "", name[: visit.start()])
    repeat = _REPEAT.fullmatch(name)
    return (repeat.group(1) or repeat.group(2)) if repeat else name


def name_case(parts: tuple[str, ...], prefix: str, root: str, root_is_patient: bool) -> tuple[str, str]:
    """Return (patient, case) of the images in a folder.

    A prefix with a digit in it names both, unless it is a series' number below a patient's folder. Else the topmost
    folder that is named as a patient is, or that has a digit and is no visit, is the patient, and the case is the path
    from there on: TCGA-FG-6692/raw → TCGA-FG-6692, TCGA-FG-6692-raw.

    Args:
        parts: The folders from the root to the images.
        prefix: What stands before the contrast in the file's name.
        root: The name of the folder that was given.
        root_is_patient: Whether its name stands in front, as it does where no folder below names a patient.
    """
    named = [i for i, part in enumerate(parts) if PATIENT.fullmatch(part) and not TIMEPOINT.fullmatch(part)]
    numbered = [i for i, part in enumerate(parts) if re.search(r"\d", part) and not TIMEPOINT.fullmatch(part)]
    visits = [part for part in parts if TIMEPOINT.fullmatch(part)]
    if is_series_number(prefix) and (named or visits or root_is_patient):
        prefix = ""
    if names_a_case(prefix):
        above = [parts[i] for i in named or numbered if PATIENT.fullmatch(parts[i])]
        if (
            above
            and not re.match(re.escape(person_of(prefix)), above[0], re.I)
            and not PATIENT.fullmatch(person_of(prefix))
        ):
            return person_of(above[0]), "-".join([*parts[parts.index(above[0]) :], prefix])
        return person_of(prefix), prefix
    wordless = all(map(names_no_patient, parts))
    if wordless and not root_is_patient and prefix and not names_no_patient(prefix):
        return person_of(prefix), prefix
    if not parts and not root_is_patient:
        return (prefix, prefix) if prefix else (person_of(root), root)
    if root_is_patient:
        parts = (root, *parts)
        named, numbered = [0], []
    worded = [i for i, part in enumerate(parts) if not names_no_patient(part)]
    top = (named or numbered or worded or [0])[0]
    below = [*parts[top:], *([prefix] if prefix and prefix != parts[-1] else [])]
    return person_of(parts[top]), "-".join(below)


def one_name_a_person(images: Sequence[Found]) -> tuple[list[Found], list[str]]:
    """Return the images with one spelling for each patient, and what was joined, in words.

    IDs that differ by case, separators or leading zeros alone (P01, p1, P_001) are those of one person.
    """
    spellings: dict[str, list[str]] = defaultdict(list)
    for image in images:
        if image.patient and image.patient not in (same := spellings[_key(image.patient)]):
            same.append(image.patient)
    told: list[str] = []
    name: dict[str, str] = {}
    for same in spellings.values():
        name |= dict.fromkeys(same, same[0])
        if len(same) > 1:
            told.append(f"{', '.join(same)} are taken for one person, {same[0]}: they differ by case or zeros alone")
    joined = [replace(image, patient=name.get(image.patient, image.patient)) for image in images]
    return joined, told


def _key(patient: str) -> str:
    """Return what is equal for the spellings of one ID."""
    runs = re.findall(r"\d+|[^\W\d_]+", patient.casefold())
    kept = [run.lstrip("0") or "0" if run.isdecimal() else run for run in runs]
    return "".join(b if not (a.isdecimal() and b.isdecimal()) else f"-{b}" for a, b in pairwise(["", *kept])) or patient


def describe_people(images: Sequence[Found], most: int = 6) -> Iterator[str]:
    """Yield which examinations were taken for those of one person, for the user to see a wrong grouping at once.

    Args:
        images: Every image, used or not.
        most: How many patients are named.
    """
    cases: dict[str, list[str]] = defaultdict(list)
    for image in images:
        if image.contrast != IGNORE and image.case not in cases[image.patient]:
            cases[image.patient].append(image.case)
    several = {patient: sorted(names) for patient, names in sorted(cases.items()) if len(names) > 1}
    if not several:
        yield "each case is taken for a person of its own"
        return
    for patient, names in list(several.items())[:most]:
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        yield f"{patient} is one person with {len(names)} cases: {', '.join(names[:6])}{more}"
    if len(several) > most:
        yield f"and {len(several) - most} more persons with several cases"
