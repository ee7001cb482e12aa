"""What the numbers say: the headline metric, whether the model beats the identity, and the cases, worst first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mrsynth.drawing.labels import FIRST_METRICS, decimals, in_order, metric_name, number, p_value, plain
from mrsynth.drawing.panels import Panel
from mrsynth.report.inputs import RunFolder

FEW_PATIENTS = 10
"""Below this the page warns that its statistics are rough."""


@dataclass(frozen=True)
class Headline:
    """By what the run is judged first: one metric, in one region, under one preset, without any fit."""

    preset: str
    contrast: str
    region: str
    metric: str


@dataclass(frozen=True)
class Verdict:
    """tone: good, mixed, bad or unknown; title: the answer; text: the numbers behind it, a sentence each."""

    tone: str
    title: str
    text: tuple[str, ...]


def main_region(regions: Sequence[str]) -> str:
    """Return the region that stands for the whole image: brain, else volume, else the first."""
    return in_order(regions, ("brain", "volume"))[0]


def headline(folder: RunFolder) -> Headline:
    """Return what the run is judged by: SSIM of the first preset in the main region (the first metric without SSIM)."""
    records = folder.records
    if records.empty:
        return Headline("none", "", "brain", FIRST_METRICS[0])
    first = records[records["preset"] == records["preset"].iloc[0]]
    first = first[first["contrast"] == first["contrast"].iloc[0]]
    metric = in_order(first["metric"], FIRST_METRICS)[0]
    region = main_region(list(first.loc[first["metric"] == metric, "region"]))
    return Headline(str(first["preset"].iloc[0]), str(first["contrast"].iloc[0]), region, metric)


def better(a: float, b: float, higher: bool | None) -> bool | None:
    """Say whether a is better than b, None where the direction or a value is missing. An equal value is not better."""
    if higher is None or math.isnan(a) or math.isnan(b):
        return None
    return a > b if higher else a < b


def beats_identity(folder: RunFolder, rows: Mapping[str, pd.Series], higher: bool | None) -> bool | None:
    """Say whether the model is better than the identity, from the summary rows of both, by predictor.

    By their means; where one has values that the other lacks (another input is missing, a perfect match), by the mean
    difference over what both have, as their means are then of other cases.
    """
    gap = paired_gap(folder, rows)
    if not math.isnan(gap):
        return better(gap, 0.0, higher)
    return better(mean_of(rows.get("model")), mean_of(rows.get("identity")), higher)


def paired_gap(folder: RunFolder, rows: Mapping[str, pd.Series]) -> float:
    """Return the mean of model − identity over what both have, where one of them has values that the other lacks; NaN
    where both have the same, or no test holds it."""
    if not {"model", "identity"} <= set(rows):
        return math.nan
    model, identity = rows["model"], rows["identity"]
    if all(model[name] == identity[name] for name in ("n", "n_infinite", "n_missing")):
        return math.nan
    place = {name: str(model[name]) for name in ("preset", "metric", "region", "fit")}
    test = find(folder.tests, **place, a="model", b="identity")
    return math.nan if test is None else float(test["mean_difference"])


def mean_of(row: pd.Series | None) -> float:
    """Return the mean of a summary row: infinite where every value was (perfect matches only), NaN without a row."""
    if row is None:
        return math.nan
    return math.inf if math.isnan(row["mean"]) and row["n_infinite"] > 0 else float(row["mean"])


def find(table: pd.DataFrame | None, **keys: str) -> pd.Series | None:
    """Return the first row whose columns have these values, None where there is none."""
    if table is None or any(name not in table for name in keys):
        return None
    rows = table[np.logical_and.reduce([table[name] == value for name, value in keys.items()])]
    return None if rows.empty else rows.iloc[0]


def comparisons(folder: RunFolder, at: Headline) -> dict[str, tuple[float, float, bool | None]]:
    """Return by metric the means of model and identity beside the headline, and whether the model is better."""
    found = {}
    if folder.summary is None:
        return {}
    place = {"preset": at.preset, "contrast": at.contrast, "region": at.region, "fit": "none"}
    metrics = in_order([at.metric, *folder.higher_is_better], (at.metric, *FIRST_METRICS))
    for metric in metrics:
        rows = _both(folder, metric, place)
        model, identity = (mean_of(rows.get(who)) for who in ("model", "identity"))
        if not math.isnan(model):
            ahead = beats_identity(folder, rows, folder.higher_is_better.get(metric))
            found[metric] = (model, identity, ahead)
    return found


def _both(folder: RunFolder, metric: str, place: Mapping[str, str]) -> dict[str, pd.Series]:
    """Return the summary rows of model and identity, those that there are."""
    rows = {who: find(folder.summary, metric=metric, predictor=who, **place) for who in ("model", "identity")}
    return {who: row for who, row in rows.items() if row is not None}


def verdict(folder: RunFolder, at: Headline) -> Verdict:
    """Say whether the model beats the identity baseline at the headline, and where another metric disagrees."""
    if folder.records.empty:
        return Verdict("unknown", "Nothing could be judged.", ("These patients have no true scan of what was made.",))
    compared = comparisons(folder, at)
    model, identity, ahead = compared.get(at.metric, (math.nan, math.nan, None))
    if ahead is None:
        reason = "It needs the means of model and identity and the metric's direction, from metrics.json."
        return Verdict("unknown", "It is not known whether the model beats the identity baseline.", (reason,))
    digits = decimals(max((abs(x) for x in (model, identity) if math.isfinite(x)), default=0.0))
    name = metric_name(at.metric)
    patients = folder.n_patients
    count = "an unknown number of patients" if patients is None else f"{patients} patient{'s' if patients != 1 else ''}"
    where = f"{count}; {at.region}, preset {at.preset}"
    text = [f"Mean {name} of the model {number(model, digits)}, of the identity {number(identity, digits)} ({where})."]
    text += _gap_sentence(folder, at, digits) + _test_sentence(folder, at)
    if patients is not None and patients < FEW_PATIENTS:
        text.append(f"With fewer than {FEW_PATIENTS} patients, intervals and tests are rough.")
    behind = [
        metric for metric, (_, _, is_better) in compared.items() if is_better is False and metric in FIRST_METRICS
    ]
    if ahead and behind:
        text.append("It does not beat the identity in " + ", ".join(map(metric_name, behind)) + ".")
    mean = mean_of(
        find(
            folder.summary,
            metric=at.metric,
            predictor="training_mean",
            fit="none",
            preset=at.preset,
            contrast=at.contrast,
            region=at.region,
        )
    )
    if better(mean, model, folder.higher_is_better.get(at.metric)):
        text.append(f"The training-mean image scores better than the model: {name} {number(mean, digits)}.")
    if not ahead:
        return Verdict("bad", "The model does not beat the identity baseline.", tuple(text))
    tone, title = ("mixed", f"The model beats the identity baseline in {name}, but not in every metric.")
    return Verdict(
        tone if behind else "good", title if behind else "The model beats the identity baseline.", tuple(text)
    )


def _gap_sentence(folder: RunFolder, at: Headline, digits: int) -> list[str]:
    """Return what decides where the two means are of other cases."""
    place = {"preset": at.preset, "contrast": at.contrast, "region": at.region, "fit": "none"}
    gap = paired_gap(folder, _both(folder, at.metric, place))
    words = f"Where both have a value, model − identity is {number(gap, digits, sign=True)} in the mean; this counts."
    return [] if math.isnan(gap) else [words]


def _test_sentence(folder: RunFolder, at: Headline) -> list[str]:
    """Return what the paired tests of the headline say, each with its Holm-corrected p or why there is none."""
    if folder.tests is None:
        return []
    table = folder.tests
    keys = {"preset": at.preset, "metric": at.metric, "region": at.region, "fit": "none", "a": "model", "b": "identity"}
    if any(name not in table for name in keys):
        return []
    rows = table[np.logical_and.reduce([table[name] == value for name, value in keys.items()])]
    parts, reasons = [], []
    for _, row in rows.iterrows():
        if math.isnan(row["p_holm"]):
            reasons.append(str(row.get("reason") or "no p value"))
        else:
            parts.append(f"{plain(row['test'])} p = {p_value(row['p_holm'])}".replace("= <", "<"))
    sentences = [f"Paired over patients, Holm-corrected: {', '.join(parts)}."] if parts else []
    return sentences + [f"No test: {reason}." for reason in dict.fromkeys(reasons)]


@dataclass(frozen=True, eq=False)
class CaseScore:
    """One case: its value of the headline metric by predictor, and its panels."""

    case: str
    patient: str
    model: float
    identity: float
    panels: tuple[Panel, ...]


def value_of(folder: RunFolder, at: Headline, case: str, predictor: str) -> float:
    """Return the unfitted value of one case and predictor at a place, NaN where there is none or it is missing."""
    return folder.values.get((at.preset, at.contrast, at.region, at.metric, "none", case, predictor), math.nan)


def ranked_cases(folder: RunFolder, at: Headline) -> list[CaseScore]:
    """Return every case that has a record or a panel, the worst first; a case without a value comes before all."""
    higher = folder.higher_is_better.get(at.metric, at.metric in ("ssim", "psnr"))
    scores = []
    for case in dict.fromkeys([*folder.records["case"], *(panel.case for panel in folder.panels)]):
        panels = tuple(panel for panel in folder.panels if panel.case == case)
        patient = next((str(panel.meta["patient"]) for panel in panels if panel.meta.get("patient")), "")
        model, identity = (value_of(folder, at, case, who) for who in ("model", "identity"))
        scores.append(CaseScore(str(case), patient, model, identity, panels))
    return sorted(scores, key=lambda s: (not math.isnan(s.model), (s.model if higher else -s.model), s.case))


def spread(total: int, count: int) -> list[int]:
    """Return up to `count` of the places 0 to total - 1, evenly from the first to the last; an odd count has the middle
    one among them."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()
