"""The page of a study: what was run at which scale, tables with published beside measured, curves, plates, times."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image as Picture

import mrsynth
from mrsynth.core.errors import InputError
from mrsynth.core.files import atomic_file, write_text
from mrsynth.drawing.curves import Curve, Series, curve_png
from mrsynth.drawing.figures import LIGHT, THEMES
from mrsynth.drawing.labels import MISSING, duration
from mrsynth.drawing.table import TEXT_COLUMNS
from mrsynth.drawing.templates import ASSETS, render
from mrsynth.reproduce.page_tables import comparisons_table, measured_table, runs_table, value

AGAIN = "run `mrsynth reproduce` with --tables-only, which writes it anew"


def build_study(out: Path) -> Path:
    """Write OUT/study.html, and the curves as OUT/figures/<curve>.png, from the files of a study; returns the page.

    Reads study.json, tables/<name>.json and figures/figures.json where there is one. Raises InputError for a file that
    is missing or cannot be understood, OutputError where the page cannot be written.
    """
    out = Path(out)
    study = _json(out / "study.json", dict)
    try:
        tables = [_json(out / "tables" / f"{name}.json", dict) for name in study["tables"]]
        listing = out / "figures" / "figures.json"
        context = _context(study, tables, _json(listing, list) if listing.exists() else [], out)
    except (KeyError, TypeError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise InputError(f"{out}: the study's files cannot be understood.", found=found, do=AGAIN) from error
    path = out / "study.html"
    write_text(path, render("study.html.j2", **context))
    return path


def _context(
    study: Mapping[str, Any], tables: Sequence[Mapping[str, Any]], plates: Sequence[Mapping[str, Any]], out: Path
) -> dict[str, Any]:
    """Return everything that the template shows."""
    targets = {str(item["name"]): str(item["target"]) for item in study["items"]}
    return {
        "css": Markup((ASSETS / "page.css").read_text(encoding="utf-8")),
        "text_columns": TEXT_COLUMNS | {"network", "state"},
        "version": mrsynth.__version__,
        "study": study,
        "verdict": _verdict(study["items"]),
        "facts": _facts(study),
        "changes": _changes(study["changes"]),
        "tables": [_section(table, targets) for table in tables if "curve" not in table],
        "curves": [_curve(table, targets, out) for table in tables if "curve" in table],
        "plates": [_plate(entry, out) for entry in plates],
        "runs": runs_table(study["items"], out),
        "provenance": _provenance(study),
    }


def _verdict(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return what the top of the page says: how much of the study is there."""
    done, failed = (sum(item["state"] == state for item in items) for state in ("done", "failed"))
    rest = len(items) - done - failed
    text = f"{done} of {len(items)} trainings and predictions are done"
    text += f", {failed} failed" if failed else ""
    text += f", {rest} not run or not finished" if rest else ""
    return {"tone": "bad" if failed else "mixed" if rest else "good", "title": text}


def _facts(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the short facts of the header."""
    items, patients, phantoms = study["items"], study["patients"], study["phantoms"]
    seconds = sum(float(took) for item in items for took in item["seconds"].values())
    devices = dict.fromkeys(str(item["device"]) for item in items if item.get("device"))
    return [
        ("scale", study["scale"]),
        ("cohort", f"phantoms of {phantoms['spacing_mm']:g} mm" if phantoms else "given"),
        ("patients: train / validation / test", " / ".join(str(patients[k]) for k in ("train", "val", "test"))),
        ("seeds", ", ".join(map(str, study["seeds"]))),
        ("time, all added", duration(seconds)),
        ("device", ", ".join(devices) or MISSING),
    ]


def _changes(changes: Mapping[str, Any]) -> str:
    """Return in a line what the scale changed of the paper's recipe."""
    single = [name for name, cell in changes["cells"].items() if cell["variants"] or cell["set"]]
    more = f"; more in {', '.join(single)}" if single else ""
    return f"Changed of the paper's recipe: {', '.join([*changes['variants'], *changes['set']]) or 'nothing'}{more}."


def _section(table: Mapping[str, Any], targets: Mapping[str, str]) -> dict[str, Any]:
    """Return a table for the template: the numbers, the tests, how each column was measured."""
    failed = [f"{row['label']} failed: {row['why'].splitlines()[0]}" for row in table["rows"] if row["why"]]
    return {
        "numbers": measured_table(table, targets),
        "tests": comparisons_table(table),
        "methods": [f"{column['label']}: {column['convention']}" for column in table["columns"]],
        "source": table["published_source"],
        "failed": failed,
    }


def _curve(table: Mapping[str, Any], targets: Mapping[str, str], out: Path) -> dict[str, Any]:
    """Draw a curve, for the page and as a file, and return it for the template, its numbers as a table beside it."""
    points = [row for row in table["rows"] if row["predictor"] == "model"]
    series = []
    for column in table["columns"]:
        label = column["label"]
        cells = [row["cells"][label] for row in points]
        means, sds = (np.array([value(cell[key]) for cell in cells]) for key in ("mean", "sd"))
        published = np.array([value(cell["published"][0] if cell["published"] else None) for cell in cells])
        identity = [row["cells"][label]["mean"] for row in table["rows"] if row["predictor"] == "identity"]
        series.append(Series(label, means, sds, published, value(identity[0] if identity else None)))
    x = np.array([float(row["label"]) for row in points])
    curve = Curve(table["curve"]["x"], x, bool(table["curve"]["log"]), tuple(series))
    with atomic_file(out / "figures" / f"{table['name']}.png") as temporary:
        temporary.write_bytes(curve_png(curve, LIGHT))
    names = " and ".join(column["label"] for column in table["columns"])
    return {
        "title": table["title"],
        "note": table["note"],
        "uris": {name: _uri(curve_png(curve, theme)) for name, theme in THEMES.items()},
        "alt": f"{names} over {curve.x_name}: {', '.join(row['label'] for row in points)}; numbers in the table below",
        **_section(table, targets),
    }


def _plate(entry: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Return a plate for the template."""
    if entry["file"] is None:
        return {**entry, "uri": None}
    path = out / "figures" / Path(str(entry["file"])).name
    try:
        return {**entry, "uri": _jpeg(path)}
    except OSError as error:
        raise InputError(f"{path} cannot be read.", found=str(error), do=AGAIN) from None


def _provenance(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return where the study came from."""
    changes = study["changes"]
    cells = {name: [*cell["variants"], *cell["set"]] for name, cell in changes["cells"].items()}
    phantoms = study["phantoms"] or {}
    return [
        ("study", study["study"]),
        ("recipe", study["recipe"]),
        ("changed in all cells", ", ".join([*changes["variants"], *changes["set"]]) or "nothing"),
        *((f"changed in {name}", ", ".join(changed)) for name, changed in cells.items() if changed),
        ("left out", ", ".join(study["left_out"]) or "nothing"),
        ("cohort", ", ".join(f"{key} {value}" for key, value in phantoms.items()) or study["cohort"]),
        ("commit", str(study["commit"] or "not recorded")),
        ("versions", ", ".join(f"{name} {value}" for name, value in study["versions"].items())),
        ("cores", str(study["cores"])),
        ("updated", study["updated"]),
    ]


def _uri(png: bytes) -> str:
    """Return a PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _jpeg(path: Path) -> str:
    """Return a picture as a data URI, a fifth of the size of its PNG: the page of a study holds many."""
    stream = io.BytesIO()
    with Picture.open(path) as picture:
        picture.convert("RGB").save(stream, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _json(path: Path, kind: type) -> Any:
    """Return the content of a JSON file of a study, of the kind expected (dict or list)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read.", found=str(error), do=AGAIN) from None
    if not isinstance(content, kind):
        raise InputError(f"{path} does not hold a {kind.__name__}.", found=type(content).__name__, do=AGAIN)
    return content
