"""The tables of the page: text, tone and sort key of every cell, so that the template only lays them out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mrsynth.drawing.labels import (
    FIRST_METRICS,
    MISSING,
    PREDICTORS,
    arrow,
    decimals,
    in_order,
    interval,
    metric_name,
    number,
    p_value,
    plain,
)
from mrsynth.drawing.table import Cell, Table, count, sort_key
from mrsynth.report.inputs import RunFolder
from mrsynth.report.scores import beats_identity, better, main_region, mean_of


def summary_tables(folder: RunFolder) -> list[Table]:
    """Return one table a preset and contrast: metric by predictor in the regions that stand for the whole image."""
    tables = []
    for (preset, contrast), group in groups(folder.summary, "preset", "contrast"):
        main = main_region(list(group["region"]))
        shown = group[group["region"].isin({main, "volume", "brain"})]
        who = in_order(shown["predictor"], PREDICTORS)
        published = folder.published if folder.published and preset == published_preset(folder) else None
        rows = []
        for region in in_order(shown["region"], (main,)):
            for fit in in_order(shown["fit"], ("none",)):
                part = shown[(shown["region"] == region) & (shown["fit"] == fit)]
                for metric in in_order(part["metric"], FIRST_METRICS):
                    same = part[part["metric"] == metric]
                    beside = {} if published and (fit != "none" or region != main) else published
                    rows.append(tuple(_summary_row(folder, same, who, beside)))
        columns = ["metric", "region", "n", *map(plain, who)]
        columns += [f"published (n = {published.get('n', '?')})"] if published else []
        columns += ["model − identity", "p (Holm)"]
        note = "Mean ± SD over patients, below it the 95 % interval. Bold: best. Red: not better than identity."
        tables.append(Table(f"Preset {preset} · {contrast.upper()}", note, tuple(columns), tuple(rows)))
    return tables


def published_preset(folder: RunFolder) -> str | None:
    """Return the preset that reproduces the paper's convention: the one named like the recipe. Only there may published
    numbers stand beside measured ones."""
    recipe = str(folder.run.get("recipe") or "")
    presets = set(folder.records["preset"])
    return recipe if recipe in presets else None


def published_text(mean: float, sd: float | None) -> str:
    """Return a published number as it is printed: with its SD where the paper gives one."""
    return f"{mean:g}" if sd is None else f"{mean:g} ± {sd:g}"


def groups(table: pd.DataFrame | None, *by: str) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Return (values of the columns, rows) in the table's own order; nothing without a table."""
    return (
        []
        if table is None
        else [(tuple(str(rows[name].iloc[0]) for name in by), rows) for _, rows in table.groupby(list(by), sort=False)]
    )


def _by_predictor(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the summary row of each predictor."""
    return {str(row["predictor"]): row for _, row in rows.iterrows()}


def _summary_row(
    folder: RunFolder, rows: pd.DataFrame, who: Sequence[str], published: Mapping[str, Any] | None
) -> list[Cell]:
    """Return one row of a summary table: what was measured, each predictor, the paper's value, difference and test.

    published: the paper's values by metric, empty for a row to which none belongs, None where there is no such column.
    """
    found = _by_predictor(rows)
    one = rows.iloc[0]
    metric, higher = str(one["metric"]), folder.higher_is_better.get(str(one["metric"]))
    means = [mean_of(row) for row in found.values()]
    digits = decimals(max((abs(m) for m in means if math.isfinite(m)), default=0.0))
    linear = ("after a linear fit",) if one["fit"] == "linear" else ()
    cells = [
        Cell(f"{metric_name(metric)} {arrow(higher)}".strip(), linear, sort=metric_name(metric)),
        Cell(plain(str(one["region"])), (_convention(rows),)),
        Cell(count(one["n"]), sort=sort_key(one["n"])),
    ]
    cells += [_mean_cell(folder, found.get(name), found, higher, digits) for name in who]
    if published is not None:
        value = published.get(metric)
        pair = value if isinstance(value, list | tuple) and len(value) == 2 else None
        cells.append(Cell(published_text(*pair), sort=float(pair[0])) if pair else Cell(MISSING))
    return cells + _test_cells(folder, one, found, digits)


def _mean_cell(
    folder: RunFolder, row: pd.Series | None, found: dict[str, pd.Series], higher: bool | None, digits: int
) -> Cell:
    """Return mean ± SD, interval and what was left out; bold if none is better, red if identity is not beaten."""
    if row is None:
        return Cell(MISSING)
    mean = mean_of(row)
    below = [interval(row["ci_low"], row["ci_high"], digits)]
    below += [f"{count(row['n_infinite'])} perfect (∞), left out"] if row["n_infinite"] > 0 else []
    below += [f"{count(row['n_missing'])} missing"] if row["n_missing"] > 0 else []
    tone = ""
    if higher is not None and not math.isnan(mean):
        rivals = [mean_of(other) for name, other in found.items() if name != row["predictor"]]
        tone = "" if any(better(rival, mean, higher) for rival in rivals) else "best"
        if row["predictor"] == "model" and beats_identity(folder, found, higher) is False:
            tone = "bad"
    spread = "" if math.isnan(row["sd"]) or math.isinf(mean) else f" ± {number(row['sd'], digits)}"
    return Cell(number(mean, digits) + spread, tuple(filter(None, below)), tone, sort_key(mean))


def _convention(rows: pd.DataFrame) -> str:
    """Return dimension and data range of summary rows in words: 3-D, range 1."""
    dimensions = " and ".join(f"{d}-D" for d in dict.fromkeys(rows["dimension"]) if d) if "dimension" in rows else ""
    ranges = " and ".join(f"{r:g}" for r in dict.fromkeys(rows["data_range"].dropna()))
    return f"{dimensions or 'dimension not stated'}, range {ranges or 'not stated'}"


def _test_cells(folder: RunFolder, one: pd.Series, found: dict[str, pd.Series], digits: int) -> list[Cell]:
    """Return the mean difference model − identity with its interval, and the corrected p of each test or its reason."""
    keys = {name: one[name] for name in ("preset", "metric", "region", "fit")} | {"a": "model", "b": "identity"}
    table = folder.tests
    if table is None or any(name not in table for name in keys):
        change = mean_of(found.get("model")) - mean_of(found.get("identity"))
        return [Cell(number(change, digits, sign=True), sort=sort_key(change)), Cell(MISSING)]
    rows = table[np.logical_and.reduce([table[name] == value for name, value in keys.items()])]
    if rows.empty:
        return [Cell(MISSING), Cell(MISSING)]
    first = rows.iloc[0]
    bounds = interval(first["ci_low"], first["ci_high"], digits, sign=True)
    gap = Cell(
        number(first["mean_difference"], digits, sign=True),
        (bounds,) if bounds else (),
        sort=sort_key(first["mean_difference"]),
    )
    lines = [
        f"{plain(row['test'])} {p_value(row['p_holm'])}" for _, row in rows.iterrows() if not math.isnan(row["p_holm"])
    ]
    reasons = [str(row.get("reason", "")) for _, row in rows.iterrows() if math.isnan(row["p_holm"])]
    lines += [f"no p: {reason or 'not given'}" for reason in dict.fromkeys(reasons)]
    return [gap, Cell("", tuple(lines), sort=sort_key(rows["p_holm"].min()))]


def region_tables(folder: RunFolder) -> list[Table]:
    """Return one table a preset, contrast and fit: a row a region, a column a metric, the identity below the model."""
    tables = []
    for (preset, contrast, fit), group in groups(folder.summary, "preset", "contrast", "fit"):
        if group["region"].nunique() < 2:
            continue
        metrics = in_order(group["metric"], FIRST_METRICS)
        rows = []
        for region in in_order(group["region"], ("brain", "volume")):
            part = group[group["region"] == region]
            counts = part.loc[part["predictor"] == "model", "n"]
            most = float(counts.max()) if len(counts) else math.nan
            cells = [Cell(plain(region)), Cell(count(most), sort=sort_key(most))]
            rows.append([*cells, *(_region_cell(folder, part[part["metric"] == m], m) for m in metrics)])
        columns = [
            "region",
            "n",
            *(f"{metric_name(m)} {arrow(folder.higher_is_better.get(m))}".strip() for m in metrics),
        ]
        title = f"Preset {preset} · {contrast.upper()}" + ("" if fit == "none" else f", after a {fit} fit")
        note = f"Model, mean ± SD over patients; below it the identity. Red: not better. {_convention(group)}."
        tables.append(Table(title, note, tuple(columns), tuple(map(tuple, rows)), folded=fit != "none"))
    return tables


def _region_cell(folder: RunFolder, rows: pd.DataFrame, metric: str) -> Cell:
    """Return a metric in a region: the model, below it identity and what is missing."""
    found = _by_predictor(rows)
    model, identity = mean_of(found.get("model")), mean_of(found.get("identity"))
    if "model" not in found:
        return Cell(MISSING)
    finite = [abs(x) for x in (model, identity) if math.isfinite(x)]
    digits = decimals(max(finite, default=0.0))
    cell = _mean_cell(folder, found["model"], found, folder.higher_is_better.get(metric), digits)
    counts = [line for line in cell.below if not line.startswith("[")]
    below = [*([f"identity {number(identity, digits)}"] if "identity" in found else []), *counts]
    return Cell(cell.text, tuple(below), "bad" if cell.tone == "bad" else "", cell.sort)


def tests_table(folder: RunFolder) -> Table | None:
    """Return every paired test with statistic, p and Holm-corrected p; None without tests."""
    if folder.tests is None:
        return None
    rows = []
    for _, row in folder.tests.iterrows():
        digits = decimals(row["mean_difference"])
        labels = [row.get(name, "") for name in ("preset", "region", "fit")]
        pair = f"{plain(str(row.get('a', '')))} − {plain(str(row.get('b', '')))}"
        bounds = interval(row["ci_low"], row["ci_high"], digits, sign=True)
        rows.append(
            (
                Cell(metric_name(str(row.get("metric", "")))),
                *(Cell(plain(str(label))) for label in labels),
                Cell(pair),
                Cell(
                    number(row["mean_difference"], digits, sign=True),
                    (bounds,) if bounds else (),
                    "",
                    sort_key(row["mean_difference"]),
                ),
                Cell(plain(str(row.get("test", "")))),
                Cell(count(row["n"]), sort=sort_key(row["n"])),
                Cell(number(row["statistic"], 2), sort=sort_key(row["statistic"])),
                Cell(p_value(row["p"]), sort=sort_key(row["p"])),
                Cell(
                    p_value(row["p_holm"]),
                    tuple(filter(None, [str(row.get("reason", ""))])),
                    sort=sort_key(row["p_holm"]),
                ),
            )
        )
    columns = (
        "metric",
        "preset",
        "region",
        "fit",
        "difference",
        "mean difference",
        "test",
        "n",
        "statistic",
        "p",
        "p (Holm)",
    )
    note = "Patients are the unit. Holm's correction is over all rows of the same test."
    return Table("Every paired test", note, columns, tuple(rows), folded=True)
