"""Statistics: patients are the unit, small numbers are defined, tables agree with SciPy and with sums by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mrsynth.core.errors import InputError
from mrsynth.metrics import MetricRecord, best_rivals, independent_t, paired_tests, summarise
from mrsynth.metrics.stats import best_rival, paired_t, paired_with_best, wilcoxon

ONE = MetricRecord("psnr", 20.0, "brain", 1.0, 3, "voxels", "none", "c0", "t2", "default", "model", "none", 100)


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def cohort(
    model: list[float | None], identity: list[float | None], metric: str = "psnr", region: str = "brain"
) -> list[MetricRecord]:
    return [
        replace(ONE, metric=metric, region=region, case=f"c{i}", predictor=name, value=value)
        for name, values in (("model", model), ("identity", identity))
        for i, value in enumerate(values)
    ]


def row(table: pd.DataFrame, **wanted: object) -> pd.Series:
    rows = table[np.logical_and.reduce([table[name] == value for name, value in wanted.items()])]
    assert len(rows) == 1
    return rows.iloc[0]


def test_summary_by_hand() -> None:
    found = row(summarise(cohort([20, 22, 27], [1, 2, 3]), generator()), predictor="model")
    assert (found["n"], found["mean"], found["median"]) == (3, 23, 22)
    assert found["sd"] == pytest.approx(math.sqrt((9 + 1 + 16) / 2))
    assert 20 <= found["ci_low"] < 23 < found["ci_high"] <= 27


def test_infinite_and_missing_are_counted_not_averaged() -> None:
    found = row(summarise(cohort([20, math.inf, None, 24], [1]), generator()), predictor="model")
    assert (found["n"], found["mean"], found["n_infinite"], found["n_missing"]) == (2, 22, 1, 1)
    nothing = row(summarise(cohort([None], [math.inf]), generator()), predictor="identity")
    assert nothing["n"] == 0
    assert math.isnan(nothing["mean"])


def test_patients_are_the_unit() -> None:
    records = cohort([10, 10, 10, 40], [0, 0, 0, 0])
    patient_of = {"c0": "a", "c1": "a", "c2": "a", "c3": "b"}
    found = row(summarise(records, generator(), patient_of), predictor="model")
    assert (found["n"], found["mean"]) == (2, 25)
    assert paired_tests(records, generator(), patient_of)["n"].tolist() == [2, 2]
    with pytest.raises(InputError, match="c3"):
        summarise(records, generator(), {"c0": "a", "c1": "a", "c2": "a"})


def test_single_lesions_are_averaged_within_a_case() -> None:
    records = [replace(ONE, region=f"lesion#{i}", value=float(i)) for i in (1, 2, 3)]
    records.append(replace(ONE, region="lesion#1", case="c1", value=10.0))
    found = row(summarise(records, generator()), region="lesion-wise")
    assert (found["n"], found["mean"]) == (2, 6)


def test_groups_do_not_mix() -> None:
    records = [replace(ONE, **{key: value}) for key, value in (("fit", "linear"), ("contrast", "t1"), ("region", "x"))]
    records += [replace(ONE, data_range=2.0), replace(ONE, preset="osman2022"), ONE]
    assert len(summarise(records, generator())) == 6


def test_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    hits = 0
    for repeat in range(150):
        values = draw.normal(5, 1, 30)
        found = summarise(cohort(list(values), []), np.random.default_rng(repeat)).iloc[0]
        hits += found["ci_low"] <= 5 <= found["ci_high"]
    assert 0.88 <= hits / 150 <= 0.99


def test_the_same_generator_gives_the_same_table_in_any_order() -> None:
    records = cohort([20, 22, 27], [1, 2, 4]) + cohort([0.1, 0.2, 0.4, 0.3], [0.3, 0.2, 0.1, 0.2], "ssim")
    first, second = summarise(records, generator()), summarise(records[::-1], generator())
    keys = ["predictor", "metric"]
    pd.testing.assert_frame_equal(
        first.sort_values(keys, ignore_index=True), second.sort_values(keys, ignore_index=True), rtol=1e-9
    )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 15))
def test_paired_tests_are_scipys(seed: int, n: int) -> None:
    draw = np.random.default_rng(seed)
    model, identity = draw.normal(1, 1, n), draw.normal(0, 1, n)
    table = paired_tests(cohort(list(model), list(identity)), generator())
    t, w = stats.ttest_rel(model, identity), stats.wilcoxon(model, identity)
    found_t, found_w = row(table, test="paired t"), row(table, test="wilcoxon")
    assert (found_t["statistic"], found_t["p"]) == pytest.approx((t.statistic, t.pvalue))
    assert (found_w["statistic"], found_w["p"]) == pytest.approx((w.statistic, w.pvalue))
    assert found_t["mean_difference"] == pytest.approx((model - identity).mean())
    assert found_t["ci_low"] <= found_t["mean_difference"] <= found_t["ci_high"]


def test_only_patients_with_both_values_are_compared() -> None:
    table = paired_tests(cohort([1, 2, 5, None, 9], [0, 0, math.inf, 1, 0]), generator())
    assert table["n"].tolist() == [3, 3]
    assert table["mean_difference"].tolist() == [4, 4]


def test_a_patient_is_compared_on_the_cases_and_lesions_that_both_have() -> None:
    """Cases and lesions differ more than predictors do: a mean over others would be a difference of scans."""
    identity = [10, 10, 10, 10, None, math.inf]
    records = cohort([11, 12, 40, 41, 40, 41], identity)
    patient_of = {f"c{i}": "ab"[i % 2] for i in range(6)}
    assert paired_tests(records, generator(), patient_of)["mean_difference"].tolist() == [16, 16]
    assert paired_tests(records[6:] + records[:6], generator(), patient_of)["mean_difference"].tolist() == [16, 16]
    assert row(summarise(records, generator(), patient_of), predictor="model")["mean"] == pytest.approx(185 / 6)
    lesions = [replace(one, region=f"lesion#{i}") for i in (1, 2) for one in cohort([20 * i], [20 * i - 1])]
    lesions[-1] = replace(lesions[-1], value=None)
    assert paired_tests(lesions, generator())["mean_difference"].tolist() == [1, 1]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_patients_are_defined(n: int) -> None:
    table = paired_tests(cohort([3.0, 5.0][:n] or [None], [1.0, 2.0][:n] or [1.0]), generator())
    assert table["n"].tolist() == [n, n]
    if n < 2:
        assert table["p"].isna().all()
        assert table["reason"].str.contains("needs 2").all()
    else:
        assert row(table, test="wilcoxon")["p"] == pytest.approx(0.5)
        assert row(table, test="paired t")["reason"] == ""
    assert summarise(cohort([3.0, 5.0][:n], []), generator())["n"].sum() == n


@pytest.mark.parametrize("difference", [[0, 0, 0], [1, 1, 1], [0.1 + 0.2 - 0.3, 0, 0], [1, 1, 0, 2, 2], [0, 0, 1]])
def test_equal_differences_and_ties_are_defined(difference: list[float]) -> None:
    values = np.array(difference)
    for outcome in (paired_t(values), wilcoxon(values)):
        assert (math.isnan(outcome.p) and outcome.reason) or 0 <= outcome.p <= 1


def test_holm_by_hand() -> None:
    draw = np.random.default_rng(3)
    records = []
    for metric, gain in (("psnr", 1.0), ("ssim", 0.4), ("nmi", 0.1), ("mae", 0.0)):
        records += cohort(list(draw.normal(gain, 1, 12)), list(draw.normal(0, 1, 12)), metric)
    table = paired_tests(records, generator())
    for test in ("paired t", "wilcoxon"):
        rows = table[table["test"] == test].sort_values("p")
        by_hand = np.maximum.accumulate(np.minimum(rows["p"].to_numpy() * np.array([4, 3, 2, 1]), 1))
        assert rows["p_holm"].to_numpy() == pytest.approx(by_hand)


def test_rows_without_p_do_not_count_in_the_correction() -> None:
    records = cohort([1, 2, 4], [0, 0, 0]) + cohort([1, 1, 1], [1, 1, 1], "ssim")
    table = paired_tests(records, generator())
    assert row(table, test="paired t", metric="psnr")["p_holm"] == row(table, test="paired t", metric="psnr")["p"]
    assert math.isnan(row(table, test="paired t", metric="ssim")["p_holm"])


def test_which_rows_are_tested() -> None:
    records = [*cohort([1, 2], [0, 0]), *cohort([1, 2], [0, 0], "cnr"), *cohort([1, 2], [0, 0], region="lesion")]
    assert set(paired_tests(records, generator())["metric"]) == {"psnr"}
    assert set(paired_tests(records, generator(), regions=["lesion"])["region"]) == {"lesion"}
    assert set(paired_tests(records, generator(), metrics=["cnr"])["metric"]) == {"cnr"}
    assert paired_tests([], generator()).empty
    assert summarise([], generator()).empty


def test_independent_t_is_scipys_and_small_groups_are_defined() -> None:
    draw = np.random.default_rng(4)
    x, y = draw.normal(1, 1, 8), draw.normal(0, 2, 11)
    expected = stats.ttest_ind(x, y, equal_var=False)
    found = independent_t(x, y)
    assert (found["statistic"], found["p"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(tuple(expected.confidence_interval()))
    assert "needs 2" in str(independent_t(x[:1], y)["reason"])
    assert independent_t(np.ones(3), np.zeros(3))["reason"] == "both groups are constant"


def rivals(model: list[float], **others: list[float]) -> list[MetricRecord]:
    """Records of a model and of named rivals, PSNR in the brain."""
    return [
        replace(one, predictor=name)
        for name, values in {"model": model, **others}.items()
        for one in cohort(values, values)
        if one.predictor == "model"
    ]


def test_the_best_rival_of_each_group_is_named_by_its_mean_and_direction() -> None:
    records = rivals([25.0, 26], identity=[20.0, 21], table_mean=[24.0, 24], second_scan=[30.0, 30])
    records += [replace(r, metric="mae") for r in records]
    best = best_rivals(summarise(records, generator())).set_index("metric")["predictor"]
    assert best["psnr"] == "table_mean"  # a second scan is a ceiling, no rival
    assert best["mae"] == "identity"


def test_a_rival_of_fewer_patients_is_passed_over() -> None:
    records = rivals([25.0, 26, 27], identity=[20.0, 21, 22], table_mean=[29.0])
    assert list(best_rivals(summarise(records, generator()))["predictor"]) == ["identity"]
    assert best_rivals(summarise(rivals([25.0]), generator())).empty
    assert best_rival([row for _, row in summarise(records, generator()).iterrows()]) == "identity"
    assert best_rival([]) is None


def test_the_model_is_tested_against_the_best_rival_of_each_region() -> None:
    brain = rivals([25.0, 26, 27], identity=[20.0, 22, 21], table_mean=[24.0, 24, 24], filter=[23.0, 23, 23])
    lesion = [replace(r, region="lesion#1") for r in rivals([9.0, 8, 7], identity=[5.0, 6, 3], filter=[10.0, 10, 9])]
    records = brain + lesion
    table = paired_with_best(records, generator(), best=best_rivals(summarise(records, generator())))
    assert set(zip(table["region"], table["b"], strict=True)) == {("brain", "table_mean"), ("lesion-wise", "filter")}
    assert row(table, test="paired t", region="brain")["mean_difference"] == pytest.approx(2)
    assert (table["p_holm"] >= table["p"]).all()
    only = rivals([1.0, 2], identity=[0.0, 0])
    assert paired_with_best(only, generator(), best=best_rivals(summarise(only, generator()))).empty
