"""A study with a cross-validation, rows of several cells, independent tests and charts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mrsynth.core.errors import RecipeError
from mrsynth.model import load_contract
from mrsynth.reproduce.plan import choose, plan_study
from mrsynth.reproduce.records import Figures
from mrsynth.reproduce.run import Reproduced, reproduce
from mrsynth.reproduce.study import load_study
from tiny_study import study_cohort, study_data, study_recipe, write_study

FOLDS = ["cv.fold-1", "cv.fold-2", "cv.fold-3"]


def folded(recipe: Path) -> dict[str, Any]:
    data = study_data(recipe)
    psnr = data["tables"]["table1"]["columns"]["PSNR"]
    test = {"a": "Average", "b": "Both", "column": "PSNR", "test": "independent t", "published": "<0.001"}
    return data | {
        "scales": {"smoke": data["scales"]["smoke"] | {"set": ["train.epochs=1", "train.stages={second: null}"]}},
        "cells": {"both": {}, "cv": {"folds": 3}},
        "jobs": {},
        "curves": {},
        "tables": {
            "folds": {
                "title": "Folds",
                "rows": {"1": FOLDS[0], "Average": "cv", "Both": "both", "Two": ["both", FOLDS[0]]},
                "columns": {"PSNR": psnr},
                "tests": [test | {"published_interval": [1.5, 2.5]}],
            }
        },
        "charts": {
            "curves": {"title": "Losses", "losses": {"Both": "both"}},
            "line": {"title": "Profile", "profile": ["t1", "t2", "flair"]},
            "filters": {"title": "Filters", "filters": {"Both": "both"}},
        },
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folds")


@pytest.fixture(scope="module")
def done(folder: Path) -> Reproduced:
    study = write_study(folder, folded(study_recipe(folder)))
    return reproduce(study, "smoke", folder / "out", study_cohort(folder))


def test_every_patient_is_tested_once_by_a_model_that_never_saw_it(done: Reproduced, folder: Path):
    assert done.failed == ()
    tested: list[str] = []
    for name in FOLDS:
        run = folder / "out" / "runs" / name
        patients = load_contract(run).training.patients
        assert not set(patients["test"]) & {*patients["train"], *patients["val"]}
        predicted = json.loads((run / "predictions" / "predictions.json").read_text())["cases"]
        assert len(predicted) == len(patients["test"])
        tested += patients["test"]
    assert len(tested) == len(set(tested)) == 6


def test_rows_of_several_cells_hold_all_their_patients(done: Reproduced, folder: Path):
    table = json.loads((folder / "out" / "tables" / "folds.json").read_text())
    cells = {row["label"]: row["cells"]["PSNR"] for row in table["rows"] if row["predictor"] == "model"}
    assert {label: cell["n"] for label, cell in cells.items()} == {"1": 2, "Average": 6, "Both": 2, "Two": 4}
    assert cells["Two"]["mean"] == pytest.approx((cells["1"]["mean"] + cells["Both"]["mean"]) / 2)
    (test,) = table["tests"]
    low, high = test["interval"]
    assert test["n"] == "6 and 2"
    assert test["mean_difference"] == pytest.approx(cells["Average"]["mean"] - cells["Both"]["mean"])
    assert (low + high) / 2 == pytest.approx(test["mean_difference"])
    a, b = cells["Average"], cells["Both"]
    welch = stats.ttest_ind_from_stats(a["mean"], a["sd"], 6, b["mean"], b["sd"], 2, equal_var=False)
    assert test["p"] == pytest.approx(welch.pvalue)
    text = (folder / "out" / "tables" / "folds.md").read_text()
    assert "+1.50 to +2.50" in text
    assert "independent t" in done.page.read_text()


def test_charts_are_drawn_or_say_why_not(done: Reproduced, folder: Path):
    entries = {e.name: e for e in Figures.read(folder / "out" / Figures.FILE).figures}
    for name in ("curves", "line"):
        assert (folder / "out" / "figures" / str(entries[name].file)).stat().st_size > 5000
    assert "drunet" in entries["filters"].why
    assert "Not drawn: no network" in done.page.read_text()


def test_the_name_of_the_cell_asks_for_all_its_folds(folder: Path, done: Reproduced):
    items = plan_study(load_study(str(folder / "study.yaml")), "smoke", folder / "out")
    assert [item.name for item in choose(items, ["cv"])] == FOLDS
    assert [item.name for item in choose(items, [FOLDS[1]])] == [FOLDS[1]]
    assert np.unique([item.run for item in items]).size == 4  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jobs": {"j": {"cell": "cv", "without": ["t2"], "missing": "zeros"}}}, "there is no cell 'cv'"),
        ({"charts": {"c": {"title": "C", "losses": {"A": "bot"}}}}, r"Chart c: 'A' shows 'bot'(.|\n)*both"),
        ({"charts": {"c": {"title": "C", "losses": {"A": "both"}, "profile": ["t1"]}}}, "one kind of chart"),
        ({"cells": {"both": {}, "cv": {"folds": 2}}}, "cv.folds"),
    ],
)
def test_what_does_not_fit_is_named(folder: Path, tmp_path: Path, change: dict[str, Any], message: str):
    data = folded(folder / "tiny.yaml") | {"tables": {}} | change
    with pytest.raises(RecipeError, match=message):
        load_study(write_study(tmp_path, data))
