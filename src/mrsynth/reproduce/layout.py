"""How the numbers of a study are laid out as tables, for its page and to read as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from mrsynth.drawing.labels import MISSING, arrow, decimals, duration, number, p_value, plain
from mrsynth.drawing.table import Cell, Table
from mrsynth.report.scores import better
from mrsynth.reproduce.records import ClaimRow, Column, ItemEntry, Row, TableRecord


def measured_table(table: TableRecord) -> Table:
    """Return a table of a study: mean ± SD over patients, below it the paper's, n where it differs from the others.

    Where the rows make the same image, the best is bold, and red what is not better than the best simple rival of its
    own run; errors of different images cannot be compared.
    """
    alike = len({row.target for row in table.rows if row.target}) == 1
    rows = [(_label(r), *(_measured(r, column, table, alike) for column in table.columns)) for r in table.rows]
    heads = [f"{c.label} {arrow(c.higher_is_better)} (n = {_usual(table, c.label)})" for c in table.columns]
    return Table(table.title, table.note, ("", *heads), tuple(rows))


def _label(row: Row) -> Cell:
    """Return a row's name; below it how its training ended, where it has not come to rest."""
    return Cell(row.label, () if row.converged or not row.convergence else (row.convergence,))


def _measured(row: Row, column: Column, table: TableRecord, alike: bool) -> Cell:
    """Return one number of a table; alike: whether its rows can be compared."""
    cell, label, higher = row.cells[column.label], column.label, column.higher_is_better
    mean, published = value(cell.mean), cell.published
    digits = decimals(mean if math.isfinite(mean) else value(published[0] if published else None))
    below = [f"paper {_spread(published[0], published[1], digits)}"] if published else []
    if row.state not in ("done", "published"):
        return Cell(row.state, tuple(below), sort="")
    below += [f"n = {cell.n}"] if cell.n and cell.n != _usual(table, label) else []
    if cell.seed_sd is not None:
        below.append(f"over {cell.seeds} seeds ± {number(cell.seed_sd, digits)}")
    if row.predictor != "model":
        return Cell(_spread(cell.mean, cell.sd, digits), (*([plain(cell.rival)] if cell.rival else []), *below))
    behind = better(mean, value(cell.rival_mean), higher) is False
    below += [f"{plain(cell.rival)} {number(value(cell.rival_mean), digits)}"] if behind and cell.rival else []
    models = [value(r.cells[label].mean) for r in table.rows if r.predictor == "model"]
    best = higher is not None and math.isfinite(mean) and not any(better(other, mean, higher) for other in models)
    tone = "bad" if behind else "best" if alike and best else ""
    return Cell(_spread(cell.mean, cell.sd, digits), tuple(below), tone)


def comparisons_table(table: TableRecord) -> Table | None:
    """Return the tests of a table, the paper's beside them; None where it has none."""
    if not table.tests:
        return None
    rows = []
    for test in table.tests:
        ours, theirs, p = value(test.mean_difference), value(test.published_difference), value(test.p)
        digits = decimals(ours if math.isfinite(ours) else theirs)
        rows.append(
            (
                Cell(f"{test.a} − {test.b}", (test.test,)),
                Cell(test.column),
                Cell(str(test.n)),
                Cell(number(ours, digits, sign=True), _ends(test.interval, digits), "bad" if ours * theirs < 0 else ""),
                Cell(p_value(p), (test.reason,) if math.isnan(p) and test.reason else ()),
                Cell(number(theirs, digits, sign=True), _ends(test.published_interval, digits)),
                Cell(test.published_p or MISSING),
            )
        )
    columns = ("difference", "metric", "n", "measured", "p", "paper", "paper's p")
    kinds = {test.test == "independent t" for test in table.tests}
    note = "Paired over patients. " if False in kinds else ""
    note += "Independent: as if the rows were two groups of patients; 95 % interval below. " if True in kinds else ""
    note += "Red: the other sign than the paper's."
    return Table("Tests", note, columns, tuple(rows))


def claims_table(claims: Sequence[ClaimRow]) -> Table:
    """Return what a paper reads from its figures, the numbers by which that is judged, and the verdicts."""
    rows = []
    for claim in claims:
        numbers = [f"{label} {number(value(found), decimals(value(found)))}" for label, found in claim.values.items()]
        tone = {"holds": "best", "does not hold": "bad"}.get(claim.verdict, "")
        why = (claim.why,) if claim.why else ()
        rows.append(
            (
                Cell(claim.figure),
                Cell(claim.says),
                Cell(claim.measured or MISSING, tuple(numbers)),
                Cell(claim.verdict, why, tone),
            )
        )
    note = "Means, without a test: what differs by less than the spread in the tables is not shown either way."
    return Table("Claims of the figures", note, ("figure", "the paper says", "measured here", "verdict"), tuple(rows))


def _ends(interval: Sequence[float] | None, digits: int) -> tuple[str, ...]:
    """Return an interval as the line below a number."""
    return () if interval is None else (" to ".join(number(float(end), digits, sign=True) for end in interval),)


def runs_table(items: Sequence[ItemEntry], out: Path) -> Table:
    """Return every cell and job with its state, why it failed, its size and how long it took.

    Args:
        items: the cells, jobs and data, as study.json lists them.
        out: the study's folder; an item is linked to its report where there is one.
    """
    rows = []
    for item in items:
        parts = ", ".join(f"{part} {duration(took)}" for part, took in item.seconds.items())
        page, failed = f"{item.folder}/report.html", len(item.failed_cases)
        below = [item.why.splitlines()[0]] if item.why else []
        below += [f"numbers from elsewhere: {item.imported}"] if item.imported else []
        below += [f"{failed} test cases could not be predicted or judged"] if failed else []
        rows.append(
            (
                Cell(item.label, link=quote(page) if (out / page).is_file() else ""),
                Cell(f"{item.net}: {', '.join(item.inputs)} → {item.target}", tuple(_of_item(item))),
                Cell(item.state, tuple(below), "bad" if item.state == "failed" else ""),
                Cell(f"{item.parameters:,}".replace(",", " ") if item.parameters else MISSING),
                Cell(MISSING if item.epochs is None else str(item.epochs), tuple(filter(None, [item.convergence]))),
                Cell(duration(sum(item.seconds.values())) if item.seconds else MISSING, (parts,) if parts else ()),
                Cell(item.device or MISSING),
            )
        )
    columns = ("", "network", "state", "parameters", "epochs", "time", "device")
    return Table("Every training and further prediction", "", columns, tuple(rows))


def _of_item(item: ItemEntry) -> list[str]:
    """Return in words what sets a cell or job apart from others."""
    job = item.job
    if job is None:
        return [f"first stages shared with {item.started_from}"] if item.started_from else []
    filled = [f"the weights at the end of stage {job['stage']}"] if job.get("stage") else []
    filled += [f"test cases of {job['data']}"] if job.get("data") else []
    filled += [f"{contrast} imputed by {cell}" for contrast, cell in job["imputers"].items()]
    rest = [name for name in job["without"] if name not in job["imputers"]]
    zeros = "zeros" if job["missing"] == "zeros" else "flagged as missing"
    return [", ".join(filled + ([f"{', '.join(rest)}: {zeros}"] if rest else []))]


def _usual(table: TableRecord, label: str) -> int:
    """Return how many patients most rows of a column have."""
    return max((row.cells[label].n for row in table.rows), default=0)


def value(found: float | None) -> float:
    """Return a number of a JSON file, NaN for null."""
    return math.nan if found is None else float(found)


def _spread(mean: float | None, sd: float | None, digits: int) -> str:
    """Return mean ± SD."""
    spread = "" if sd is None else f" ± {number(float(sd), digits)}"
    return number(value(mean), digits) + spread
