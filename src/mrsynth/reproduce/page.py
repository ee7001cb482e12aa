"""The page of a study: what was run at which scale, tables with published beside measured, curves, plates, times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from mrsynth.core.errors import InputError
from mrsynth.core.files import atomic_file, write_text
from mrsynth.drawing.axes import LIGHT, themed
from mrsynth.drawing.curves import Curve, Series, curve_png
from mrsynth.drawing.labels import MISSING, duration, plain
from mrsynth.drawing.table import TEXT_COLUMNS
from mrsynth.drawing.templates import jpeg_uri, render
from mrsynth.reproduce.layout import claims_table, comparisons_table, measured_table, runs_table, value
from mrsynth.reproduce.listing import changes_line
from mrsynth.reproduce.records import AGAIN, Claims, CurveAxis, Figure, Figures, ItemEntry, StudyRecord, TableRecord


def build_study(out: Path) -> Path:
    """Write the page of a study from its files, and its curves as pictures.

    Args:
        out: the study's folder. It holds study.json, tables/<name>.json and, where pictures were drawn,
            figures/figures.json. The page goes to study.html, the curves to figures/<curve>.png.

    Returns:
        The page.

    Raises:
        InputError: a file is missing or cannot be understood.
        OutputError: the page cannot be written.
    """
    out = Path(out)
    study = StudyRecord.read(out / StudyRecord.FILE)
    tables = [TableRecord.read(out / "tables" / f"{name}.json") for name in study.tables]
    listing = out / Figures.FILE
    figures = Figures.read(listing).figures if listing.exists() else []
    path = out / "study.html"
    write_text(path, render("study.html.j2", **_context(study, tables, figures, out)))
    return path


def _context(study: StudyRecord, tables: Sequence[TableRecord], figures: Sequence[Figure], out: Path) -> dict[str, Any]:
    """Return everything that the template shows."""
    return {
        "text_columns": TEXT_COLUMNS | {"network", "state", "figure", "the paper says", "measured here", "verdict"},
        "study": study,
        "verdict": _verdict(study.items),
        "facts": _facts(study),
        "changes": changes_line(study.changes),
        "tables": [_section(table) for table in tables if table.curve is None],
        "curves": [_curve(table, table.curve, out) for table in tables if table.curve is not None],
        "claims": claims_table(Claims.read(out / Claims.FILE).claims) if (out / Claims.FILE).exists() else None,
        "plates": [_plate(figure, out) for figure in figures],
        "runs": runs_table(study.items, out),
        "provenance": _provenance(study),
    }


def _verdict(items: Sequence[ItemEntry]) -> dict[str, str]:
    """Return what the top of the page says: how much of the study is there."""
    done, failed = (sum(item.state == state for item in items) for state in ("done", "failed"))
    rest = len(items) - done - failed
    text = f"{done} of {len(items)} trainings and predictions are done"
    text += f", {failed} failed" if failed else ""
    text += f", {rest} not run or not finished" if rest else ""
    return {"tone": "bad" if failed else "mixed" if rest else "good", "title": text}


def _facts(study: StudyRecord) -> list[tuple[str, str]]:
    """Return the short facts of the header."""
    seconds = sum(took for item in study.items for took in item.seconds.values())
    devices = dict.fromkeys(item.device for item in study.items if item.device)
    return [
        ("scale", study.scale),
        ("cohort", f"phantoms of {study.phantoms['spacing_mm']:g} mm" if study.phantoms else "given"),
        ("patients: train / validation / test", " / ".join(str(study.patients[k]) for k in ("train", "val", "test"))),
        ("seeds", ", ".join(map(str, study.seeds))),
        ("time, all added", duration(seconds)),
        ("device", ", ".join(devices) or MISSING),
    ]


def _section(table: TableRecord) -> dict[str, Any]:
    """Return a table for the template: the numbers, whether they stand, the tests, how each column was measured."""
    return {
        "numbers": measured_table(table),
        "standing": table.standing(),
        "tests": comparisons_table(table),
        "methods": [f"{column.label}: {column.convention}" for column in table.columns],
        "source": table.published_source,
        "failed": [f"{row.label} failed: {row.why.splitlines()[0]}" for row in table.rows if row.why],
    }


def _curve(table: TableRecord, axis: CurveAxis, out: Path) -> dict[str, Any]:
    """Draw a curve, for the page and as a file, and return it for the template, its numbers as a table beside it."""
    points = [row for row in table.rows if row.predictor == "model"]
    series = []
    for label in (column.label for column in table.columns):
        cells = [row.cells[label] for row in points]
        means, sds = (np.array([value(getattr(cell, key)) for cell in cells]) for key in ("mean", "sd"))
        published = np.array([value(cell.published[0] if cell.published else None) for cell in cells])
        rivals = {row.predictor: row.cells[label] for row in reversed(table.rows) if row.predictor != "model"}
        base = rivals.get("best_rival") or rivals.get("identity")
        name = plain(base.rival or "identity") if base is not None else ""
        series.append(Series(label, means, sds, published, value(base.mean if base else None), name))
    curve = Curve(axis.x, np.array([float(row.label) for row in points]), axis.log, tuple(series))
    with atomic_file(out / "figures" / f"{table.name}.png") as temporary:
        temporary.write_bytes(curve_png(curve, LIGHT))
    names = " and ".join(column.label for column in table.columns)
    return {
        "title": table.title,
        "note": table.note,
        "uris": themed(lambda theme: curve_png(curve, theme)),
        "alt": f"{names} over {curve.x_name}: {', '.join(row.label for row in points)}; numbers in the table below",
        **_section(table),
    }


def _plate(figure: Figure, out: Path) -> dict[str, Any]:
    """Return a plate for the template."""
    if figure.file is None:
        return {**figure.model_dump(), "uri": None}
    path = out / "figures" / figure.file
    try:
        with Picture.open(path) as picture:
            return {**figure.model_dump(), "uri": jpeg_uri(picture.convert("RGB"), 88)}
    except OSError as error:
        raise InputError(f"{path} cannot be read.", found=str(error), do=AGAIN) from None


def _provenance(study: StudyRecord) -> list[tuple[str, str]]:
    """Return where the study came from."""
    changes = study.changes
    cells = {name: [*cell.variants, *cell.set] for name, cell in changes.cells.items()}
    phantoms = study.phantoms or {}
    return [
        ("study", study.study),
        ("recipe", study.recipe),
        ("changed in all cells", ", ".join([*changes.variants, *changes.set]) or "nothing"),
        *((f"changed in {name}", ", ".join(changed)) for name, changed in cells.items() if changed),
        ("left out", ", ".join(study.left_out) or "nothing"),
        ("cohort", ", ".join(f"{key} {value}" for key, value in phantoms.items()) or study.cohort),
        ("commit", study.commit or "not recorded"),
        ("versions", ", ".join(f"{name} {value}" for name, value in study.versions.items())),
        ("cores", str(study.cores)),
        ("updated", study.updated),
    ]
