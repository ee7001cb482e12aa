"""Reads one examination: its images and masks, with what is known about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.core.types import MASKS, contrast_name, in_order, is_contrast
from mrsynth.io.cohort import CaseRow
from mrsynth.io.labels import COLUMN, read_lesion
from mrsynth.io.locator import split_locator
from mrsynth.io.read import read_image, read_mask
from mrsynth.io.walk import Ignored

CASE_FILE = "case.json"
"""Metadata beside the images of a case: patient, case, split, b0_tesla, dose, what was drawn for a phantom."""


def read_case(row: CaseRow, contrasts: Sequence[str] | None = None, masks: Sequence[str] = MASKS) -> Case:
    """Read a case from a row of a cohort table.

    Args:
        row: the case's files and numbers.
        contrasts: those to read, in any spelling; all that the case has by default.
        masks: those to read where the case has them.

    Returns:
        The case. Its metadata holds patient, case, split, b0_tesla, dose, the table's other columns and what case.json
        says. Images may lie on different grids until a step brings them together.

    Raises:
        InputError: where a contrast is missing or a file cannot be used.
    """
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
    read = {name: _mask(row, name) for name in row.files if name in masks}
    return Case(images, read, _metadata(row))


def _mask(row: CaseRow, name: str) -> Image:
    """Return a mask of a case; a lesion mask by the convention that the table names."""
    path = row.files[name]
    return read_lesion(path, row.metadata.get(COLUMN, "")) if name == "lesion" else read_mask(path, name)


def _metadata(row: CaseRow) -> dict[str, Any]:
    """Return what is known of a case; the table's word counts more than that of case.json. A dose or field that the
    table leaves empty is not known: index has brought there what case.json says."""
    folders = {split_locator(path)[0].parent for path in row.files.values()}
    beside = read_case_file(folders.pop())[0] if len(folders) == 1 else {}
    if row.split:  # a row of a table: it has a split
        beside = {key: value for key, value in beside.items() if key not in ("b0_tesla", "dose")}
    known = {"split": row.split or None, "b0_tesla": row.b0_tesla, "dose": row.dose, **row.metadata}
    filled = {key: value for key, value in known.items() if value not in (None, "")}
    return {**beside, **filled, "patient": row.patient, "case": row.case}


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
