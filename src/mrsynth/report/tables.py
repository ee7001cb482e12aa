"""The tables of the page: text, tone and sort key of every cell, so that the template only lays them out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from mrsynth.metrics.rivals import KNOW_THE_TRUTH
from mrsynth.report.inputs import RunFolder
from mrsynth.report.scores import (
    CaseScore,
    Headline,
    beats,
    best_rival,
    better,
    find_all,
    main_region,
    mean_of,
    rival_at,
    value_of,
)


def summary_tables(folder: RunFolder) -> list[Table]:
    """Return one table a preset and contrast: the model beside identity and best rival, where the whole image counts.

    Args:
        folder: the run.

    Returns:
        The tables, none without a summary.
    """
    tables = []
    for (preset, contrast), group in groups(folder.summary, "preset", "contrast"):
        main = main_region(list(group["region"]))
        shown = group[group["region"].isin({main, "volume", "brain"})]
        published = folder.published if folder.published and preset == published_preset(folder) else None
        rows = []
        for region, fit, same in _by_metric(shown, main):
            beside = {} if published and (fit != "none" or region != main) else published
            rows.append(tuple(_summary_row(folder, same, beside)))
        columns = ["metric", "region", "n", "model", "identity", "best rival"]
        columns += [f"published (n = {published.get('n', '?')})"] if published else []
        columns += ["model − best rival", "p (Holm)"]
        note = "Mean ± SD over patients, below it the 95 % interval. Bold: best. Red: not better than the best rival."
        tables.append(Table(f"Preset {preset} · {contrast.upper()}", note, tuple(columns), tuple(rows)))
    return tables


def rivals_tables(folder: RunFolder) -> list[Table]:
    """Return one folded table a preset and contrast: every predictor side by side, where the whole image is judged."""
    tables = []
    for (preset, contrast), group in groups(folder.summary, "preset", "contrast"):
        main = main_region(list(group["region"]))
        shown = group[group["region"] == main]
        who = in_order(shown["predictor"], PREDICTORS)
        if len(who) < 3:
            continue
        rows = []
        for _, _, same in _by_metric(shown, main):
            found, higher, digits = _by_predictor(same), _higher(folder, same), _digits(same)
            name = metric_name(str(same["metric"].iloc[0])) + _linear(same, " after a linear fit")
            cells = [_mean_cell(folder, found.get(one), found, higher, digits) for one in who]
            rows.append((Cell(name), *cells))
        title = f"All simple rivals: preset {preset} · {contrast.upper()}, {plain(main)}"
        note = "Made in seconds from the training cases (metrics/rivals.py). A second scan is no rival but the ceiling."
        tables.append(Table(title, note, ("metric", *map(plain, who)), tuple(rows), folded=True))
    return tables


def _by_metric(rows: pd.DataFrame, main: str) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield (region, fit, summary rows) of each metric, in the page's order."""
    for region in in_order(rows["region"], (main,)):
        for fit in in_order(rows["fit"], ("none",)):
            part = rows[(rows["region"] == region) & (rows["fit"] == fit)]
            for metric in in_order(part["metric"], FIRST_METRICS):
                yield region, fit, part[part["metric"] == metric]


def _higher(folder: RunFolder, rows: pd.DataFrame) -> bool | None:
    return folder.higher_is_better.get(str(rows["metric"].iloc[0]))


def _digits(rows: pd.DataFrame) -> int:
    """Return the decimals that the means of summary rows share."""
    means = [mean_of(row) for _, row in rows.iterrows()]
    return decimals(max((abs(m) for m in means if math.isfinite(m)), default=0.0))


def _linear(rows: pd.DataFrame, words: str) -> str:
    return words if rows["fit"].iloc[0] == "linear" else ""


def published_preset(folder: RunFolder) -> str | None:
    """Return the preset that reproduces the paper's convention: the one named like the recipe.

    Only in its tables may published numbers stand beside measured ones.

    Args:
        folder: the run.

    Returns:
        The preset, None where no record has it.
    """
    recipe = str(folder.run.get("recipe") or "")
    presets = set(folder.records["preset"])
    return recipe if recipe in presets else None


def published_text(mean: float, sd: float | None) -> str:
    """Return a published number as it is printed.

    Args:
        mean: the number.
        sd: its standard deviation, None where the paper gives none.
    """
    return f"{mean:g}" if sd is None else f"{mean:g} ± {sd:g}"


def groups(table: pd.DataFrame | None, *by: str) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Return the groups of rows that have the same values in some columns, in the table's own order.

    Args:
        table: the table, None where there is none.
        *by: the columns.

    Returns:
        Values of the columns as text and the rows, of each group; nothing without a table.
    """
    return (
        []
        if table is None
        else [(tuple(str(rows[name].iloc[0]) for name in by), rows) for _, rows in table.groupby(list(by), sort=False)]
    )


def _by_predictor(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the summary row of each predictor."""
    return {str(row["predictor"]): row for _, row in rows.iterrows()}


def _summary_row(folder: RunFolder, rows: pd.DataFrame, published: Mapping[str, Any] | None) -> list[Cell]:
    """Return one row of a summary table: what was measured, the predictors, the paper's value, difference and test.

    published: the paper's values by metric, empty for a row to which none belongs, None where there is no such column.
    """
    found, one, digits = _by_predictor(rows), rows.iloc[0], _digits(rows)
    metric, higher, rival = str(one["metric"]), _higher(folder, rows), best_rival(found)
    best = _mean_cell(folder, found.get(rival), found, higher, digits)
    cells = [
        Cell(
            f"{metric_name(metric)} {arrow(higher)}".strip(), tuple(filter(None, [_linear(rows, "after a linear fit")]))
        ),
        Cell(plain(str(one["region"])), (_convention(rows),)),
        Cell(count(one["n"]), sort=sort_key(one["n"])),
        *(_mean_cell(folder, found.get(name), found, higher, digits) for name in ("model", "identity")),
        replace(best, below=(plain(rival), *best.below)) if rival in found else best,
    ]
    if published is not None:
        value = published.get(metric)
        pair = value if isinstance(value, list | tuple) and len(value) == 2 else None
        cells.append(Cell(published_text(*pair), sort=float(pair[0])) if pair else Cell(MISSING))
    return cells + _test_cells(folder, one, found, rival, digits)


def _mean_cell(
    folder: RunFolder, row: pd.Series | None, found: dict[str, pd.Series], higher: bool | None, digits: int
) -> Cell:
    """Return mean ± SD, interval and what was left out; bold if none is better, red if the best rival is not beaten."""
    if row is None:
        return Cell(MISSING)
    mean = mean_of(row)
    below = [interval(row["ci_low"], row["ci_high"], digits)]
    below += [f"{count(row['n_infinite'])} perfect (∞), left out"] if row["n_infinite"] > 0 else []
    below += [f"{count(row['n_missing'])} missing"] if row["n_missing"] > 0 else []
    tone = ""
    if higher is not None and not math.isnan(mean):
        others = [mean_of(other) for name, other in found.items() if name not in (row["predictor"], *KNOW_THE_TRUTH)]
        tone = "" if any(better(other, mean, higher) for other in others) else "best"
        if row["predictor"] == "model" and beats(folder, found, best_rival(found), higher) is False:
            tone = "bad"
    spread = "" if math.isnan(row["sd"]) or math.isinf(mean) else f" ± {number(row['sd'], digits)}"
    return Cell(number(mean, digits) + spread, tuple(filter(None, below)), tone, sort_key(mean))


def _convention(rows: pd.DataFrame) -> str:
    """Return dimension and data range of summary rows in words: 3-D, range 1."""
    dimensions = " and ".join(f"{d}-D" for d in dict.fromkeys(rows["dimension"]) if d) if "dimension" in rows else ""
    ranges = " and ".join(f"{r:g}" for r in dict.fromkeys(rows["data_range"].dropna()))
    return f"{dimensions or 'dimension not stated'}, range {ranges or 'not stated'}"


def _test_cells(folder: RunFolder, one: pd.Series, found: dict[str, pd.Series], rival: str, digits: int) -> list[Cell]:
    """Return the mean difference model − rival with its interval, and the corrected p of each test or its reason."""
    keys = {name: str(one[name]) for name in ("preset", "metric", "region", "fit")}
    rows = find_all(folder.tests, **keys, a="model", b=rival)
    if rows.empty:
        change = mean_of(found.get("model")) - mean_of(found.get(rival))
        return [Cell(number(change, digits, sign=True), sort=sort_key(change)), Cell(MISSING)]
    tested = rows["p_holm"].notna()
    lines = [f"{plain(row['test'])} {p_value(row['p_holm'])}" for _, row in rows[tested].iterrows()]
    reasons = dict.fromkeys(str(row.get("reason", "")) for _, row in rows[~tested].iterrows())
    lines += [f"no p: {reason or 'not given'}" for reason in reasons]
    return [_change_cell(rows.iloc[0], digits), Cell("", tuple(lines), sort=sort_key(rows["p_holm"].min()))]


def _change_cell(row: pd.Series, digits: int) -> Cell:
    """Return the mean difference of a test with its interval."""
    bounds, change = interval(row["ci_low"], row["ci_high"], digits, sign=True), row["mean_difference"]
    return Cell(number(change, digits, sign=True), (bounds,) if bounds else (), sort=sort_key(change))


def region_tables(folder: RunFolder) -> list[Table]:
    """Return one table a preset, contrast and fit: a row a region, a column a metric, the best rival below the model.

    Args:
        folder: the run.

    Returns:
        The tables; where a summary has one region alone there is none.
    """
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
            rows.append((*cells, *(_region_cell(folder, part[part["metric"] == m], m) for m in metrics)))
        names = [f"{metric_name(m)} {arrow(folder.higher_is_better.get(m))}".strip() for m in metrics]
        title = f"Preset {preset} · {contrast.upper()}" + ("" if fit == "none" else f", after a {fit} fit")
        note = f"Model, mean ± SD over patients; below it the best rival. Red: not better. {_convention(group)}."
        tables.append(Table(title, note, ("region", "n", *names), tuple(rows), folded=fit != "none"))
    return tables


def _region_cell(folder: RunFolder, rows: pd.DataFrame, metric: str) -> Cell:
    """Return a metric in a region: the model, below it the best rival and what is missing."""
    found = _by_predictor(rows)
    if "model" not in found:
        return Cell(MISSING)
    rival, digits = best_rival(found), _digits(rows)
    cell = _mean_cell(folder, found["model"], found, folder.higher_is_better.get(metric), digits)
    beside = [f"{plain(rival)} {number(mean_of(found[rival]), digits)}"] if rival in found else []
    below = [*beside, *(line for line in cell.below if not line.startswith("["))]
    return Cell(cell.text, tuple(below), "bad" if cell.tone == "bad" else "", cell.sort)


def tests_table(folder: RunFolder) -> Table | None:
    """Return every paired test with statistic, p and Holm-corrected p; None without tests."""
    if folder.tests is None:
        return None
    names = "metric,preset,region,fit,difference,mean difference,test,n,statistic,p,p (Holm)"
    note = "Patients are the unit. Holm's correction is over all rows of the same test."
    rows = tuple(_test_row(row) for _, row in folder.tests.iterrows())
    return Table("Every paired test", note, tuple(names.split(",")), rows, folded=True)


def _test_row(row: pd.Series) -> tuple[Cell, ...]:
    """Return one paired test."""
    labels = [str(row.get(name, "")) for name in ("preset", "region", "fit")]
    reason = str(row.get("reason", ""))
    return (
        Cell(metric_name(str(row.get("metric", "")))),
        *(Cell(plain(label)) for label in labels),
        Cell(f"{plain(str(row.get('a', '')))} − {plain(str(row.get('b', '')))}"),
        _change_cell(row, decimals(row["mean_difference"])),
        Cell(plain(str(row.get("test", "")))),
        Cell(count(row["n"]), sort=sort_key(row["n"])),
        Cell(number(row["statistic"], 2), sort=sort_key(row["statistic"])),
        Cell(p_value(row["p"]), sort=sort_key(row["p"])),
        Cell(p_value(row["p_holm"]), (reason,) if reason else (), sort=sort_key(row["p_holm"])),
    )


def cases_table(folder: RunFolder, cases: Sequence[CaseScore], at: Headline, links: Mapping[str, str]) -> Table:
    """Return every case with the best rival below the model.

    Args:
        folder: the run.
        cases: the rows of the table, the worst first.
        at: the headline; its preset, contrast and region are shown, every metric is a column.
        links: case → address where it is shown; a case without one is no link.
    """
    metrics = _case_metrics(folder, at.preset, at.contrast, at.region)
    rivals = {metric: rival_at(folder, replace(at, metric=metric)) for metric in metrics}
    rows = []
    for rank, score in enumerate(cases, start=1):
        cells = [
            Cell(str(rank), sort=float(rank)),
            Cell(score.case, link=links.get(score.case, "")),
            Cell(score.patient or MISSING),
        ]
        for metric in metrics:
            here = replace(at, metric=metric)
            model, rival = (value_of(folder, here, score.case, who) for who in ("model", rivals[metric]))
            digits = decimals(next((v for v in (model, rival) if math.isfinite(v)), 0.0))
            cells.append(_case_cell(model, rival, folder.higher_is_better.get(metric), digits, below=True))
        rows.append(tuple(cells))
    names = [f"{metric_name(m)} {arrow(folder.higher_is_better.get(m))}".strip() for m in metrics]
    note = f"Region {plain(at.region)}, preset {at.preset}; below each value that of the best rival. Red: not better."
    return Table("All cases, worst first", note, ("rank", "case", "patient", *names), tuple(rows))


def case_tables(folder: RunFolder, case: str) -> list[Table]:
    """Return the values of one case: a table a preset and contrast, a row a predictor, a column a metric.

    Each table is of the main region, without any fit.

    Args:
        folder: the run.
        case: its name.
    """
    tables = []
    mine = folder.records[(folder.records["case"] == case) & (folder.records["fit"] == "none")]
    for (preset, contrast), group in groups(mine, "preset", "contrast"):
        region = main_region(list(group["region"]))
        metrics = _case_metrics(folder, preset, contrast, region)
        digits = {metric: _case_digits(group, region, metric) for metric in metrics}
        rows = []
        for who in in_order(group["predictor"], PREDICTORS):
            cells = [Cell(plain(who))]
            for metric in metrics:
                here = Headline(preset, contrast, region, metric)
                value, rival = (value_of(folder, here, case, name) for name in (who, rival_at(folder, here)))
                higher = folder.higher_is_better.get(metric) if who == "model" else None
                cells.append(_case_cell(value, rival, higher, digits[metric], below=False))
            rows.append(tuple(cells))
        names = [f"{metric_name(m)} {arrow(folder.higher_is_better.get(m))}".strip() for m in metrics]
        tables.append(Table(f"{preset} · {plain(region)}", "", ("", *names), tuple(rows)))
    return tables


def _case_metrics(folder: RunFolder, preset: str, contrast: str, region: str) -> list[str]:
    """Return the metrics that the cases have under a preset in a region, without any fit."""
    table = folder.records
    at = (
        (table["preset"] == preset)
        & (table["contrast"] == contrast)
        & (table["region"] == region)
        & (table["fit"] == "none")
    )
    return in_order(table.loc[at, "metric"], FIRST_METRICS)


def _case_digits(records: pd.DataFrame, region: str, metric: str) -> int:
    """Return the decimals that a metric's values of one case share."""
    values = records.loc[(records["region"] == region) & (records["metric"] == metric), "value"].abs()
    finite = values[np.isfinite(values)]
    return decimals(0.0 if finite.empty else float(finite.max()))


def _case_cell(value: float, rival: float, higher: bool | None, digits: int, *, below: bool) -> Cell:
    """Return one value of one case, red where it is not better than the rival's."""
    tone = "bad" if better(value, rival, higher) is False else ""
    return Cell(number(value, digits), (number(rival, digits),) if below else (), tone, sort_key(value))
