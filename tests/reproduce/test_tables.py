"""Tables of a study from metrics that are made up here, so that every number is known."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mrsynth.drawing.labels import number as number_text
from mrsynth.drawing.table import table_markdown
from mrsynth.io import CaseRow
from mrsynth.metrics import MetricRecord, read_records, write_records
from mrsynth.reproduce.layout import comparisons_table, measured_table
from mrsynth.reproduce.plan import Cell, Job
from mrsynth.reproduce.records import Column, Number, Row, State, TableRecord, TestRow
from mrsynth.reproduce.study import TableSettings
from mrsynth.reproduce.tables import Results, build_table, write_table
from mrsynth.reproduce.work import write_failed

DOSES = {"c0": 0.1, "c1": 0.1, "c2": 0.17, "c2b": 0.2}
ROWS = [CaseRow("p" + case[1], case, "test", {}, 3.0, dose, {"group": "one"}) for case, dose in DOSES.items()]


def record(
    case: str, value: float | None, region: str = "brain", predictor: str = "model", **more: Any
) -> MetricRecord:
    given = {"metric": "psnr", "contrast": "t1ce", "preset": "chen2022", "fit": "none", "dimension": 3, "n": 9} | more
    known = {"data_range": 1.0, "aggregation": "voxels", "clip": "none", "reason": "" if value is not None else "empty"}
    return MetricRecord(case=case, value=value, region=region, predictor=predictor, **given, **known)


def place(folder: Path, brain: dict[str, float], tumour: dict[str, float | None] | None = None) -> Path:
    """Write the metrics of a finished cell; the identity is 10 dB below it."""
    folder.mkdir(parents=True)
    records = [record(case, value) for case, value in brain.items()]
    records += [record(case, value, "tumour") for case, value in (tumour or {}).items()]
    records += [record(case, value - 10, predictor="identity") for case, value in brain.items()]
    records += [
        record("c0", 99.0, fit="linear"),
        record("c0", 98.0, preset="default"),
        record("c0", 97.0, metric="mae"),
    ]
    write_records(records, folder / "metrics.csv")
    State(state="done").write(folder / State.FILE)
    return folder


def results(**places: list[Path]) -> Results:
    """Return results of cells that lie in these folders, a folder a seed."""
    items = {
        name: [Cell(name, seed, cast(Any, SimpleNamespace()), folder, folder) for seed, folder in enumerate(folders)]
        for name, folders in places.items()
    }
    return Results(cast("dict[str, list[Cell | Job]]", items), ROWS)


def table(**changes: Any) -> TableSettings:
    data = {
        "title": "Table 1",
        "rows": {"A": "a", "B": "b"},
        "columns": {"PSNR": {"preset": "chen2022", "metric": "psnr", "region": "brain"}},
    }
    return TableSettings.model_validate(data | changes)


def rows(built: TableRecord, column: str = "PSNR") -> dict[str, dict[str, Any]]:
    return {row.label: row.cells[column].model_dump() for row in built.rows}


BRAIN_A = {"c0": 20.0, "c1": 24.0, "c2": 27.0, "c2b": 29.0}
BRAIN_B = {"c0": 21.0, "c1": 26.0, "c2": 31.0, "c2b": 31.0}


def test_the_unit_is_the_patient_and_the_identity_stands_first(tmp_path: Path):
    found = results(a=[place(tmp_path / "a", BRAIN_A)], b=[place(tmp_path / "b", BRAIN_B)])
    built = build_table("t", table(), found, [])
    cells = rows(built)
    assert list(cells) == ["identity", "best simple rival", "A", "B"]
    assert cells["A"]["mean"] == pytest.approx(np.mean([20, 24, 28]))
    assert cells["A"]["sd"] == pytest.approx(np.std([20, 24, 28], ddof=1))
    assert cells["A"]["n"] == 3
    assert cells["A"]["seed_sd"] is None
    assert cells["identity"]["mean"] == pytest.approx(14)
    assert built.columns[0].convention == "psnr in brain, preset chen2022, 3-D, voxels, data range 1"


def test_a_column_may_ask_for_patients_with_a_tumour(tmp_path: Path):
    tumour = {"c0": None, "c1": 15.0, "c2": None, "c2b": 17.0}
    found = results(a=[place(tmp_path / "a", BRAIN_A, tumour)])
    column = {"preset": "chen2022", "metric": "psnr", "region": "brain", "having": "tumour"}
    only = table(rows={"A": "a"}, columns={"PSNR": column, "tumour": column | {"region": "tumour", "having": None}})
    built = build_table("t", only, found, [])
    assert rows(built)["A"]["mean"] == pytest.approx((24 + 29) / 2)
    assert rows(built, "tumour")["A"] == rows(built, "tumour")["A"] | {"mean": 16.0, "n": 2}
    # Another metric, which the tumour does not have at all, asks for the same patients.
    other = table(rows={"A": "a"}, columns={"MAE": column | {"metric": "mae"}, "PSNR": column})
    assert rows(build_table("t", other, found, []), "MAE")["A"]["n"] == 0  # c0, the only one with it, has no tumour
    assert "cases with tumour" in built.columns[0].convention


def test_with_seeds_a_patient_is_the_mean_over_seeds(tmp_path: Path):
    shifted = {case: value + 2 for case, value in BRAIN_A.items()}
    found = results(a=[place(tmp_path / "a", BRAIN_A), place(tmp_path / "a1", shifted)])
    cell = rows(build_table("t", table(rows={"A": "a"}), found, []))["A"]
    assert cell["mean"] == pytest.approx(25)
    assert cell["sd"] == pytest.approx(np.std([20, 24, 28], ddof=1))
    assert cell["seed_sd"] == pytest.approx(np.std([0, 2], ddof=1))
    assert cell["seeds"] == 2


@pytest.mark.parametrize("name", ["paired t", "wilcoxon"])
def test_tests_are_over_the_patients_that_both_have(tmp_path: Path, name: str):
    lacking = {case: value for case, value in BRAIN_B.items() if case != "c0"} | {"c1": math.inf}
    found = results(
        a=[place(tmp_path / "a", BRAIN_A)], b=[place(tmp_path / "b", BRAIN_B)], c=[place(tmp_path / "c", lacking)]
    )
    asked = [
        {"a": "B", "b": "A", "column": "PSNR", "test": name, "published": "< 1e-4"},
        {"a": "C", "b": "A", "column": "PSNR", "test": name},
    ]
    settings = table(
        rows={"A": "a", "B": "b", "C": "c"},
        tests=asked,
        published={"source": "x", "rows": {"A": {"PSNR": [26, 1]}, "B": {"PSNR": [28.5, 1]}}},
    )
    first, second = build_table("t", settings, found, []).tests
    a, b = np.array([20, 24, 28]), np.array([21, 26, 31])
    expected = stats.ttest_rel(b, a) if name == "paired t" else stats.wilcoxon(b - a)
    assert first.p == pytest.approx(expected.pvalue)
    assert (first.n, first.mean_difference) == (3, 2)
    assert (first.published_p, first.published_difference) == ("< 1e-4", 2.5)
    assert (second.n, second.p) == (1, None)
    assert "needs 2" in second.reason


def test_what_failed_or_was_not_run_says_so_beside_the_papers_numbers(tmp_path: Path):
    write_failed(tmp_path / "b", "The memory was full.\n  do: buy more")
    found = results(a=[place(tmp_path / "a", BRAIN_A)], b=[tmp_path / "b"], c=[tmp_path / "c"])
    published = {"source": "Some paper, Table 9", "rows": {"B": {"PSNR": [28, 1.5]}, "Ref": {"PSNR": [22.97, None]}}}
    settings = table(rows={"A": "a", "B": "b", "C": "c", "Ref": None}, published=published, note="A note.")
    built = build_table("table9", settings, found, ["Study x, scale small."])
    assert [row.state for row in built.rows] == ["done", "done", "done", "failed", "not run", "published"]
    text = write_table(tmp_path, built).read_text()
    assert "| B | failed<br>paper 28.00 ± 1.50 |" in text
    assert "| C | not run |" in text
    assert "| Ref | –<br>paper 22.97 |" in text
    assert "| A | 24.00 ± 4.00 |" in text
    assert "* B failed: The memory was full.\n" in text
    for words in ("Study x, scale small.", "Published: Some paper, Table 9.", "* A note."):
        assert words in text
    lines = pd.read_csv(tmp_path / "table9.csv").set_index("row")
    assert lines.loc["A", "mean"] == pytest.approx(24)
    assert lines.loc["Ref", "published_mean"] == pytest.approx(22.97)
    assert lines.loc["B", "state"] == "failed"


def test_baselines_may_stand_above_each_row(tmp_path: Path):
    found = results(a=[place(tmp_path / "a", BRAIN_A)], b=[place(tmp_path / "b", BRAIN_B)])
    built = build_table("t", table(baselines={"predictors": ["identity"], "rows": "each"}), found, [])
    assert list(rows(built)) == ["A: identity", "A", "B: identity", "B"]
    assert rows(built)["B: identity"]["mean"] == pytest.approx(16)


def test_a_system_behind_a_table_of_voxels_is_red_and_does_not_settle_the_table(tmp_path: Path):
    folder = place(tmp_path / "a", BRAIN_A)
    ahead = {case: value + 1 for case, value in BRAIN_A.items()}
    records = read_records(folder / "metrics.csv")
    records += [record(case, value, predictor="table_mean") for case, value in ahead.items()]
    records += [record(case, 99.0, predictor="second_scan") for case in ahead]  # a ceiling, no rival
    write_records(records, folder / "metrics.csv")
    found = results(a=[folder], b=[place(tmp_path / "b", BRAIN_B)])
    built = build_table("t", table(), found, [])
    assert rows(built)["A"] == rows(built)["A"] | {"rival": "table_mean", "rival_mean": 25.0}
    assert rows(built)["B"]["rival"] == "identity"  # each system is held against the rivals of its own run
    assert rows(built)["best simple rival"]["mean"] == 25
    assert "column: A)" in built.standing()
    text = write_table(tmp_path, built).read_text()
    assert "| A | 24.00 ± 4.00 ✗<br>voxel table, mean 25.00 |" in text
    assert "Not settled (no better than the best simple rival in every column: A)." in text
    only = build_table("t", table(rows={"B": "b"}), found, [])
    assert only.standing() == "Every system is ahead of its best simple rival. Whether B converged is not known."


def test_a_row_that_has_not_converged_is_marked(tmp_path: Path):
    built = build_table("t", table(rows={"B": "b"}), results(b=[place(tmp_path / "b", BRAIN_B)]), [])
    moving = {"converged": False, "convergence": "not converged: 12 epochs more would lower the validation loss by 4 %"}
    marked = built.model_copy(update={"rows": [row.model_copy(update=moving) for row in built.rows]})
    assert "not converged: B" in marked.standing()
    assert measured_table(marked).rows[-1][0].below == (moving["convergence"],)


def test_a_small_number_is_not_written_as_zero():
    number = {"mean": 3.1e-8, "sd": 2e-8, "n": 8, "seeds": 1, "seed_sd": None}
    row = Row(label="a", source="a", predictor="model", state="done", cells={"MSE": Number(**number)})
    test = TestRow(a="a", b="b", test="paired t", column="MSE", n=8, mean_difference=-2.4e-8, p=0.01)
    columns = [Column(label="MSE", convention="c")]
    known = TableRecord(name="t", title="t", header=[], columns=columns, rows=[row], tests=[test])
    assert "| a | 3.1e−08 ± 2.0e−08 |" in table_markdown(measured_table(known))
    tests = comparisons_table(known)
    assert tests is not None
    assert "−2.4e−08" in table_markdown(tests)
    assert number_text(1e-17, 3) == "0.000"  # what rounding leaves of 0


def test_nothing_run_is_a_table_too(tmp_path: Path):
    built = build_table("t", table(tests=[{"a": "A", "b": "B", "column": "PSNR"}]), results(a=[tmp_path / "a"]), [])
    assert [row.state for row in built.rows] == ["not run", "not run"]
    assert "| A | not run |" in write_table(tmp_path, built).read_text()


def test_a_column_may_be_of_some_cases_alone(tmp_path: Path):
    found = results(a=[place(tmp_path / "a", {"c0": 30, "c1": 32, "c2": 20, "c2b": 10})])
    column = {"preset": "chen2022", "metric": "psnr", "region": "brain"}
    doses = {"10 %": [0.1], "17 %": [0.17], "both": [0.1, 0.17]}
    columns = {label: column | {"where": {"dose": values, "group": ["one"]}} for label, values in doses.items()}
    built = build_table("t", table(rows={"A": "a"}, columns=columns), found, [])
    assert [(c.mean, c.n) for c in built.rows[-1].cells.values()] == [(31, 2), (20, 1), (82 / 3, 3)]
    assert built.columns[2].convention.endswith("; dose 0.1 or 0.17; group one")
