"""index.csv of a prepared cohort: a line a case."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from mrsynth.core.errors import CohortError, OutputError
from mrsynth.core.files import safe_name, write_text
from mrsynth.io.cohort import SPLITS
from mrsynth.io.prepared_case import RECORD

INDEX = "index.csv"


@dataclass(frozen=True)
class IndexRow:
    """One line of index.csv.

    Attributes:
        patient, case, split: as in the cohort table.
        fingerprint: that of its record.
        slices: axial slices of its arrays.
        folder: below cases/.
    """

    patient: str
    case: str
    split: str
    fingerprint: str
    slices: int
    folder: str


def write_index(folder: Path, rows: Iterable[IndexRow]) -> None:
    """Write index.csv.

    Args:
        folder: of the prepared cohort.
        rows: a line each.

    Raises:
        OutputError: it cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([field.name for field in fields(IndexRow)])
    table.writerows(astuple(row) for row in rows)
    write_text(folder / INDEX, text.getvalue())


def read_index(folder: Path) -> list[IndexRow]:
    """Return the lines of index.csv; raises CohortError if it is damaged or a case's folder is missing."""
    path = folder / INDEX
    try:
        with path.open(encoding="utf-8", newline="") as file:
            _, *lines = csv.reader(file, strict=True)
        rows = [
            IndexRow(patient, case, split, fingerprint, int(slices), folder)
            for patient, case, split, fingerprint, slices, folder in lines
        ]
        for row in rows:
            safe_name(row.folder)  # no way out of the cohort's folder
    except (OSError, ValueError, KeyError, TypeError, csv.Error, OutputError) as error:
        raise CohortError(f"{path}: is damaged.", found=str(error), do="run mrsynth prepare again") from error
    for row in rows:
        if row.split not in SPLITS or not (folder / "cases" / row.folder / RECORD).is_file():
            raise CohortError(
                f"{folder}: case {row.case} is not usable.",
                found=f"split {row.split!r}" if row.split not in SPLITS else f"no cases/{row.folder}/{RECORD}",
                do="run mrsynth prepare again",
            )
    return rows
