"""What was found below a folder: every image seen, used or not, with the reason; a table that the user may correct."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mrsynth.core.errors import CohortError
from mrsynth.core.files import NOTHING, kind_of, why_unsafe, write_text
from mrsynth.core.files import absolute as absolute_folder
from mrsynth.core.settings import nearest
from mrsynth.core.types import CONTRASTS, MASKS, image_name, in_order, is_contrast
from mrsynth.io.cells import read_cells
from mrsynth.io.locator import absolute, relative_text, split_locator
from mrsynth.io.synthetic import why_synthetic
from mrsynth.io.walk import Ignored

IGNORE = "ignore"
"""In the place of a contrast: the image is not used."""

COLUMNS = ("path", "patient", "case", "contrast", "reason")

GUESSED = ("found_patient", "found_case", "found_contrast")
"""The last columns of the table: what was found. Where the first ones differ from them, the user has corrected."""


@dataclass(frozen=True)
class Found:
    """One image seen.

    Attributes:
        path: file, or one volume of a file or folder (`locator`).
        patient, case: whose image it is.
        contrast: that of the image, a mask's name, or IGNORE.
        reason: why, in words.
        known: b0_tesla, dose, split and other columns of its case.
        traits: what a choice between two images of one contrast looks at (`choose`).
        guess: patient, case and contrast as they were found where the user says otherwise.
    """

    path: Path
    patient: str
    case: str
    contrast: str
    reason: str
    known: Mapping[str, Any] = field(default_factory=dict)
    traits: Mapping[str, float] = field(default_factory=dict)
    guess: tuple[str, str, str] | None = None

    def says(self) -> tuple[str, str, str]:
        """Return patient, case and contrast, as a table holds them."""
        return self.patient.strip(), self.case.strip(), self.contrast

    def unused(self, reason: str) -> Found:
        """Return the same image, left out for a reason."""
        return replace(self, contrast=IGNORE, reason=reason)


@dataclass(frozen=True)
class FoundCase:
    """One examination found on disk.

    Attributes:
        patient, case: their names.
        files: contrast or mask name → path.
        metadata: what is known of it.
    """

    patient: str
    case: str
    files: Mapping[str, Path]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def cases_of(found: Iterable[Found]) -> list[FoundCase]:
    """Return the cases of the images in use, sorted by name."""
    groups: dict[tuple[str, str], dict[str, Found]] = defaultdict(dict)
    for image in found:
        if image.contrast != IGNORE:
            groups[image.case, image.patient][image.contrast] = image
    cases = []
    for (case, patient), images in sorted(groups.items()):
        ordered = [images[name] for name in in_order(images)]
        # What one image says and another contradicts is not known.
        said: dict[str, list[Any]] = defaultdict(list)
        for image in ordered:
            for key, value in image.known.items():
                said[key] += [value] if value not in said[key] else []
        metadata = {key: values[0] for key, values in said.items() if len(values) == 1}
        cases.append(FoundCase(patient, case, {image.contrast: image.path for image in ordered}, metadata))
    return cases


def found_table(cohort: Path) -> Path:
    """Return where the found table of a cohort table stands: cohort.csv → cohort.found.csv."""
    return cohort.with_name(cohort.stem + ".found.csv")


def write_found(found: Sequence[Found], path: Path) -> None:
    """Write the found table as CSV, one line an image.

    Args:
        found: Every image seen.
        path: The table to write.

    Raises:
        OutputError: It cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow((*COLUMNS, *GUESSED))
    folder = absolute_folder(path.parent)
    for image in found:
        said = (image.patient, image.case, image.contrast)
        table.writerow([relative_text(image.path, folder), *said, image.reason, *(image.guess or said)])
    write_text(path, text.getvalue())


def correct(found: Sequence[Found], path: Path) -> list[Found]:
    """Return the images as a found table says that you have edited.

    A cell that you changed counts more than what is found. A cell that you left is filled anew: a patient's new
    examination may give the others new names. You may add lines for images that were not found (one volume of a 4-D
    file). An image that is new in the folder does not replace one that you put into its place.

    Args:
        found: The images below the folder, as they are found now.
        path: The found table.

    Raises:
        InputError: The table cannot be read.
        CohortError: A contrast does not exist, a file is gone, an image in use is synthetic or has no patient or case,
            or two images of a case are to be the same contrast; the line is named.
    """
    by_path = {absolute(image.path): image for image in found}
    lines: dict[tuple[str, str], int] = {}
    listed: set[Path] = set()
    for line, cells in _lines(path):
        where = f"{path}, line {line}"
        place = absolute(path.parent / cells["path"])
        contrast = _contrast(cells["contrast"], where)
        before = by_path.get(place)
        listed.add(place)
        said = (cells["patient"], cells["case"], contrast)
        if before is not None:
            was = tuple(cells.get(column) for column in GUESSED)
            said = _merged(said, was, before.says())
        else:
            if kind_of(split_locator(place)[0]) not in ("a file", "a folder"):
                raise CohortError(f"{where}: there is no such image.", found=cells["path"], do="remove the line")
            before = Found(place, "", "", IGNORE, "not found by mrsynth index")
        if said != before.says():
            reason = f"as the found table says (before: {before.reason})"
            guess, (patient, case, contrast) = before.says() if place in by_path else ("", "", ""), said
            before = replace(before, patient=patient, case=case, contrast=contrast, reason=reason, guess=guess)
        by_path[place] = before
        if before.contrast == IGNORE:
            continue
        _require_acquired(place, cells["path"], where)
        if not before.patient or not before.case:
            raise CohortError(
                f"{where}: the image has no patient or no case.", found=cells["path"], do="fill both columns"
            )
        if problem := why_unsafe(before.case):
            raise CohortError(f"{where}: {before.case!r} cannot name a case.", found=problem, do="give it another name")
        if first := lines.get((before.case, before.contrast)):
            raise CohortError(
                f"{where}: {before.case} has a {before.contrast} already.",
                found=f"line {first}",
                do=f"write {IGNORE} in one of the two lines",
            )
        lines[before.case, before.contrast] = line
    for place, image in by_path.items():
        name = image.contrast
        if place not in listed and (number := lines.get((image.case, name))):
            why = f"line {number} of the found table gives another {name} to {image.case}"
            by_path[place] = replace(image.unused(why), guess=image.says())
    return list(by_path.values())


def _merged(said: tuple[str, str, str], was: tuple[str | None, ...], now: tuple[str, str, str]) -> tuple[str, str, str]:
    """Return what a line means: what the user said where it is not what was found then, else what is found now."""
    patient, case, contrast = (s if s != w else n for s, w, n in zip(said, was, now, strict=True))
    return patient, case, contrast


def first_correction(path: Path) -> str | None:
    """Return the first line of a found table that a user has changed or added, None where there is none. One about an
    image that is gone is no correction. Raises InputError or CohortError where the file is no found table."""
    for number, cells in _lines(path):
        said, was = ([cells.get(column, "") for column in columns] for columns in (COLUMNS[1:4], GUESSED))
        there = kind_of(split_locator(absolute(path.parent / cells["path"]))[0]) != NOTHING
        if said != was and there and (any(was) or said[2] != IGNORE):
            return f"line {number}: {', '.join(said)} for {cells['path']}"
    return None


def _contrast(text: str, where: str) -> str:
    """Return the contrast, mask or IGNORE that a cell means."""
    name = image_name(text) if text.lower() not in ("", IGNORE) else IGNORE
    if name is None:
        raise CohortError(
            f"{where}: '{text}' is neither a contrast nor a mask.",
            expected=f"one of {', '.join((*CONTRASTS, *MASKS))}, dwi_b<b-value>, or {IGNORE}",
            do=nearest(text, [*CONTRASTS, *MASKS, IGNORE]),
        )
    return name


def _require_acquired(place: Path, shown: str, where: str) -> None:
    """Raise CohortError if a model made the image, also where its line was right once: it was written over since."""
    if why := why_synthetic(place):
        raise CohortError(
            f"{where}: {shown} is a synthetic image, not a scan.",
            found=why,
            expected="an acquired image",
            do=f"write {IGNORE} in its line",
        )


def _lines(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the table's lines as mappings, with their numbers."""
    table = read_cells(path, "a found table", "the cohort.found.csv that mrsynth index writes", short=True)
    names = [column.lower() for column in table.header]
    if missing := [column for column in COLUMNS[:4] if column not in names]:
        raise CohortError(
            f"{path}: is not a found table.", found=f"no column {missing[0]}", expected=", ".join(COLUMNS)
        )
    return [(line, dict(zip(names, cells, strict=True))) for line, cells in table.rows]


def without_unsafe_names(found: Iterable[Found]) -> list[Found]:
    """Return the images; those of a case whose name cannot be that of a folder of results are IGNORE."""
    return [
        image.unused(f"its case {image.case!r} cannot name results ({problem}): rename it, or correct the found table")
        if image.contrast != IGNORE and (problem := why_unsafe(image.case))
        else image
        for image in found
    ]


def described(found: Iterable[Found]) -> list[Ignored]:
    """Return the images that are not used, as things left out."""
    return [Ignored(image.path, image.reason) for image in found if image.contrast == IGNORE]


def has_image(found: Iterable[Found]) -> bool:
    """Say whether any of them is an image in use (and not a mask)."""
    return any(is_contrast(image.contrast) for image in found)
