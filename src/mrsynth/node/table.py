"""The table of all studies and their fates, for people: studies.csv and studies.html. It names no patient."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from mrsynth.core.files import printable, write_text
from mrsynth.drawing.templates import render
from mrsynth.node.queue import Study

STUDY_COLUMNS = ("study", "UID", "received", "changed", "images", "state", "found", "made", "sent", "tries", "why")

SHOWN = 1000
"""Studies on the page, the latest first; the CSV file holds all."""


def write_table(studies: Mapping[str, Study], folder: Path) -> None:
    """Write the table of studies.

    Args:
        studies: by their keys.
        folder: of the node.

    Raises:
        OutputError: where it cannot be written.
    """
    rows = [_row(key, study) for key, study in sorted(studies.items(), key=lambda item: -item[1].first_s)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(STUDY_COLUMNS)
    table.writerows([_inert(cell) for cell in row] for row in rows)
    write_text(folder / "studies.csv", text.getvalue())
    write_text(folder / "studies.html", render("node.html.j2", columns=STUDY_COLUMNS, rows=rows[:SHOWN]))


def _row(key: str, study: Study) -> list[str]:
    made = [f"{result.target} ({result.model})" for result in study.results]
    sent = sorted({peer for result in study.results for peer in result.sent})
    found = [f"{name} {series}" for name, series in study.found.items()]
    times = [datetime.fromtimestamp(s, UTC).isoformat(timespec="seconds") for s in (study.first_s, study.changed_s)]
    words = [", ".join(part) for part in (found, made, sent)]
    cells = [key[:12], study.uid, *times, str(study.images), study.state, *words, str(study.attempts), study.why]
    return [printable(cell) for cell in cells]


def _inert(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell
