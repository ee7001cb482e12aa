"""The cohort table: a CSV file that people can read and write by hand."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mrsynth.core.errors import CohortError
from mrsynth.core.files import absolute as absolute_folder
from mrsynth.core.files import write_text
from mrsynth.core.types import CONTRASTS, MASKS, image_name, in_order, is_contrast
from mrsynth.io.cells import read_cells
from mrsynth.io.cohort import CaseRow, Cohort, parse_number, parse_split, patient_of, require_sound, split_patients
from mrsynth.io.locator import absolute, exists, relative_text, split_locator


def read_cohort(path: Path, *, allow_unsound: bool = False) -> Cohort:
    """Read a cohort table, mrsynth's own or one written by hand.

    The table needs a column `case` or `patient` and one whose name is a contrast in any spelling of `types`. Paths are
    relative to the table's folder. Without a split column patients are split with seed 0. Other columns are kept as
    metadata; text stays text ("007").

    Args:
        path: the table, CSV or .xlsx (see `cells`).
        allow_unsound: whether to return also a table in which a case stands twice or has a name that no folder can
            have, or a patient stands in two splits (`check_cohort` reports them).

    Raises:
        InputError: where the file is no table.
        CohortError: where its content cannot be used, with the line where there is one.
    """
    table = read_cells(path, "a cohort table", "the table that mrsynth index writes")
    columns = _columns(table.header, path)
    rows = [_row(dict(zip(table.header, cells, strict=True)), columns, path, line) for line, cells in table.rows]
    without = [row.case for row in rows if not row.split]
    if 0 < len(without) < len(rows):
        raise CohortError(
            f"{path}: some rows have no split.",
            found=", ".join(without[:5]),
            expected="train, val or test in every row, or no split column",
        )
    if without:
        splits = split_patients([row.patient for row in rows])
        rows = [replace(row, split=splits[row.patient]) for row in rows]
    backslashes = any("\\" in cell for _, cells in table.rows for cell in cells)
    remarks = (*table.remarks, *(["backslashes in paths are read as slashes"] if backslashes else []))
    cohort = Cohort(tuple(rows), remarks)
    return cohort if allow_unsound else require_sound(cohort, str(path))


def write_cohort(cohort: Cohort, path: Path) -> None:
    """Write a cohort's table as CSV.

    Args:
        cohort: what is written, its rows in their order.
        path: the file. Images below its folder are named relative to it, others absolutely, with their selections.

    Raises:
        OutputError: where the file cannot be written.
    """
    names = in_order(name for row in cohort.rows for name in row.files)
    extra = sorted({key for row in cohort.rows for key in row.metadata})
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["patient", "case", "split", "b0_tesla", "dose", *names, *extra])
    folder = absolute_folder(path.parent)
    for row in cohort.rows:
        files = [relative_text(row.files[name], folder) if name in row.files else "" for name in names]
        numbers = ["" if n is None else f"{n:g}" for n in (row.b0_tesla, row.dose)]
        table.writerow(
            [row.patient, row.case, row.split, *numbers, *files, *(row.metadata.get(key, "") for key in extra)]
        )
    write_text(path, text.getvalue())


def _columns(header: Sequence[str], path: Path) -> dict[str, str]:
    """Return the table's column for each field, contrast and mask; raises CohortError for what is twice or missing."""
    columns: dict[str, str] = {}
    for column in header:
        lower = column.lower()
        name = lower if lower in ("patient", "case", "split", "b0_tesla", "dose") else image_name(column) or column
        if name in columns:
            raise CohortError(f"{path}: two columns mean {name}.", found=f"{columns[name]}, {column}", do="keep one")
        columns[name] = column
    if not {"case", "patient"} & set(columns) or not any(map(is_contrast, columns)):
        raise CohortError(
            f"{path}: is not a cohort table.",
            found="columns " + ", ".join(header),
            expected=f"`case` or `patient`, and at least one contrast ({', '.join(CONTRASTS)})",
        )
    return columns


def _row(cells: Mapping[str, str], columns: Mapping[str, str], path: Path, line: int) -> CaseRow:
    """Return one row of the table; raises CohortError naming the line."""
    values = {name: cells[column] for name, column in columns.items()}
    where = f"{path}, line {line}"
    case = values.pop("case", "") or values.get("patient", "")
    patient = values.pop("patient", "") or patient_of(case)
    if not case:
        raise CohortError(f"{where}: the case has no name.", expected="a name in the column case")
    b0_tesla, dose = (parse_number(values.pop(key, ""), key, where) for key in ("b0_tesla", "dose"))
    split = parse_split(values.pop("split", ""), where)
    files = {name: absolute(path.parent / _slashes(values[name], path)) for name in in_order(values) if values[name]}
    metadata = {key: value for key, value in values.items() if not is_contrast(key) and key not in MASKS}
    return CaseRow(patient, case, split, files, b0_tesla, dose, metadata)


def _slashes(text: str, table: Path) -> str:
    """Return a path as a table names it, written on Windows where its backslashes make it one that exists."""
    if "\\" not in text:
        return text
    turned = text.replace("\\", "/")
    return turned if not exists(split_locator(table.parent / text)[0]) else text
