"""The one model of a table: text, tone and sort key of every cell, of which HTML and Markdown are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mrsynth.drawing.labels import MISSING

TEXT_COLUMNS = frozenset(
    ("", "metric", "region", "case", "patient", "preset", "fit", "difference", "test", "predictor", "why", "cases")
)
"""Columns of words, which stand left; numbers stand right."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it says.
        below: smaller lines below the text.
        tone: "best", "bad" or "".
        sort: what the column sorts by (NaN and text last).
        link: where it leads, "" for nowhere.
    """

    text: str
    below: tuple[str, ...] = ()
    tone: str = ""
    sort: float | str = ""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        title: above it.
        note: what a reader should know of it.
        columns: their heads.
        rows: a cell a column.
        folded: hidden until the reader asks for it.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    folded: bool = False


def count(value: float) -> str:
    """Return a count."""
    return MISSING if math.isnan(value) else f"{value:.0f}"


def sort_key(value: float) -> float | str:
    """Return what a cell sorts by; a missing value sorts as text, last."""
    return "" if math.isnan(value) else float(value)


MARKS = {"best": "**{}**", "bad": "{} ✗"}
"""What stands for bold and red in Markdown."""


def table_markdown(table: Table) -> str:
    """Return a table's grid as Markdown, the smaller lines of a cell below its text; the best bold, the red crossed."""
    lines = [_line(table.columns), "|---" * len(table.columns) + "|"]
    for row in table.rows:
        lines.append(_line([_text(cell) for cell in row]))
    return "\n".join(lines) + "\n"


def _text(cell: Cell) -> str:
    """Return a cell in one line of Markdown."""
    return "<br>".join([MARKS.get(cell.tone, "{}").format(cell.text), *cell.below])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
