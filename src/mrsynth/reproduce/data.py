"""The data of a study's cells and jobs: some cases of its cohort, images of which another cell's model may have made.

OUT/data/<name>/images-<part>/   what the models made, in the intensities of the T1 (or first input)
OUT/data/<name>/cohort.csv       the table that stands in place of the study's
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mrsynth.core.errors import CohortError
from mrsynth.core.files import safe_name
from mrsynth.io import CaseRow, Cohort, read_cohort, write_cohort
from mrsynth.model import load_contract
from mrsynth.reproduce.data_settings import PartSettings, Where
from mrsynth.reproduce.plan import Cell, Dataset
from mrsynth.synthesize import Doses
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.run import synthesize_cohort

TOLERANCE = 0.05
"""Numbers that differ by less, relative, are the same: scanners of 3 T also write 2.894."""


def select(rows: Iterable[CaseRow], where: Where) -> list[CaseRow]:
    """Return the rows that have one of the values in each of the columns.

    Args:
        rows: of the cohort table.
        where: column → values; numbers within 5 % of each other are the same.

    Raises:
        CohortError: no row has a value in one of the columns.
    """
    rows = list(rows)
    for column in where:
        if rows and all(_value(row, column) is None for row in rows):
            raise CohortError(
                f"The study chooses cases by the column {column}, which the cohort does not have.",
                expected=f"{column} with " + ", ".join(str(value) for value in where[column]),
                do="add the column to the cohort table",
            )
    return [row for row in rows if all(_is_one_of(_value(row, column), values) for column, values in where.items())]


def _value(row: CaseRow, column: str) -> str | float | None:
    """Return what stands in a column of a row."""
    known = {"patient": row.patient, "case": row.case, "split": row.split, "b0_tesla": row.b0_tesla, "dose": row.dose}
    return known[column] if column in known else row.metadata.get(column)


def _is_one_of(value: str | float | None, values: list[str | float]) -> bool:
    """Say whether a value of the table is one of those that are wanted; numbers may stand there as text."""
    for wanted in values:
        if isinstance(wanted, str):
            same = str(value) == wanted
        else:
            number = _number(value)
            same = number is not None and math.isclose(number, wanted, rel_tol=TOLERANCE)
        if same:
            return True
    return False


def _number(value: str | float | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def cases_of(data: Dataset | None, cohort: Cohort) -> Cohort:
    """Return the cases of a cell or job.

    Args:
        data: its data, None for all cases of the study's cohort.
        cohort: the study's cohort.

    Raises:
        CohortError: there is no such case, or images of the data have yet to be made.
    """
    if data is None:
        return cohort
    if data.makers:
        if not data.table.exists():
            raise CohortError(
                f"The images of {data.label} were not made.",
                found=f"no {data.table}",
                do="run the study again; what is finished is kept",
            )
        return read_cohort(data.table)
    found = Cohort(tuple(row for part in data.parts for row in select(cohort.rows, part.where)))
    if not found.rows:
        raise CohortError(
            f"The cohort has no case for {data.name}.", expected=" or ".join(str(part.where) for part in data.parts)
        )
    return found


def make_images(data: Dataset, cohort: Cohort) -> list[tuple[str, str]]:
    """Make the images of some data and write its cohort table.

    Args:
        data: the data; the table goes to `data.table`.
        cohort: the study's cohort.

    Returns:
        (case, why) of the images that could not be made; such a case is left out.

    Raises:
        CohortError: no case is left of a part.
    """
    rows: list[CaseRow] = []
    failed: list[tuple[str, str]] = []
    for number, part in enumerate(data.parts, start=1):
        chosen = select(cohort.rows, part.where)
        if part.made_by is not None:
            chosen, missing = _made(part, data.makers[part.made_by], chosen, data.place / f"images-{number}")
            failed += missing
        if not chosen:
            raise CohortError(
                f"No case is left for {data.label}, part {number}.", found=failed[:1] or None, expected=part.where
            )
        rows += chosen
    write_cohort(Cohort(tuple(rows)), data.table)
    return failed


def _made(
    part: PartSettings, maker: Cell, rows: list[CaseRow], folder: Path
) -> tuple[list[CaseRow], list[tuple[str, str]]]:
    """Return the rows of a part with the images that a cell's model made in place of the real ones, and what failed.

    The images have the intensities of the input on whose grid they lie, so that they are prepared as real ones are.
    """
    asked = Cohort(tuple(row for row in rows if row.split in part.splits))
    kept = [row for row in rows if row.split not in part.splits]
    if not asked.rows:
        return kept, []
    target = load_contract(maker.run).target
    doses = None if part.dose is None else Doses((part.dose,))
    made, failed = synthesize_cohort(maker.run, asked, folder, place=Place(units="input"), doses=doses)
    files = {case: folder / f"{safe_name(case)}.nii.gz" for case in made}
    new = [
        replace(row, files={**row.files, target: files[row.case]}, dose=part.dose or row.dose)
        for row in asked.rows
        if row.case in files
    ]
    return kept + new, failed
