"""Finds cases below a folder: BraTS and BIDS names, one folder a case, flat folders, phantom cohorts (case.json)."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mrsynth.errors import InputError
from mrsynth.io.nifti import is_nifti
from mrsynth.types import MASKS, image_name, in_order, is_contrast

CASE_FILE = "case.json"
"""Metadata beside the images of a case: patient, case, split, b0_tesla, dose, what was drawn for a phantom."""

_TARGET_OF = frozenset({"to", "space", "in"})
"""After these words a file name says where the image was registered to, not what it is (T1w_space-T2w)."""

_TIMEPOINT = re.compile(r"(ses|session|visit|time|timepoint|tp|scan|exam|run|day|week|month|year)[-_]?\d+", re.I)


@dataclass(frozen=True)
class FoundCase:
    """One examination found on disk. files: contrast or mask name → path; metadata: what case.json says."""

    patient: str
    case: str
    files: Mapping[str, Path]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ignored:
    """Something below the folder that no case uses, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def find_cases(folder: Path) -> tuple[list[FoundCase], list[Ignored]]:
    """Return the cases below a folder, sorted by name, and what was left out with the reason.

    A file belongs to the case of its folder and of the part of its name before the contrast. Two files of one case that
    mean the same contrast are both left out. Raises InputError if there is no such folder or no NIfTI image in it.
    """
    files = _files(folder)
    ignored = _not_images(files, folder)
    groups: dict[tuple[Path, str], dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in files:
        if not is_nifti(path):
            continue
        name, prefix = parse_name(path)
        if name is None:
            ignored.append(Ignored(path, prefix))
        else:
            groups[_group_of(path, prefix)][name].append(path)
    cases = []
    for (place, prefix), names in groups.items():
        ignored += [
            Ignored(path, f"{' and '.join(p.name for p in paths)} both mean {name}: keep one of them")
            for name, paths in names.items()
            if len(paths) > 1
            for path in paths
        ]
        single = {name: names[name][0] for name in in_order(names) if len(names[name]) == 1}
        metadata, problem = read_case_file(place)
        ignored += [problem] if problem else []
        patient, case = _names(place.relative_to(folder).parts, prefix, folder.resolve().name)
        patient, case = str(metadata.get("patient", patient)), str(metadata.get("case", case))
        if any(is_contrast(name) for name in single):
            cases.append((place, FoundCase(patient, case, single, metadata)))
        else:
            ignored += [Ignored(path, "a mask without an image beside it") for path in single.values()]
    if not cases:
        raise _nothing(folder, files, ignored)
    return sorted(_distinct(cases, folder), key=lambda c: c.case), sorted(ignored, key=lambda i: str(i.path))


def parse_name(path: Path) -> tuple[str | None, str]:
    """Return (contrast or mask, what stands before it in the file name), or (None, the reason) where none is found.

    The name is split where it is not alphanumeric and read from the right: 113-02-MPRAGE_processed_reg → t1, "113-02".
    A bare `brain` after a contrast is ambiguous (a stripped image or its mask) and refused.
    """
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.I)
    spans = [(m.start(), m.group()) for m in re.finditer(r"[^\W_]+", stem)]
    known: list[tuple[int, str]] = []
    for i, (start, token) in enumerate(spans):
        if i > 0 and spans[i - 1][1].lower() in _TARGET_OF:
            continue
        pair = image_name(f"{spans[i - 1][1]}_{token}") if i > 0 else None
        name = pair or image_name(token)
        if name is None:
            continue
        if token.lower() in ("mask", "msk") and known and known[-1][1] in MASKS:
            name = known[-1][1]  # lesion_mask is a lesion, not a brain
        known.append((spans[i - 1][0] if pair else start, name))
        if token.lower() == "brain" and len(known) > 1 and is_contrast(known[-2][1]):
            known[-1] = (start, "?")
    if not known:
        return None, "no word of its name is a contrast or a mask"
    name = known[-1][1]
    if name == "?":
        return None, f"may be a stripped {known[-2][1]} or a brain mask: rename it (…_{known[-2][1]} or …_brain_mask)"
    # Known words that end what stands before (t1_seg, lesion_mask) name no case.
    first = known[-1][0]
    for start, _ in reversed(known[:-1]):
        if not [s for s, _ in spans if start < s < first]:
            first = start
    return name, re.sub(r"[\W_]+$", "", stem[:first])


def patient_of(name: str) -> str:
    """Return the patient that a case name belongs to.

    sub-X_ses-Y → sub-X (BIDS), BraTS-GLI-00000-001 → BraTS-GLI-00000 (the last group is the time point), 113-02 → 113
    (subject and scan of Kirby 21); any other name is its own patient.
    """
    for pattern in (r"(sub-[^\W_]+)", r"(BraTS-[A-Za-z]+-\d+)-\d{3}$", r"(\d+)-\d{1,2}$"):
        if found := re.match(pattern, name, flags=re.I):
            return found.group(1)
    return name


def read_case_file(folder: Path) -> tuple[dict[str, Any], Ignored | None]:
    """Return what a case.json in the folder says, {} where there is none, with a problem where it cannot be read."""
    path = folder / CASE_FILE
    if not path.is_file():
        return {}, None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return {}, Ignored(path, f"not readable as JSON ({error})")
    if not isinstance(content, dict):
        return {}, Ignored(path, "holds no JSON object")
    return content, None


def _files(folder: Path) -> list[Path]:
    """Return all files below the folder; links to folders are followed once."""
    if not folder.is_dir():
        raise InputError(
            f"{folder}: is not a folder.",
            found="a file" if folder.exists() else "nothing there",
            expected="a folder with NIfTI images",
        )
    files, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            files += [Path(place) / name for name in sorted(names) if not name.startswith(".")]
        seen.add(real)
    return files


def _not_images(files: Sequence[Path], folder: Path) -> list[Ignored]:
    """Return one entry a folder and suffix for files that are no NIfTI images."""
    others = [p for p in files if not is_nifti(p) and p.name != CASE_FILE]
    if folder / "cohort.csv" in others:
        others.remove(folder / "cohort.csv")
    counts = Counter((p.parent, p.suffix.lower()) for p in others)
    return [
        Ignored(place, f"{n} file{'s' * (n > 1)} {suffix or 'without suffix'}: no NIfTI")
        for (place, suffix), n in counts.items()
    ]


def _group_of(path: Path, prefix: str) -> tuple[Path, str]:
    """Return what files of one case share: folder and prefix; for BIDS the folder above sub-X, and sub-X[_ses-Y]."""
    bids = re.match(r"(sub-[^\W_]+)(_ses-[^\W_]+)?", prefix)
    if not bids:
        return path.parent, prefix
    parents = [p for p in path.parents if p.name == bids.group(1)]
    return (parents[0].parent if parents else path.parent), bids.group(0)


def _names(parts: tuple[str, ...], prefix: str, root: str) -> tuple[str, str]:
    """Return (patient, case) of a case in the folder `parts` below the root.

    A prefix with a digit in it names both. Else the topmost folder with a digit that is no time point is the patient,
    and the case is the path from there on: TCGA-FG-6692/raw → TCGA-FG-6692, TCGA-FG-6692-raw.
    """
    if re.search(r"\d", prefix) and not _TIMEPOINT.fullmatch(prefix):
        return patient_of(prefix), prefix
    if not parts:
        return (prefix, prefix) if prefix else (patient_of(root), root)
    ids = [i for i, part in enumerate(parts) if re.search(r"\d", part) and not _TIMEPOINT.fullmatch(part)]
    top = ids[0] if ids else 0
    below = [*parts[top:], *([prefix] if prefix and prefix != parts[-1] else [])]
    return patient_of(parts[top]), "-".join(below)


def _distinct(cases: Sequence[tuple[Path, FoundCase]], folder: Path) -> list[FoundCase]:
    """Put the path in front of names that several cases share."""
    counts = Counter(found.case for _, found in cases)
    distinct = []
    for place, found in cases:
        parts = place.relative_to(folder).parts
        if counts[found.case] > 1:
            own = any("-".join(parts[i:]) == found.case for i in range(len(parts)))
            found = replace(found, case="-".join(parts if own else [*parts, found.case]))
        distinct.append(found)
    return distinct


def _nothing(folder: Path, files: Sequence[Path], ignored: Sequence[Ignored]) -> InputError:
    """Return the error for a folder without a case."""
    shown = "; ".join(str(i) for i in ignored[:5])
    return InputError(
        f"{folder}: no case found.",
        found=shown if files else "an empty folder",
        expected="NIfTI images whose names say their contrast (t1, t1ce, t2, flair, BraTS and BIDS names, …)",
        do="give another folder, or write a CSV table by hand (columns patient, case, t1, t2, …)",
    )
