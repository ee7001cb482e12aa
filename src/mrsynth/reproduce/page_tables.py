"""The tables of a study's page, from tables/<name>.json and study.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mrsynth.drawing.labels import MISSING, arrow, decimals, duration, number, p_value
from mrsynth.drawing.table import Cell, Table
from mrsynth.report.scores import better


def measured_table(table: Mapping[str, Any], targets: Mapping[str, str]) -> Table:
    """Return a table of a study: mean ± SD over patients, below it the paper's, n where it differs from the others.

    targets: what each cell and job makes. Where the rows make the same, the best is bold, and red what is not better
    than the identity (a row's own, where it has one); errors of different images cannot be compared.
    """
    columns = table["columns"]
    alike = len({targets[row["source"]] for row in table["rows"] if row["source"] in targets}) == 1
    rows = [(Cell(r["label"]), *(_measured(r, column, table, alike) for column in columns)) for r in table["rows"]]
    heads = [f"{c['label']} {arrow(c['higher_is_better'])} (n = {_usual(table, c['label'])})" for c in columns]
    return Table(table["title"], table["note"], ("", *heads), tuple(rows))


def _measured(row: Mapping[str, Any], column: Mapping[str, Any], table: Mapping[str, Any], alike: bool) -> Cell:
    """Return one number of a table; alike: whether its rows can be compared."""
    cell, label, higher = row["cells"][column["label"]], column["label"], column["higher_is_better"]
    mean, published = value(cell["mean"]), cell["published"]
    digits = decimals(mean if math.isfinite(mean) else value(published[0] if published else None))
    below = [f"paper {_spread(published[0], published[1], digits)}"] if published else []
    if row["state"] not in ("done", "published"):
        return Cell(row["state"], tuple(below), sort="")
    below += [f"n = {cell['n']}"] if cell["n"] and cell["n"] != _usual(table, label) else []
    if cell["seed_sd"] is not None:
        below.append(f"over {cell['seeds']} seeds ± {number(cell['seed_sd'], digits)}")
    models = {r["label"]: value(r["cells"][label]["mean"]) for r in table["rows"] if r["predictor"] == "model"}
    identities = [r for r in table["rows"] if r["predictor"] == "identity"]
    own = [r for r in identities if r["source"] == row["source"]] or identities
    base = value(own[0]["cells"][label]["mean"]) if own else math.nan
    tone = ""
    if alike and row["predictor"] == "model" and higher is not None and math.isfinite(mean):
        tone = "" if any(better(rival, mean, higher) for rival in models.values()) else "best"
        tone = "bad" if better(mean, base, higher) is False else tone
    return Cell(_spread(cell["mean"], cell["sd"], digits), tuple(below), tone)


def comparisons_table(table: Mapping[str, Any]) -> Table | None:
    """Return the tests of a table, the paper's beside them; None where it has none."""
    if not table["tests"]:
        return None
    rows = []
    for test in table["tests"]:
        ours, theirs, p = value(test["mean_difference"]), value(test["published_difference"]), value(test["p"])
        digits = decimals(ours if math.isfinite(ours) else theirs)
        ends, their_ends = (_ends(test.get(key), digits) for key in ("interval", "published_interval"))
        rows.append(
            (
                Cell(f"{test['a']} − {test['b']}", (test["test"],)),
                Cell(test["column"]),
                Cell(str(test["n"])),
                Cell(number(ours, digits, sign=True), ends, "bad" if ours * theirs < 0 else ""),
                Cell(p_value(p), (test["reason"],) if math.isnan(p) and test["reason"] else ()),
                Cell(number(theirs, digits, sign=True), their_ends),
                Cell(test["published_p"] or MISSING),
            )
        )
    columns = ("difference", "metric", "n", "measured", "p", "paper", "paper's p")
    kinds = {test["test"] == "independent t" for test in table["tests"]}
    note = "Paired over patients. " if False in kinds else ""
    note += "Independent: as if the rows were two groups of patients; 95 % interval below. " if True in kinds else ""
    note += "Red: the other sign than the paper's."
    return Table("Tests", note, columns, tuple(rows))


def _ends(interval: Sequence[float] | None, digits: int) -> tuple[str, ...]:
    """Return an interval as the line below a number."""
    return () if interval is None else (" to ".join(number(float(end), digits, sign=True) for end in interval),)


def runs_table(items: Sequence[Mapping[str, Any]], out: Path) -> Table:
    """Return every cell and job with its state, why it failed, its size and how long it took."""
    rows = []
    for item in items:
        seconds = {part: float(took) for part, took in item["seconds"].items()}
        parts = ", ".join(f"{part} {duration(took)}" for part, took in seconds.items())
        page = f"{item['folder']}/report.html"
        below = [item["why"].splitlines()[0]] if item["why"] else []
        below += (
            [f"{len(item['failed_cases'])} test cases could not be predicted or judged"] if item["failed_cases"] else []
        )
        size = item.get("parameters")
        rows.append(
            (
                Cell(item["label"], link=quote(page) if (out / page).is_file() else ""),
                Cell(f"{item['net']}: {', '.join(item['inputs'])} → {item['target']}", tuple(_of_item(item))),
                Cell(item["state"], tuple(below), "bad" if item["state"] == "failed" else ""),
                Cell(f"{size:,}".replace(",", " ") if size else MISSING),
                Cell(f"{item['epochs']}" if item.get("epochs") is not None else MISSING),
                Cell(duration(sum(seconds.values())) if seconds else MISSING, (parts,) if parts else ()),
                Cell(str(item.get("device") or MISSING)),
            )
        )
    columns = ("", "network", "state", "parameters", "epochs", "time", "device")
    return Table("Every training and further prediction", "", columns, tuple(rows))


def _of_item(item: Mapping[str, Any]) -> list[str]:
    """Return in words what sets a cell or job apart from others."""
    job = item.get("job")
    if job is None:
        return [f"first stages shared with {item['started_from']}"] if item.get("started_from") else []
    filled = [f"test cases of {job['data']}"] if job.get("data") else []
    filled += [f"{contrast} imputed by {cell}" for contrast, cell in job["imputers"].items()]
    rest = [name for name in job["without"] if name not in job["imputers"]]
    zeros = "zeros" if job["missing"] == "zeros" else "flagged as missing"
    return [", ".join(filled + ([f"{', '.join(rest)}: {zeros}"] if rest else []))]


def _usual(table: Mapping[str, Any], label: str) -> int:
    """Return how many patients most rows of a column have."""
    return max((int(row["cells"][label]["n"]) for row in table["rows"]), default=0)


def value(found: float | None) -> float:
    """Return a number of a JSON file, NaN for null."""
    return math.nan if found is None else float(found)


def _spread(mean: float | None, sd: float | None, digits: int) -> str:
    """Return mean ± SD."""
    spread = "" if sd is None else f" ± {number(float(sd), digits)}"
    return number(value(mean), digits) + spread
