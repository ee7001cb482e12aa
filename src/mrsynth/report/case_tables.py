"""The tables of single cases: all of them side by side, and each one's own numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mrsynth.drawing.labels import (
    FIRST_METRICS,
    MISSING,
    PREDICTORS,
    arrow,
    decimals,
    in_order,
    metric_name,
    number,
    plain,
)
from mrsynth.drawing.table import Cell, Table, sort_key
from mrsynth.report.inputs import RunFolder
from mrsynth.report.scores import CaseScore, Headline, better, main_region, value_of
from mrsynth.report.tables import groups


def cases_table(folder: RunFolder, cases: Sequence[CaseScore], at: Headline, shown: Collection[int]) -> Table:
    """Return every case with model and identity side by side, the worst first; those at the places `shown` (from 0) are
    links to their pictures."""
    metrics = _case_metrics(folder, at.preset, at.contrast, at.region)
    rows = []
    for rank, score in enumerate(cases, start=1):
        cells = [
            Cell(str(rank), sort=float(rank)),
            Cell(score.case, link=f"#case-{rank}" if rank - 1 in shown else ""),
            Cell(score.patient or MISSING),
        ]
        for metric in metrics:
            here = replace(at, metric=metric)
            model, identity = (value_of(folder, here, score.case, who) for who in ("model", "identity"))
            digits = decimals(next((v for v in (model, identity) if math.isfinite(v)), 0.0))
            cells.append(_case_cell(model, identity, folder.higher_is_better.get(metric), digits, below=True))
        rows.append(tuple(cells))
    names = [f"{metric_name(m)} {arrow(folder.higher_is_better.get(m))}".strip() for m in metrics]
    note = f"Region {plain(at.region)}, preset {at.preset}; below each value the identity's. Red: not better."
    return Table("All cases, worst first", note, ("rank", "case", "patient", *names), tuple(rows))


def case_tables(folder: RunFolder, case: str) -> list[Table]:
    """Return the values of one case: a table a preset, a row a predictor, a column a metric (main region)."""
    tables = []
    mine = folder.records[(folder.records["case"] == case) & (folder.records["fit"] == "none")]
    for (preset, contrast), group in groups(mine, "preset", "contrast"):
        region = main_region(list(group["region"]))
        metrics = _case_metrics(folder, preset, contrast, region)
        digits = {metric: _digits(group, region, metric) for metric in metrics}
        rows = []
        for who in in_order(group["predictor"], PREDICTORS):
            cells = [Cell(plain(who))]
            for metric in metrics:
                here = Headline(preset, contrast, region, metric)
                value, identity = (value_of(folder, here, case, name) for name in (who, "identity"))
                higher = folder.higher_is_better.get(metric) if who == "model" else None
                cells.append(_case_cell(value, identity, higher, digits[metric], below=False))
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


def _digits(records: pd.DataFrame, region: str, metric: str) -> int:
    """Return the decimals that a metric's values of one case share."""
    values = records.loc[(records["region"] == region) & (records["metric"] == metric), "value"].abs()
    finite = values[np.isfinite(values)]
    return decimals(0.0 if finite.empty else float(finite.max()))


def _case_cell(value: float, identity: float, higher: bool | None, digits: int, *, below: bool) -> Cell:
    """Return one value of one case, red where it is not better than the identity's."""
    tone = "bad" if better(value, identity, higher) is False else ""
    return Cell(number(value, digits), (number(identity, digits),) if below else (), tone, sort_key(value))
