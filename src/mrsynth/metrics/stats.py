"""Statistics over patients: summaries with bootstrap intervals, paired and independent tests, Holm correction.

The unit is the patient: cases of one patient are averaged first, and so are the single lesions of a case, which become
the region `lesion-wise` (their rank by size means nothing across patients).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from mrsynth.core.errors import InputError
from mrsynth.metrics.metrics import HIGHER_IS_BETTER
from mrsynth.metrics.record import MetricRecord, records_frame
from mrsynth.metrics.rivals import RIVALS

RESAMPLES = 2000
"""Bootstrap resamples of a 95 % percentile interval (Efron and Tibshirani 1993, chapter 13)."""

GROUP = ["predictor", "metric", "region", "contrast", "preset", "fit", "dimension", "data_range"]
"""What makes values comparable: a summary has one row for each."""


LESION = re.compile(r"^lesion#\d+$")


class Outcome(NamedTuple):
    """What a test gives.

    Attributes:
        statistic, p: of the test, NaN where there are none.
        reason: why there are none, "" where they are there.
    """

    statistic: float
    p: float
    reason: str = ""


def summarise(
    records: Iterable[MetricRecord],
    generator: np.random.Generator,
    patient_of: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return one row for each group of GROUP.

    Args:
        records: of any predictors.
        generator: for the bootstrap intervals.
        patient_of: patient of each case; None takes each case as a patient.

    Returns:
        The columns of GROUP, n, mean, sd, median, ci_low, ci_high, n_infinite, n_missing. n: patients with a finite
        value. sd: sample standard deviation over patients, NaN for one. ci: bootstrap 95 % interval of the mean over
        patients, NaN for one. n_infinite, n_missing: cases (lesions, where lesion-wise) left out.

    Raises:
        InputError: where patient_of lacks a case.
    """
    values = _by_patient(records, patient_of)
    draws = _Draws(generator)
    rows = []
    for key, group in values.groupby(GROUP, sort=False):
        finite = group["value"].dropna().to_numpy()
        low, high = draws.interval(finite)
        rows.append(
            dict(zip(GROUP, key, strict=True))
            | {
                "n": finite.size,
                "mean": finite.mean() if finite.size else np.nan,
                "sd": finite.std(ddof=1) if finite.size > 1 else np.nan,
                "median": float(np.median(finite)) if finite.size else np.nan,
                "ci_low": low,
                "ci_high": high,
                "n_infinite": int(group["n_infinite"].sum()),
                "n_missing": int(group["n_missing"].sum()),
            }
        )
    columns = [*GROUP, "n", "mean", "sd", "median", "ci_low", "ci_high", "n_infinite", "n_missing"]
    return pd.DataFrame(rows, columns=columns)


def paired_tests(
    records: Iterable[MetricRecord],
    generator: np.random.Generator,
    patient_of: Mapping[str, str] | None = None,
    *,
    metrics: Sequence[str] | None = None,
    regions: Sequence[str] | None = None,
    a: str = "model",
    b: str = "identity",
) -> pd.DataFrame:
    """Return the paired t-test and the Wilcoxon signed-rank test of predictor a against b, patient by patient.

    A patient's value is the mean over the cases (and lesions) where both predictors have a finite value: the others
    would set other scans against each other.

    Args:
        records: of any predictors; the values of a and b are compared.
        generator: for the bootstrap intervals.
        patient_of: patient of each case; None takes each case as a patient.
        metrics: which to test; None takes all that have a direction (HIGHER_IS_BETTER).
        regions: which to test, single lesions as `lesion-wise`; None takes all.
        a: the one predictor.
        b: the other one.

    Returns:
        One row a test and a group: metric, region, contrast, preset, fit, dimension, data_range, a, b, test, n
        (patients with finite values of both), statistic, p, p_holm, mean_difference (a − b) with its bootstrap interval
        ci_low, ci_high, reason. p_holm is corrected over the table's rows of the same test (both tests ask the same
        question).

    Raises:
        InputError: where patient_of lacks a case.
    """
    values = _by_patient(_where_both(records, a, b), patient_of)
    values = values[values["metric"].isin(HIGHER_IS_BETTER if metrics is None else metrics)]
    if regions is not None:
        values = values[values["region"].isin(regions)]
    group_keys = GROUP[1:]
    draws, rows = _Draws(generator), []
    for key, group in values.groupby(group_keys, sort=False):
        table = group.pivot(index="patient", columns="predictor", values="value").reindex(columns=[a, b]).dropna()
        difference = table[a].to_numpy() - table[b].to_numpy()
        low, high = draws.interval(difference)
        for name, test in PAIRED.items():
            outcome = test(difference)
            rows.append(
                dict(zip(group_keys, key, strict=True))
                | {"a": a, "b": b, "test": name, "n": difference.size, "p_holm": np.nan}
                | {"mean_difference": difference.mean() if difference.size else np.nan}
                | {"ci_low": low, "ci_high": high}
                | outcome._asdict()
            )
    columns = [*group_keys, "a", "b", "test", "n", "statistic", "p", "p_holm"]
    columns += ["mean_difference", "ci_low", "ci_high", "reason"]
    return _holm(pd.DataFrame(rows, columns=columns))


def paired_t(difference: np.ndarray) -> Outcome:
    """Return the two-sided paired t-test of differences (n,)."""
    if difference.size < 2:
        return Outcome(np.nan, np.nan, f"{difference.size} patients: a test needs 2")
    if _all_equal(difference):
        return Outcome(np.nan, np.nan, "all differences are equal")
    result = stats.ttest_1samp(difference, 0.0)
    return Outcome(float(result.statistic), float(result.pvalue))


def wilcoxon(difference: np.ndarray) -> Outcome:
    """Return the two-sided Wilcoxon signed-rank test of differences (n,); zeros are dropped (Wilcoxon 1945)."""
    if difference.size < 2:
        return Outcome(np.nan, np.nan, f"{difference.size} patients: a test needs 2")
    changed = difference[difference != 0]
    if changed.size == 0:
        return Outcome(np.nan, np.nan, "all differences are zero")
    result = stats.wilcoxon(changed)
    return Outcome(float(result.statistic), float(result.pvalue))


PAIRED: dict[str, Callable[[np.ndarray], Outcome]] = {"paired t": paired_t, "wilcoxon": wilcoxon}
"""The paired tests by the name that stands in the table."""


def independent_t(x: np.ndarray, y: np.ndarray, confidence: float = 0.95) -> dict[str, float | str]:
    """Return Welch's two-sided t-test of two groups of patients.

    Args:
        x: values of the one group's patients (n,).
        y: values of the other's (m,).
        confidence: of the interval of the mean difference.

    Returns:
        statistic, p, mean_difference (x − y), its confidence interval ci_low and ci_high, n_x, n_y, and reason, which
        says why there is no test.
    """
    row: dict[str, float | str] = dict.fromkeys(("statistic", "p", "mean_difference", "ci_low", "ci_high"), np.nan)
    row |= {"n_x": x.size, "n_y": y.size, "reason": ""}
    if x.size and y.size:
        row["mean_difference"] = float(x.mean() - y.mean())
    if min(x.size, y.size) < 2:
        return row | {"reason": f"{x.size} and {y.size} patients: a test needs 2 in each group"}
    if _all_equal(x) and _all_equal(y):
        return row | {"reason": "both groups are constant"}
    result = stats.ttest_ind(x, y, equal_var=False)
    low, high = result.confidence_interval(confidence)
    return row | {
        "statistic": float(result.statistic),
        "p": float(result.pvalue),
        "ci_low": float(low),
        "ci_high": float(high),
    }


def best_rivals(summary: pd.DataFrame) -> pd.DataFrame:
    """Return of each group the summary row of the rival with the best mean.

    Args:
        summary: of `summarise`, or what metrics.json holds of it.

    Returns:
        At most one row for each metric with a direction, region, contrast, preset and fit. A rival that has fewer than
        half of the patients of another one is passed over: its mean is of other patients.
    """
    rows = summary[summary["predictor"].isin(RIVALS) & summary["metric"].isin(HIGHER_IS_BETTER)]
    rows = rows[rows["mean"].notna()]
    if rows.empty:
        return rows
    keys = [name for name in GROUP[1:] if name in rows]
    rows = rows[2 * rows["n"] >= rows.groupby(keys, dropna=False)["n"].transform("max")]
    badness = rows["mean"].where(~rows["metric"].map(HIGHER_IS_BETTER).astype(bool), -rows["mean"]).astype(float)
    return rows.loc[badness.groupby([rows[key] for key in keys], sort=False, dropna=False).idxmin()]


def best_rival(rows: Iterable[Mapping[str, Any] | pd.Series]) -> str | None:
    """Return the rival with the best mean among summary rows of one metric at one place; None where there is none."""
    best = best_rivals(pd.DataFrame([*rows], columns=["predictor", "metric", "n", "mean"]))
    return None if best.empty else str(best["predictor"].iloc[0])


def paired_with_best(
    records: Iterable[MetricRecord],
    generator: np.random.Generator,
    patient_of: Mapping[str, str] | None = None,
    *,
    best: pd.DataFrame,
) -> pd.DataFrame:
    """Return the paired tests of the model against the best rival of each group, where that is not the identity.

    Args:
        records: of all predictors.
        generator: for the bootstrap intervals.
        patient_of: patient of each case; None takes each case as a patient.
        best: of `best_rivals`.

    Returns:
        Rows as those of `paired_tests`, corrected over themselves.
    """
    records, place = list(records), attrgetter(*(name for name in GROUP[1:] if name != "region"))
    parts = []
    for rival, rows in best[best["predictor"] != "identity"].groupby("predictor", sort=False):
        own = rows[[name for name in GROUP[1:] if name != "region"]].itertuples(index=False, name=None)
        keys = set(zip(rows["region"], own, strict=True))
        there = [r for r in records if (LESION.sub("lesion-wise", r.region), place(r)) in keys]
        parts.append(paired_tests(there, generator, patient_of, b=str(rival)))
    return _holm(pd.concat(parts, ignore_index=True)) if parts else pd.DataFrame()


class _Draws:
    """Bootstrap resamples, drawn once for each number of patients and then applied to every row with that number."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._seed = int(generator.integers(2**63))
        self._of: dict[int, np.ndarray] = {}

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """Return the 95 % percentile interval of the mean; NaN for fewer than 2 values."""
        n = values.size
        if n < 2:
            return np.nan, np.nan
        if n not in self._of:
            self._of[n] = np.random.default_rng([self._seed, n]).integers(n, size=(RESAMPLES, n))
        low, high = np.quantile(values[self._of[n]].mean(axis=1), (0.025, 0.975))
        return float(low), float(high)


def _by_patient(records: Iterable[MetricRecord], patient_of: Mapping[str, str] | None) -> pd.DataFrame:
    """Return one row for each group and patient: value (mean of the finite ones, else NaN), n_infinite, n_missing."""
    frame = records_frame(records)
    if patient_of is not None:
        lost = sorted(set(frame["case"]) - set(patient_of))
        if lost:
            raise InputError("cases without a patient.", found=", ".join(lost), expected="a patient for every case")
    frame["patient"] = frame["case"] if patient_of is None else frame["case"].map(dict(patient_of))
    frame["region"] = frame["region"].str.replace(LESION, "lesion-wise", regex=True)
    frame["n_infinite"] = np.isinf(frame["value"])
    frame["n_missing"] = frame["value"].isna()
    frame["value"] = frame["value"].where(np.isfinite(frame["value"]))
    case = frame.groupby([*GROUP, "patient", "case"], sort=False, as_index=False)
    cases = case.agg({"value": "mean", "n_infinite": "sum", "n_missing": "sum"})
    patient = cases.groupby([*GROUP, "patient"], sort=False, as_index=False)
    return patient.agg({"value": "mean", "n_infinite": "sum", "n_missing": "sum"})


def _where_both(records: Iterable[MetricRecord], a: str, b: str) -> list[MetricRecord]:
    """Return the records without the values at which one of two predictors has no finite partner."""
    records, place = list(records), attrgetter(*GROUP[1:], "case")
    finite: dict[str, set[tuple[object, ...]]] = {a: set(), b: set()}
    for record in records:
        if record.predictor in finite and record.value is not None and np.isfinite(record.value):
            finite[record.predictor].add(place(record))
    both = finite[a] & finite[b]
    return [record if place(record) in both else replace(record, value=None) for record in records]


def _holm(table: pd.DataFrame) -> pd.DataFrame:
    """Fill p_holm: Holm 1979 (Scandinavian Journal of Statistics 6:65), over the rows of each test that have a p."""
    for _, rows in table[table["p"].notna()].groupby("test"):
        p = rows["p"].sort_values()
        table.loc[p.index, "p_holm"] = (p * np.arange(len(p), 0, -1)).cummax().clip(upper=1)
    return table


def _all_equal(values: np.ndarray) -> bool:
    """Say whether the spread is no more than rounding, where a t statistic is meaningless."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())
