"""Reads one examination: its images and masks, with what is known about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrsynth.errors import InputError
from mrsynth.image import Case
from mrsynth.io.cohort import CaseRow
from mrsynth.io.groups import read_case_file
from mrsynth.io.layouts import find_cases
from mrsynth.io.locator import split_locator
from mrsynth.io.read import read_image, read_mask
from mrsynth.types import MASKS, contrast_name, in_order, is_contrast


def read_case(source: CaseRow | Path, contrasts: Sequence[str] | None = None, masks: Sequence[str] = MASKS) -> Case:
    """Read a case from a row of a cohort table or from a folder that holds one case.

    contrasts: those to read (any spelling), all by default; masks: those to read where the case has them. Metadata
    holds patient, case, split, b0_tesla, dose, the table's other columns and what case.json says. Images may lie on
    different grids until a step brings them together. Raises InputError if a contrast is missing or a file cannot be
    used.
    """
    row = source if isinstance(source, CaseRow) else _row_of(source)
    present = [name for name in in_order(row.files) if is_contrast(name)]
    names = present if contrasts is None else [contrast_name(name) for name in contrasts]
    for name in names:
        if name not in row.files:
            raise InputError(
                f"{row.case}: no {name} image.",
                found=", ".join(present) or "no image at all",
                expected=name,
                do=f"add {name} to this case or leave the case out",
            )
    images = {name: read_image(row.files[name], name) for name in names}
    found = {name: read_mask(path, name) for name, path in row.files.items() if name in masks}
    return Case(images, found, _metadata(row, in_table=isinstance(source, CaseRow)))


def _row_of(folder: Path) -> CaseRow:
    """Return the row of the one case in a folder."""
    cases, _ = find_cases(folder)
    if len(cases) > 1:
        raise InputError(
            f"{folder}: holds more than one case.",
            found=", ".join(case.case for case in cases[:5]),
            expected="the folder of one case",
            do="give a row of the cohort table (mrsynth index)",
        )
    return CaseRow(cases[0].patient, cases[0].case, "", cases[0].files)


def _metadata(row: CaseRow, in_table: bool) -> dict[str, Any]:
    """Return what is known of a case; the table's word counts more than that of case.json. A dose or field that the
    table leaves empty is not known: index has brought there what case.json says."""
    folders = {split_locator(path)[0].parent for path in row.files.values()}
    beside = read_case_file(folders.pop())[0] if len(folders) == 1 else {}
    if in_table:
        beside = {key: value for key, value in beside.items() if key not in ("b0_tesla", "dose")}
    known = {"split": row.split or None, "b0_tesla": row.b0_tesla, "dose": row.dose, **row.metadata}
    filled = {key: value for key, value in known.items() if value not in (None, "")}
    return {**beside, **filled, "patient": row.patient, "case": row.case}
