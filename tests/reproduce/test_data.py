"""Data of a study: cases chosen by columns, images that another cell's model made, and what is trained on them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrsynth.core.errors import CohortError, RecipeError
from mrsynth.io import CaseRow, Cohort, read_cohort, read_image, write_cohort
from mrsynth.recipes.recipe import dump_recipe, load_recipe
from mrsynth.reproduce.data import select
from mrsynth.reproduce.plan import Cell, Dataset, Item, choose, plan_study
from mrsynth.reproduce.run import reproduce
from mrsynth.reproduce.study import load_study
from tiny import write_scan
from tiny_doses import SPLITS, STEPS, STRATA, dose_case, dose_recipe
from tiny_study import write_study

CONTRAST_MODEL = (
    f"prepare={STEPS!r}",
    "contrasts=[t1, t1ce, t1ld]",
    "task={inputs: [t1, t1ld], target: t1ce}",
    "range=[0, 3]",
    "net.settings.inputs=2",
    "net.settings.widths=[4, 8]",
    "net.settings.dropout=[0.1, 0.1]",
    "train.epochs=1",
    "train.batch_size=8",
    "evaluate={presets: [pinetz2023], data_range: 1}",
)
MAE_CE = {"preset": "pinetz2023", "metric": "mae_ce", "region": "enhancing"}


def dose_cohort(folder: Path) -> Path:
    """Five patients of one group with the strata of `tiny_doses`; the test patient has a further case at 17 %."""
    rows = []
    for seed, split in enumerate(SPLITS):
        dose, b0_tesla = STRATA[seed]
        files = {}
        for name, image in dose_case(seed).images.items():
            files[name] = folder / "scans" / f"{seed}-{name}.nii.gz"
            write_scan(image.data, files[name])
        rows.append(CaseRow(f"p{seed}", f"case-{seed}", split, files, b0_tesla, dose, {"group": "one"}))
    native, standard = (read_image(rows[-1].files[name], name) for name in ("t1", "t1ce"))
    further = folder / "scans" / "further.nii.gz"
    write_scan((0.83 * native.data + 0.17 * standard.data / 1.3).astype(np.float32), further)
    files = {**rows[-1].files, "t1ld": further}
    rows.append(replace(rows[-1], case="case-4_dose-0.17", files=files, dose=0.17, metadata={"group": "series"}))
    write_cohort(Cohort(tuple(rows)), folder / "cohort.csv")
    return folder / "cohort.csv"


def dose_study(folder: Path) -> dict[str, Any]:
    """A generator, and a contrast model that is trained on what it makes at 33 %."""
    (folder / "low.yaml").write_text(dump_recipe(dose_recipe("train.epochs=1", "samples.patch.per_epoch=6")))
    (folder / "high.yaml").write_text(dump_recipe(load_recipe("osman2022", CONTRAST_MODEL)))
    scale = {"phantoms": None, "seeds": [0], "variants": [], "set": []}
    return {
        "name": "doses",
        "title": "Balls with agent",
        "recipe": str(folder / "low.yaml"),
        "scales": {"smoke": scale, "small": {**scale, "seeds": [0, 1]}, "paper": {**scale, "leave_out": ["low"]}},
        "data": {
            "one": [{"where": {"group": ["one"]}}],
            "made": [{"where": {"group": ["one"]}, "made_by": "low", "dose": 0.33}],
            "series-cases": [{"where": {"group": ["series"]}}],
            "made-series": [{"where": {"group": ["series"]}, "made_by": "low", "splits": ["test"]}],
        },
        "cells": {"low": {"data": "one"}, "high": {"recipe": str(folder / "high.yaml"), "data": "made"}},
        "jobs": {
            "series": {"cell": "low", "data": "series-cases"},
            "high-series": {"cell": "high", "data": "made-series"},
        },
        "tables": {
            "doses": {
                "title": "Doses",
                "rows": {"Low": "low", "Series": "series"},
                "columns": {
                    "all": MAE_CE,
                    "at 17 %": {**MAE_CE, "where": {"dose": [0.17]}},
                    "at 33 %": {**MAE_CE, "where": {"dose": [0.33], "b0_tesla": [1.5]}},
                },
            }
        },
    }


ROWS = [
    CaseRow("a", "a", "train", {}, 2.894, 0.1, {"site": "1", "age": "61"}),
    CaseRow("b", "b", "test", {}, 1.5, 0.17, {"site": "2"}),
    CaseRow("c", "c", "test", {}, None, 0.2, {"site": "1"}),
]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({}, "abc"),
        ({"site": ["1"]}, "ac"),
        ({"site": [1]}, "ac"),
        ({"site": ["1", "2"], "split": ["test"]}, "bc"),
        ({"b0_tesla": [3]}, "a"),
        ({"dose": [0.17]}, "b"),
        ({"age": [61]}, "a"),
        ({"patient": ["nobody"]}, ""),
    ],
)
def test_cases_are_chosen_by_columns(where: dict[str, list[str | float]], found: str):
    assert "".join(row.case for row in select(ROWS, where)) == found


def test_a_column_that_no_case_has_is_named():
    with pytest.raises(CohortError, match=r"by the column group, which the cohort does not have(.|\n)*group with one"):
        select(ROWS, {"group": ["one"]})


def planned(folder: Path, scale: Any = "smoke") -> list[Item]:
    study = write_study(folder, dose_study(folder))
    return plan_study(load_study(study), scale, folder / "out")


def test_data_stands_between_who_makes_it_and_who_needs_it(tmp_path: Path):
    items = {item.label: item for item in planned(tmp_path)}
    assert list(items) == ["low", "made", "high", "low/series", "made-series", "high/high-series"]
    assert [need.label for need in items["high"].needs] == ["made"]
    assert [need.label for need in items["made"].needs] == ["low"]
    assert [need.label for need in items["high/high-series"].needs] == ["high", "made-series"]
    high, made = items["high"], items["made"]
    assert isinstance(high, Cell)
    assert isinstance(made, Dataset)
    assert made.recipes == {high.prepared: high.recipe}
    assert [i.label for i in choose(list(items.values()), ["high"])] == ["low", "made", "high"]


def test_each_seed_has_images_of_its_own_and_shares_what_is_not_made(tmp_path: Path):
    items = {item.label: item for item in planned(tmp_path, "small")}
    assert [need.label for need in items["high.seed1"].needs] == ["made.seed1"]
    lows = [items["low"], items["low.seed1"]]
    assert isinstance(lows[0], Cell)
    assert isinstance(lows[1], Cell)
    assert lows[0].prepared == lows[1].prepared


def test_images_of_a_cell_that_is_left_out_cannot_be_trained_on(tmp_path: Path):
    with pytest.raises(RecipeError, match=r"data made is made by cell low, which paper leaves out"):
        planned(tmp_path, "paper")


WRONG = {
    "no such data": ({"cells": {"low": {"data": "on"}}}, r"cell low: there is no data 'on'(.|\n)*did you mean 'one'"),
    "a maker that is trained later": ({"cells": {"high": {"data": "made"}, "low": {}}}, "data made, before high"),
    "data of a job": ({"jobs": {"series": {"cell": "low", "data": "x"}}}, "job series: there is no data 'x'"),
    "a job that is the cell again": ({"jobs": {"series": {"cell": "low"}}}, "data, without or stage"),
    "folds of a part": (
        {"cells": {"low": {}, "high": {"data": "one", "folds": 3}}, "jobs": {}, "tables": {}},
        "cell high: folds are of the whole cohort",
    ),
    "one name twice": ({"data": {"low": []}}, "data and a cell or job have one name"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named(case: str, tmp_path: Path):
    change, message = WRONG[case]
    with pytest.raises(RecipeError, match=message):
        load_study(write_study(tmp_path, dose_study(tmp_path) | change))


def test_a_model_is_trained_on_what_another_made(tmp_path: Path):
    study, table, out = write_study(tmp_path, dose_study(tmp_path)), dose_cohort(tmp_path), tmp_path / "out"
    done = reproduce(study, "smoke", out, table)
    assert done.failed == ()
    real = {row.case: row for row in read_cohort(table).rows}
    made = {row.case: row for row in read_cohort(out / "data" / "made" / "cohort.csv").rows}
    assert set(made) == {f"case-{seed}" for seed in range(5)}
    for case, row in made.items():
        synthetic = row.split != "test"
        assert (row.files["t1ld"] != real[case].files["t1ld"]) == synthetic
        assert row.dose == (0.33 if synthetic else real[case].dose)
        assert (row.files["t1"], row.split) == (real[case].files["t1"], real[case].split)
    # In the intensities of the scanner, so that it is prepared as a real one.
    image, native = (read_image(made["case-0"].files[name], name).data for name in ("t1ld", "t1"))
    assert np.median(image[native > 0]) == pytest.approx(np.median(native[native > 0]), rel=0.5)
    trained = json.loads((out / "runs" / "high" / "run.json").read_text())
    prepared = [path.name for path in (out / "prepared").iterdir() if path.name.endswith("-made")]
    assert len(prepared) == 1
    assert trained["data_fingerprint"] in (out / "prepared" / prepared[0] / "prepared.json").read_text()
    # The further case is predicted and judged by the jobs alone, in the columns of its dose.
    rows = {row["label"]: row["cells"] for row in json.loads((out / "tables" / "doses.json").read_text())["rows"]}
    counts = {
        label: [cell["n"] for cell in cells.values()] for label, cells in rows.items() if label in ("Low", "Series")
    }
    assert counts == {"Low": [1, 0, 1], "Series": [1, 1, 0]}
    text = (out / "tables" / "doses.md").read_text()
    assert "(one 3 / 1 / 1, series 0 / 0 / 1)" in text
    assert "; dose 0.33; b0_tesla 1.5." in text
    # Nothing is made again, and what is lost is.
    times = {path: path.stat().st_mtime_ns for path in (out / "data").rglob("*.nii.gz")}
    assert len(times) == 5
    reproduce(study, "smoke", out, table)
    assert times == {path: path.stat().st_mtime_ns for path in (out / "data").rglob("*.nii.gz")}
    (out / "data" / "made" / "cohort.csv").unlink()
    assert reproduce(study, "smoke", out, table).failed == ()
    assert {row.case for row in read_cohort(out / "data" / "made" / "cohort.csv").rows} == set(made)
