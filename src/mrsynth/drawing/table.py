"""A table of a page: text, tone and sort key of every cell, so that the template only lays it out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mrsynth.drawing.labels import MISSING

TEXT_COLUMNS = frozenset(
    ("", "metric", "region", "case", "patient", "preset", "fit", "difference", "test", "predictor", "why", "cases")
)
"""Columns of words, which stand left; numbers stand right."""


@dataclass(frozen=True)
class Cell:
    """text, smaller lines below it, tone ("best", "bad", "" ), and what the column sorts by (NaN and text last)."""

    text: str
    below: tuple[str, ...] = ()
    tone: str = ""
    sort: float | str = ""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page. folded: hidden until the reader asks for it."""

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
