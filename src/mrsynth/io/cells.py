"""Tables that people write by hand or in a spreadsheet: CSV of any separator, or the first sheet of an .xlsx file."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mrsynth.core.errors import CohortError, InputError
from mrsynth.core.files import NOTHING, kind_of
from mrsynth.core.text import counted

MAX_TABLE_BYTES = 1 << 26
"""Largest table, also unpacked: a million cases have fewer."""

SEPARATORS = ",;\t|"

Lines = list[tuple[int, list[str]]]
"""Line number and cells."""


@dataclass(frozen=True)
class Cells:
    """A table as text.

    Attributes:
        header: the columns' names.
        rows: line number and cells.
        remarks: what was unusual in the file and how it was taken, in words.
    """

    header: list[str]
    rows: Lines
    remarks: tuple[str, ...] = ()


def read_cells(path: Path, what: str, expected: str, *, short: bool = False) -> Cells:
    """Read a table: UTF-8 (or what Excel writes), comma, semicolon, tab or bar, a first line `sep=;`, or .xlsx.

    Columns without a name and without a value are dropped, as are empty lines.

    Args:
        path: The file.
        what: "a cohort table", for messages.
        expected: Where one comes from, for messages.
        short: Whether a line may end early; its last cells are then empty.

    Raises:
        InputError: The file is no table.
        CohortError: It is empty, or a line does not fit the header.
    """
    if (kind := kind_of(path)) != "a file":
        reason = "no such file" if kind == NOTHING else kind
        raise InputError(f"{path}: is not {what}.", found=reason, expected="a CSV file", do=f"give {expected}")
    try:
        if (size := path.stat().st_size) > MAX_TABLE_BYTES:
            raise ValueError(f"{size >> 20} MiB, more than {MAX_TABLE_BYTES >> 20}")
        content = path.read_bytes()
        is_workbook = content[:4] == b"PK\x03\x04"
        lines, remarks = _of_workbook(content) if is_workbook else _of_text(_decoded(content))
    except (ValueError, csv.Error, OSError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        excel = content[:4] == b"PK\x03\x04" if "content" in locals() else False
        do = "save the sheet as CSV UTF-8 in Excel" if excel else f"give {expected}"
        reason = f"an Excel workbook that cannot be read ({reason})" if excel else reason
        raise InputError(f"{path}: is not {what}.", found=reason, expected="a CSV file in UTF-8", do=do) from error
    if len(lines) < 2:
        raise CohortError(f"{path}: the table is empty.", found=f"{len(lines)} lines", expected="a header and cases")
    lines, empty = _without_empty_columns(lines)
    remarks += [f"{counted(empty, 'empty column')} left out"] if empty else []
    header = lines[0][1]
    if unnamed := [i for i, name in enumerate(header, start=1) if not name]:
        raise CohortError(f"{path}: a column has no name.", found=f"column {unnamed[0]}", do="name it, or empty it")
    for line, cells in lines[1:]:
        cells += [""] * (len(header) - len(cells) if short else 0)
        if len(cells) != len(header):
            raise CohortError(
                f"{path}, line {line}: does not fit the header.",
                found=f"{len(cells)} cells",
                expected=f"{len(header)} cells",
                do="quote cells that hold the separator",
            )
    return Cells(header, lines[1:], tuple(remarks))


def _decoded(content: bytes) -> str:
    """Return a file's text: UTF-8, UTF-16 with its mark (Excel's Unicode text); else raises ValueError."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    if b"\0" in content[:4096]:
        raise ValueError("zero bytes: no text")
    return content.decode("utf-8-sig")


def _of_text(text: str) -> tuple[Lines, list[str]]:
    """Return the lines of a CSV text that hold anything, and what is unusual about it."""
    first, _, rest = text.partition("\n")
    told = first.strip().strip('"')
    if told.lower().startswith("sep=") and len(told) == 5:
        lines = [(line + 1, cells) for line, cells in _parsed(rest, told[4])]
        return lines, [f"its first line says {told}: read with that separator"]
    separator = _separator(text)
    return _parsed(text, separator), [] if separator == "," else [f"read with the separator {separator!r}"]


def _separator(text: str) -> str:
    """Return the separator that gives the first lines the same number of cells, of several the one with most."""
    sample = [line for line in text.splitlines()[:50] if line.strip()]
    best, most = ",", 0
    for separator in SEPARATORS:
        try:
            counts = [len(cells) for cells in csv.reader(sample, delimiter=separator)]
        except csv.Error:
            continue
        if counts and counts[0] > 1 and len(set(counts)) == 1 and counts[0] > most:
            best, most = separator, counts[0]
    return best if most else max(SEPARATORS, key=sample[0].count if sample else text.count)


def _parsed(text: str, separator: str) -> Lines:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    return [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(map(str.strip, cells))]


def _of_workbook(content: bytes) -> tuple[Lines, list[str]]:
    """Return the rows of a workbook's first sheet that hold anything, and a word that it is one."""
    return list(_rows(content)), ["an Excel workbook: its first sheet is read"]


def _rows(content: bytes) -> Iterator[tuple[int, list[str]]]:
    import openpyxl  # type: ignore[import-untyped]

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(member.file_size for member in packed.infolist()) > MAX_TABLE_BYTES:
                raise ValueError(f"it unpacks to more than {MAX_TABLE_BYTES >> 20} MiB")
        sheet = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True).worksheets[0]
        width = 0
        for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
            cells = [_shown(value) for value in row]
            while cells and not cells[-1] and len(cells) > width:
                cells.pop()
            width = width or len(cells)
            if any(cells):
                yield number, cells + [""] * (width - len(cells))
    except Exception as error:  # zipfile and openpyxl raise many kinds on damaged workbooks
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _shown(value: object) -> str:
    """Return a cell's value as text: 7.0 is 7, nothing is ""."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _without_empty_columns(lines: Lines) -> tuple[Lines, int]:
    """Return the lines without columns that have neither a name nor a value, and how many these were."""
    header = lines[0][1]
    longest = max(len(cells) for _, cells in lines)
    header = [*header, *[""] * (longest - len(header))]
    filled = {i for _, cells in lines[1:] for i, cell in enumerate(cells) if cell}
    empty = [i for i, name in enumerate(header) if not name and i not in filled]
    kept = [(line, [cell for i, cell in enumerate(cells) if i not in empty]) for line, cells in lines]
    return kept, len(empty)
