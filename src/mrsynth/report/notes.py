"""What stands behind the numbers: how each was computed, and which values are missing."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from mrsynth.drawing.labels import in_order, metric_name, plain
from mrsynth.drawing.table import Cell, Table


def methods(records: pd.DataFrame) -> list[str]:
    """Return a sentence a way of computing: metric, regions, data range, dimension, aggregation, clipping."""
    sentences = []
    keys = ["preset", "metric", "dimension", "data_range", "aggregation", "clip"]
    for _, group in records.groupby(keys, sort=False, dropna=False):
        one = group.iloc[0]
        clip, span = one["clip"], float(one["data_range"])
        fitted = "; also after a linear fit to the truth inside the region" if "linear" in set(group["fit"]) else ""
        bounds = "no clipping" if clip in ("", "none", "None") else f"clipped to {clip}"
        extent = "no data range" if math.isnan(span) else f"data range {span:g}"
        sentences.append(
            f"{metric_name(one['metric'])}, preset {one['preset']}: {one['dimension']}-D, "
            f"in {_regions(group['region'])}; {extent}; "
            f"{one['aggregation'] or 'no aggregation stated'}; {bounds}{fitted}."
        )
    return sentences


def _regions(regions: Iterable[str]) -> str:
    """Return the regions in words; the connected lesions lesion#1, lesion#2, … are named together."""
    names = in_order(regions, ("brain", "volume"))
    words = [plain(name) for name in names if "#" not in name]
    return ", ".join(words + (["each connected lesion by itself"] if any("#" in name for name in names) else []))


def gaps_table(records: pd.DataFrame) -> Table | None:
    """Return the values that are missing (with their reason) or infinite, counted; None where there are none."""
    odd = records[~np.isfinite(records["value"])].copy()
    if odd.empty:
        return None
    odd["why"] = np.where(
        np.isinf(odd["value"]), "infinite: perfect match", odd["reason"].where(odd["reason"] != "", "no reason given")
    )
    rows = []
    for (preset, metric, region, predictor, fit, why), group in odd.groupby(
        ["preset", "metric", "region", "predictor", "fit", "why"], sort=False
    ):
        cases = ", ".join(dict.fromkeys(group["case"]))
        words = (metric_name(metric), preset, plain(region), plain(predictor), fit, why)
        rows.append((*(Cell(word) for word in words), Cell(str(len(group)), sort=float(len(group))), Cell(cases)))
    columns = ("metric", "preset", "region", "predictor", "fit", "why", "values", "cases")
    note = "Missing values enter no mean; infinite ones are left out of means and counted."
    return Table("Missing and infinite values", note, columns, tuple(rows), folded=True)
