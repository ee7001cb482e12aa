"""CSV files that people write by hand: comma, semicolon or tab, with or without a byte-order mark."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from mrsynth.core.errors import CohortError, InputError
from mrsynth.core.files import NOTHING, kind_of


def read_cells(
    path: Path, what: str, expected: str, *, short: bool = False
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header and the rows of a table with their line numbers, cells stripped, empty lines dropped.

    what, expected: "a cohort table" and where one comes from, for the messages. short: a line may end early, its last
    cells are then empty. Raises InputError if the file is none, CohortError if it is empty or a line does not fit the
    header.
    """
    if (kind := kind_of(path)) != "a file":
        found = "no such file" if kind == NOTHING else kind
        raise InputError(f"{path}: is not {what}.", found=found, expected="a CSV file", do=f"give {expected}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(map(str.strip, cells))]
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise InputError(f"{path}: is not {what}.", found=str(error), expected="a CSV file in UTF-8") from error
    if len(lines) < 2:
        raise CohortError(f"{path}: the table is empty.", found=f"{len(lines)} lines", expected="a header and cases")
    header = lines[0][1]
    for line, cells in lines[1:]:
        cells += [""] * (len(header) - len(cells) if short else 0)
        if len(cells) != len(header):
            raise CohortError(
                f"{path}, line {line}: does not fit the header.",
                found=f"{len(cells)} cells",
                expected=f"{len(header)} cells",
                do="quote cells that hold the separator",
            )
    return header, lines[1:]
