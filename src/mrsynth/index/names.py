"""What file and folder names say: the contrast of an image, its case, its patient."""

from __future__ import annotations

import re
from pathlib import Path

from mrsynth.core.types import MASKS, image_name, is_contrast
from mrsynth.index.recognise import Guess, guess_by_name
from mrsynth.io.cohort import patient_of
from mrsynth.io.sidecar import stem_of

TARGET_OF = frozenset({"to", "space", "in"})
"""After these words a file name says where the image was registered to, not what it is (T1w_space-T2w)."""

SPELLINGS = {
    "t1gad": "t1ce",
    "t1km": "t1ce",
    "t1wce": "t1ce",
    "t1cew": "t1ce",
    "t1wgd": "t1ce",
    "t1c+": "t1ce",
    "t1+c": "t1ce",
    "3dt1": "t1",
    "t13d": "t1",
    "t1mprage": "t1",
    "bravo": "t1",
    "spgr": "t1",
    "fspgr": "t1",
    "3dt2": "t2",
    "3dflair": "flair",
    "flair3d": "flair",
    "t2flair": "flair",
    "segm": "lesion",
    "segmentation": "lesion",
    "lesions": "lesion",
    "gtv": "lesion",
}
"""Spellings of file names beside those of `types`, lower case; gtv and segm are BraTS's (2024, 2020)."""

TIMEPOINT = re.compile(
    r"(ses|session|visit|time|timepoint|tp|scan|exam|run|day|week|month|year)[-_ ]?\d+"
    r"|(19|20)\d\d[-_. ]?[01]\d[-_. ]?[0-3]\d([-_. T]\d+)?|[0-3]?\d[-_. ][01]?\d[-_. ](19|20)\d\d",
    re.I,
)
"""Folders of visits: visit2, ses-1, 2019-03-07, 07.03.2019."""

PLANE = re.compile(
    r"([\W_]+|^)(ax|axial|sag|sagittal|cor|coronal|tra|trans|transversal|2d|3d|fs|se|tse|fse|gre)$", re.I
)
"""The last word before a contrast where it says how the image was acquired, not of whom."""

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


def parse_name(path: Path) -> tuple[Guess, str]:
    """Return what a file name says it is, and what stands before that (the case, perhaps).

    The name is split where it is not alphanumeric and read from the right: 113-02-MPRAGE_processed_reg → t1, "113-02".
    A bare `brain` after a contrast is ambiguous (a stripped image or its mask) and refused.
    """
    stem = stem_of(path)
    spans = [(m.start(), m.group()) for m in re.finditer(r"[^\W_]+(?:\+c?|(?<=1)\+c)?", stem, re.I)]
    known: list[tuple[int, str, str]] = []
    for i, (start, token) in enumerate(spans):
        if i > 0 and spans[i - 1][1].lower() in TARGET_OF:
            continue
        pair = spelt(f"{spans[i - 1][1]}_{token}") if i > 0 else None
        name = pair or spelt(token)
        if name is None:
            continue
        if token.lower() in ("mask", "msk") and known and known[-1][1] in MASKS:
            name = known[-1][1]  # lesion_mask is a lesion, not a brain
        said = f"{spans[i - 1][1]}_{token}" if pair else token
        known.append((spans[i - 1][0] if pair else start, name, said))
        if token.lower() == "brain" and len(known) > 1 and is_contrast(known[-2][1]):
            known[-1] = (start, "?", token)
    if not known:
        return Guess(None, "no word of its name is a contrast or a mask"), ""
    _, name, token = known[-1]
    # Known words that end what stands before (t1_seg, lesion_mask) name no case.
    first = known[-1][0]
    for start, *_ in reversed(known[:-1]):
        if not [s for s, _ in spans if start < s < first]:
            first = start
    prefix = re.sub(r"[\W_]+$", "", stem[:first])
    while PLANE.search(prefix):
        prefix = PLANE.sub("", prefix)
    if name == "?":
        what = known[-2][1]
        return Guess(None, f"may be a stripped {what} or a brain mask: rename it (…_{what} or …_brain_mask)"), prefix
    before = [word.lower() for start, word in spans if start < first]
    after = [word.lower() for start, word in spans if start >= first]
    return guess_by_name(name, token, before, after, [other for _, other, _ in known]), prefix


def spelt(word: str) -> str | None:
    """Return the contrast or mask that one word of a file name means, None where it means nothing."""
    return image_name(word) or SPELLINGS.get(word.lower())


def is_contrast_folder(name: str) -> bool:
    """Say whether a folder is named by a contrast (T1/, FLAIR/): it holds one image of a case, it is none."""
    meant = spelt(name)
    return meant is not None and is_contrast(meant)


def names_no_patient(name: str) -> bool:
    """Say whether a folder's name is only words that name no patient (raw, atlas_bet, train, T1, visit2)."""
    words = re.findall(r"[^\W_]+", name.lower())
    return bool(TIMEPOINT.fullmatch(name)) or all(
        NO_PATIENT.fullmatch(word) or spelt(word) is not None for word in words
    )


def names_a_case(prefix: str) -> bool:
    """Say whether what stands before the contrast in a file name is a case of its own (it has a number)."""
    return bool(re.search(r"\d", prefix)) and not TIMEPOINT.fullmatch(prefix)


def name_case(parts: tuple[str, ...], prefix: str, root: str, root_is_patient: bool) -> tuple[str, str]:
    """Return (patient, case) of the images in the folder `parts` below the root.

    A prefix with a digit in it names both. Else the topmost folder that is named as a patient is, or that has a digit
    and is no visit, is the patient, and the case is the path from there on: TCGA-FG-6692/raw → TCGA-FG-6692,
    TCGA-FG-6692-raw. root_is_patient: the root's name stands in front, as it does where no folder names a patient.
    """
    if names_a_case(prefix):
        return patient_of(prefix), prefix
    wordless = all(map(names_no_patient, parts))
    if wordless and not root_is_patient and prefix and not names_no_patient(prefix):
        return prefix, prefix
    if not parts and not root_is_patient:
        return (prefix, prefix) if prefix else (patient_of(root), root)
    if root_is_patient:
        parts = (root, *parts)
    named = [i for i, part in enumerate(parts) if PATIENT.fullmatch(part) and not TIMEPOINT.fullmatch(part)]
    numbered = [i for i, part in enumerate(parts) if re.search(r"\d", part) and not TIMEPOINT.fullmatch(part)]
    worded = [i for i, part in enumerate(parts) if not names_no_patient(part)]
    top = 0 if root_is_patient else (named or numbered or worded or [0])[0]
    below = [*parts[top:], *([prefix] if prefix and prefix != parts[-1] else [])]
    return patient_of(parts[top]), "-".join(below)
