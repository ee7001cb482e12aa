"""A folder of scans → a cohort: cases found, each contrast recognised, patients put into splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mrsynth.core.errors import InputError
from mrsynth.index.corrections import Found, cases_of, correct, without_unsafe_names
from mrsynth.index.labels import assume_conventions
from mrsynth.index.layouts import find_cases, find_images, left_out, require_images
from mrsynth.io.cohort import FRACTIONS, CaseRow, Cohort, parse_number, parse_split, require_sound, split_patients
from mrsynth.io.labels import COLUMN, convention_of
from mrsynth.io.locator import absolute
from mrsynth.io.walk import Ignored


@dataclass(frozen=True)
class IndexedCohort(Cohort):
    """A cohort that was found below a folder.

    Attributes:
        ignored: what was left out and why, to be shown to the user.
        found: every image seen, used or not.
        told: what was concluded about patients and lesion labels, in words.
    """

    ignored: tuple[Ignored, ...] = ()
    found: tuple[Found, ...] = ()
    told: tuple[str, ...] = ()


def index_folder(
    folder: Path,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    *,
    derivatives: Sequence[str] = (),
    corrections: Path | None = None,
    labels: str = "",
    workers: int = 1,
) -> IndexedCohort:
    """Find the cases below a folder and put their patients into splits.

    A case whose name could not be that of a folder (`files.safe_name`) is left out with the reason.

    Args:
        folder: Where to look.
        fractions: Shares of patients in train, val, test. Where every case.json names a split, these are taken.
        seed: Of the split.
        derivatives: Names of the BIDS derivatives to use.
        corrections: A found table whose word counts more than what was found.
        labels: The convention of all lesion masks (`io.labels`); "" to assume it by names and labels.
        workers: Processes that look into many DICOM files.

    Raises:
        InputError: There is no case, or no such convention.
        CohortError: Two cases share a name, or the found table is wrong.
    """
    given = convention_of(labels, "--labels") if labels else ""
    intake = find_images(folder, derivatives, workers)
    intake = replace(intake, found=tuple(without_unsafe_names(intake.found)))
    if corrections is not None:
        intake = replace(intake, found=tuple(correct(intake.found, corrections)))
    require_images(intake.found, intake, folder)
    rows = []
    cases = cases_of(intake.found)
    conventions, told = ({case.case: given for case in cases}, []) if given else assume_conventions(cases)
    for found in cases:
        b0_tesla, dose = (parse_number(_text(found.metadata.get(key)), key, found.case) for key in ("b0_tesla", "dose"))
        split = parse_split(_text(found.metadata.get("split")), found.case)
        files = {name: absolute(path) for name, path in found.files.items()}
        columns = dict(found.metadata.get("participant", {}))
        if "lesion" in files and (convention := str(found.metadata.get(COLUMN) or conventions.get(found.case, ""))):
            columns[COLUMN] = convention
        rows.append(CaseRow(found.patient, found.case, split, files, b0_tesla, dose, columns))
    if not all(row.split for row in rows):
        splits = split_patients([row.patient for row in rows], fractions, seed)
        rows = [replace(row, split=splits[row.patient]) for row in rows]
    cohort = IndexedCohort(tuple(rows), (), tuple(left_out(intake)), intake.found, (*intake.told, *told))
    require_sound(cohort, str(folder))
    return cohort


def find_case(folder: Path) -> CaseRow:
    """Return the row of the one case in a folder, for `io.read_case`.

    Args:
        folder: of one examination.

    Raises:
        InputError: where it holds several cases, or none.
    """
    cases, _ = find_cases(folder)
    if len(cases) > 1:
        raise InputError(
            f"{folder}: holds more than one case.",
            found=", ".join(case.case for case in cases[:5]),
            expected="the folder of one case",
            do="give a row of the cohort table (mrsynth index)",
        )
    return CaseRow(cases[0].patient, cases[0].case, "", cases[0].files)


def _text(value: object) -> str:
    return "" if value is None else str(value)
