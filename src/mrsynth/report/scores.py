"""What the numbers say: the headline metric, whether the model beats its best rival, and the cases, worst first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mrsynth.drawing.labels import FIRST_METRICS, PREDICTORS, decimals, in_order, metric_name, number, p_value, plain
from mrsynth.io.evaluation import PanelEntry
from mrsynth.metrics import stats
from mrsynth.report.inputs import RunFolder

FEW_PATIENTS = 10
"""Below this the page warns that its statistics are rough."""


@dataclass(frozen=True)
class Headline:
    """By what the run is judged first: one metric, in one region, under one preset, without any fit.

    Attributes:
        preset, contrast, region, metric: by name.
    """

    preset: str
    contrast: str
    region: str
    metric: str


@dataclass(frozen=True)
class Verdict:
    """Whether the model beats its simple rivals.

    Attributes:
        tone: good, mixed, bad or unknown.
        title: the answer.
        text: the numbers behind it, a sentence each.
    """

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
    """Say whether one value is better than another; an equal value is not better.

    Args:
        a: the value.
        b: the other value.
        higher: whether more is better, None where nobody knows.

    Returns:
        The answer, None where the direction or a value (NaN) is missing.
    """
    if higher is None or math.isnan(a) or math.isnan(b):
        return None
    return a > b if higher else a < b


def best_rival(rows: Mapping[str, pd.Series]) -> str:
    """Return the simple rival with the best mean, from the summary rows by predictor; identity where none is known."""
    return stats.best_rival(rows.values()) or "identity"


def beats(folder: RunFolder, rows: Mapping[str, pd.Series], rival: str, higher: bool | None) -> bool | None:
    """Say whether the model is better than a rival.

    Their means decide. Where one has values that the other lacks (another input is missing, a perfect match), the means
    are of other cases; then the mean difference over what both have decides.

    Args:
        folder: the run.
        rows: predictor → its row of the summary, all of one metric at one place.
        rival: the predictor.
        higher: whether more is better, None where nobody knows.

    Returns:
        The answer, None where the direction or a value is missing.
    """
    gap = paired_gap(folder, rows, rival)
    if not math.isnan(gap):
        return better(gap, 0.0, higher)
    return better(mean_of(rows.get("model")), mean_of(rows.get(rival)), higher)


def paired_gap(folder: RunFolder, rows: Mapping[str, pd.Series], rival: str) -> float:
    """Return the mean of model − rival over what both have, where one of them has values that the other lacks.

    Args:
        folder: the run.
        rows: predictor → its row of the summary, all of one metric at one place.
        rival: the predictor.

    Returns:
        The mean difference, NaN where both have the same values or no test holds it.
    """
    if not {"model", rival} <= set(rows):
        return math.nan
    model, other = rows["model"], rows[rival]
    if all(model[name] == other[name] for name in ("n", "n_infinite", "n_missing")):
        return math.nan
    place = {name: str(model[name]) for name in ("preset", "metric", "region", "fit")}
    test = find(folder.tests, **place, a="model", b=rival)
    return math.nan if test is None else float(test["mean_difference"])


def mean_of(row: pd.Series | None) -> float:
    """Return the mean of a summary row: infinite where every value was (perfect matches only), NaN without a row."""
    if row is None:
        return math.nan
    return math.inf if math.isnan(row["mean"]) and row["n_infinite"] > 0 else float(row["mean"])


def find(table: pd.DataFrame | None, **keys: str) -> pd.Series | None:
    """Return the first row of a table whose columns have the given values.

    Args:
        table: the table, None where there is none.
        **keys: column → value.

    Returns:
        The row, None where there is none.
    """
    rows = find_all(table, **keys)
    return None if rows.empty else rows.iloc[0]


def find_all(table: pd.DataFrame | None, **keys: str) -> pd.DataFrame:
    """Return the rows of a table whose columns have the given values.

    Args:
        table: the table, None where there is none.
        **keys: column → value.

    Returns:
        The rows; none without a table or without one of the columns.
    """
    if table is None or any(name not in table for name in keys):
        return pd.DataFrame()
    return table[np.logical_and.reduce([table[name] == value for name, value in keys.items()])]


@dataclass(frozen=True)
class Comparison:
    """The model's mean beside that of its best simple rival.

    Attributes:
        model: the model's mean.
        rival, rival_mean: the rival's name and mean.
        ahead: whether it is better, None where nobody can say.
    """

    model: float
    rival: str
    rival_mean: float
    ahead: bool | None


def comparisons(folder: RunFolder, at: Headline) -> dict[str, Comparison]:
    """Return how the model stands against its best rival, metric by metric.

    Args:
        folder: the run.
        at: the headline; preset, contrast and region are its own, its metric comes first.

    Returns:
        Metric → comparison, for the metrics in which the model has a mean.
    """
    found = {}
    for metric in in_order([at.metric, *folder.higher_is_better], (at.metric, *FIRST_METRICS)):
        rows = rows_at(folder, at, metric)
        model, rival = mean_of(rows.get("model")), best_rival(rows)
        if not math.isnan(model):
            ahead = beats(folder, rows, rival, folder.higher_is_better.get(metric))
            found[metric] = Comparison(model, rival, mean_of(rows.get(rival)), ahead)
    return found


def rows_at(folder: RunFolder, at: Headline, metric: str) -> dict[str, pd.Series]:
    """Return the summary rows of a metric in the headline's preset, contrast and region, without any fit.

    Args:
        folder: the run.
        at: the headline; its metric plays no part.
        metric: the metric.

    Returns:
        Predictor → its row, for the predictors that have one.
    """
    place = {"preset": at.preset, "contrast": at.contrast, "region": at.region, "fit": "none"}
    rows = find_all(folder.summary, metric=metric, **place)
    first = {str(row["predictor"]): row for _, row in rows.iloc[::-1].iterrows()}
    return {who: first[who] for who in PREDICTORS if who in first}


def rival_at(folder: RunFolder, at: Headline) -> str:
    """Return the best simple rival at a place, identity where none is known.

    Args:
        folder: the run.
        at: metric, region, preset and contrast.
    """
    return best_rival(rows_at(folder, at, at.metric))


def verdict(folder: RunFolder, at: Headline) -> Verdict:
    """Say whether the model beats its best simple rival at the headline, and where another metric disagrees.

    Args:
        folder: the run.
        at: by what the run is judged.

    Returns:
        The verdict; its tone is `unknown` where means or the metric's direction are missing.
    """
    if folder.records.empty:
        return Verdict("unknown", "Nothing could be judged.", ("These patients have no true scan of what was made.",))
    compared = comparisons(folder, at)
    here = compared.get(at.metric)
    if here is None or here.ahead is None:
        reason = "It needs the means of model and rivals and the metric's direction, from metrics.json."
        return Verdict("unknown", "It is not known whether the model beats its simple rivals.", (reason,))
    digits = decimals(max((abs(x) for x in (here.model, here.rival_mean) if math.isfinite(x)), default=0.0))
    name, patients = metric_name(at.metric), folder.n_patients
    count = "an unknown number of patients" if patients is None else f"{patients} patient{'s' if patients != 1 else ''}"
    text = [
        f"Mean {name} of the model {number(here.model, digits)}, of the best simple rival, the {plain(here.rival)}, "
        f"{number(here.rival_mean, digits)} ({count}; {at.region}, preset {at.preset})."
    ]
    text += _gap_sentence(folder, at, here.rival, digits) + _test_sentence(folder, at, here.rival)
    if patients is not None and patients < FEW_PATIENTS:
        text.append(f"With fewer than {FEW_PATIENTS} patients, intervals and tests are rough.")
    if not here.ahead:
        return Verdict("bad", f"The model does not beat its best simple rival, the {plain(here.rival)}.", tuple(text))
    behind = {m: one for m, one in compared.items() if one.ahead is False and m in FIRST_METRICS}
    if not behind:
        return Verdict("good", "The model beats every simple rival.", tuple(text))
    where = ", ".join(f"{metric_name(metric)} (the {plain(one.rival)})" for metric, one in behind.items())
    text.append(f"It does not beat the best rival in {where}.")
    return Verdict("mixed", f"The model beats every simple rival in {name}, but not in every metric.", tuple(text))


def _gap_sentence(folder: RunFolder, at: Headline, rival: str, digits: int) -> list[str]:
    """Return what decides where the two means are of other cases."""
    gap = number(found := paired_gap(folder, rows_at(folder, at, at.metric), rival), digits, sign=True)
    words = f"Where both have a value, model − {plain(rival)} is {gap} in the mean; this counts."
    return [] if math.isnan(found) else [words]


def _test_sentence(folder: RunFolder, at: Headline, rival: str) -> list[str]:
    """Return what the paired tests of the headline say, each with its Holm-corrected p or why there is none."""
    keys = {"preset": at.preset, "metric": at.metric, "region": at.region, "fit": "none", "a": "model", "b": rival}
    rows = find_all(folder.tests, **keys)
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
    """One case.

    Attributes:
        case, patient: their names.
        model, rival: the model's and the best rival's value of the headline metric, NaN where there is none.
        panels: its slices.
    """

    case: str
    patient: str
    model: float
    rival: float
    panels: tuple[PanelEntry, ...]


def value_of(folder: RunFolder, at: Headline, case: str, predictor: str) -> float:
    """Return the value of one case and predictor at a place, without any fit.

    Args:
        folder: the run.
        at: metric, region, preset and contrast.
        case: its name.
        predictor: whose value.

    Returns:
        The value, NaN where there is no record or its value is missing.
    """
    return folder.values.get((at.preset, at.contrast, at.region, at.metric, "none", case, predictor), math.nan)


def ranked_cases(folder: RunFolder, at: Headline) -> list[CaseScore]:
    """Return every case that has a record or a panel, the worst first.

    Args:
        folder: the run.
        at: by what the cases are ranked.

    Returns:
        The cases; those for which the model has no value stand before all others.
    """
    higher = folder.higher_is_better.get(at.metric, at.metric in ("ssim", "psnr"))
    best, scores = rival_at(folder, at), []
    for case in dict.fromkeys([*folder.records["case"], *(panel.case for panel in folder.panels)]):
        panels = tuple(panel for panel in folder.panels if panel.case == case)
        patient = next((panel.patient for panel in panels if panel.patient), "")
        model, rival = (value_of(folder, at, case, who) for who in ("model", best))
        scores.append(CaseScore(str(case), patient, model, rival, panels))
    return sorted(scores, key=lambda s: (not math.isnan(s.model), (s.model if higher else -s.model), s.case))


def spread(total: int, count: int) -> list[int]:
    """Return some of the places 0 to total - 1, evenly from the first to the last.

    Args:
        total: how many places there are.
        count: how many are wanted at most; the middle one is among an odd number of them.
    """
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int)).tolist()
