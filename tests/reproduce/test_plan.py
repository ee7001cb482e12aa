"""What a study runs: variations in order, prepared cohorts that cells share, stages that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mrsynth.core.errors import RecipeError
from mrsynth.recipes.recipe import dump_recipe
from mrsynth.reproduce.plan import Cell, Item, Job, choose, plan_study, require_unchanged
from mrsynth.reproduce.study import Scale, load_study
from tiny_study import study_data, study_recipe, write_study


def planned(folder: Path, scale: Scale = "smoke", **cells: list[str]) -> dict[str, Item]:
    """Return the items of the tiny study by label, with these cells instead of its own where there are any."""
    data: dict[str, Any] = study_data(study_recipe(folder))
    if cells:
        data |= {"cells": {name: {"set": changes} for name, changes in cells.items()}}
        data |= {"jobs": {}, "tables": {}, "curves": {}}
        data["scales"]["small"] |= {"cells": {}, "leave_out": []}
    return {item.label: item for item in plan_study(load_study(write_study(folder, data)), scale, folder / "out")}


def start(item: Item) -> tuple[str, int] | None:
    assert isinstance(item, Cell)
    return (item.start[0].label, item.start[1]) if item.start else None


def test_the_order_is_that_of_the_file_and_jobs_come_last(tmp_path: Path):
    items = planned(tmp_path)
    assert list(items) == ["both", "strong", "t1", "fill", "both/no-t2", "both/filled"]
    job = items["both/filled"]
    assert isinstance(job, Job)
    assert [cell.label for cell in job.needs] == ["both", "fill"]
    assert job.place == tmp_path / "out" / "runs" / "both" / "jobs" / "filled"


def test_each_seed_has_a_run_and_changes_stack_up(tmp_path: Path):
    items = planned(tmp_path, "small")
    # `fill` is left out, and with it the job that needs it.
    cells = ["both", "strong", "t1", "both.seed1", "strong.seed1", "t1.seed1"]
    assert list(items) == [*cells, "both/no-t2", "both.seed1/no-t2"]
    both, t1 = items["both.seed1"], items["t1"]
    assert isinstance(both, Cell)
    assert isinstance(t1, Cell)
    assert (both.recipe.train.seed, both.recipe.train.epochs, both.recipe.train.batch_size) == (1, 4, 4)
    assert (t1.recipe.train.batch_size, t1.recipe.task.inputs) == (8, ["t1"])


def test_cells_that_prepare_alike_share_a_prepared_cohort(tmp_path: Path):
    items = planned(tmp_path, plain=[], fewer=["train.epochs=4"], other=["prepare=[{brain_mask: {}}, {zscore: {}}]"])
    folders = [item.prepared for item in items.values() if isinstance(item, Cell)]
    assert folders[0] == folders[1] != folders[2]


def test_cells_share_the_stages_in_which_they_agree(tmp_path: Path):
    third = "{from_epoch: 3, learning_rate: 0.0001, loss: {}}"
    items = planned(
        tmp_path,
        first=[],
        weight=["train.stages.second.loss.mse=5"],
        longer=["train.epochs=9", "train.patience=3"],
        later=["train.stages.second.from_epoch=1"],
        three=["train.epochs=5", f"train.stages.third={third}"],
        four=["train.epochs=6", f"train.stages.third={third}", "train.stages.third.loss.mse=7"],
        rate=["train.learning_rate=0.1"],
        seed=["train.stages.second=null"],
    )
    assert {label: start(item) for label, item in items.items()} == {
        "first": None,
        "weight": ("first", 0),
        "longer": ("first", 0),
        "later": None,  # its first stage ends earlier
        "three": ("first", 0),
        "four": ("three", 1),  # the one with most in common
        "rate": None,
        "seed": None,  # one stage alone: nothing to begin from
    }
    four = items["four"]
    assert isinstance(four, Cell)
    assert four.checkpoint == tmp_path / "out" / "runs" / "three" / "checkpoints" / "stage-1.ckpt"


def test_seeds_share_nothing(tmp_path: Path):
    items = planned(tmp_path, "small", first=[], weight=["train.stages.second.loss.mse=5"])
    assert start(items["weight.seed1"]) == ("first.seed1", 0)
    assert start(items["first.seed1"]) is None


def test_a_job_brings_the_cells_that_it_needs(tmp_path: Path):
    items = list(planned(tmp_path).values())
    assert [i.label for i in choose(items, [])] == [i.label for i in items]
    assert [i.label for i in choose(items, ["filled"])] == ["both", "fill", "both/filled"]
    assert [i.label for i in choose(items, ["strong"])] == ["strong"]
    with pytest.raises(RecipeError, match=r"--only stong: there is no such cell(.|\n)*did you mean 'strong'"):
        choose(items, ["stong"])


def test_a_changed_recipe_is_named_with_what_differs(tmp_path: Path):
    items = planned(tmp_path)
    both = items["both"]
    assert isinstance(both, Cell)
    both.run.mkdir(parents=True)
    on_another_machine = both.recipe.train.model_copy(update={"accelerator": "cpu", "workers": 2})
    same = both.recipe.model_copy(update={"train": on_another_machine, "title": "Other words"})
    (both.run / "recipe.yaml").write_text(dump_recipe(same))
    require_unchanged(items.values())
    (both.run / "recipe.yaml").write_text(
        dump_recipe(same.model_copy(update={"train": both.recipe.train.model_copy(update={"epochs": 4})}))
    )
    with pytest.raises(
        RecipeError, match=r"Cell both was begun(.|\n)*train\.epochs: 4\n(.|\n)*train\.epochs: 3\n.*remove"
    ):
        require_unchanged(items.values())
    (both.run / "recipe.yaml").write_text("{}")
    with pytest.raises(RecipeError, match="not a recipe of this version"):
        require_unchanged(items.values())


def test_a_cell_may_have_seeds_of_its_own_and_jobs_of_a_stage_follow_it(tmp_path: Path):
    data = study_data(study_recipe(tmp_path))
    data["scales"]["smoke"]["cells"] = {"both": {"seeds": [0, 4]}}
    data["cells"]["strong"]["seeds"] = [4]
    data["jobs"]["early"] = {"cell": "both", "stage": 1}
    study = load_study(write_study(tmp_path, data))
    items = {item.label: item for item in plan_study(study, "smoke", tmp_path / "out")}
    cells = ["both", "t1", "fill", "both.seed4", "strong.seed4"]
    assert list(items) == [*cells, "both/no-t2", "both/filled", "both/early", "both.seed4/early"]
    assert start(items["strong.seed4"]) == ("both.seed4", 0)
    early = items["both.seed4/early"]
    assert isinstance(early, Job)
    assert early.checkpoint == tmp_path / "out" / "runs" / "both.seed4" / "checkpoints" / "stage-0.ckpt"


@pytest.mark.parametrize(("cell", "stage", "words"), [("both", 2, "expected: 1 to 1"), ("t1", 1, "a cell with stages")])
def test_a_job_of_a_stage_that_is_not_kept_is_told(tmp_path: Path, cell: str, stage: int, words: str):
    data = study_data(study_recipe(tmp_path))
    data["cells"]["t1"]["set"].append("train.stages.second=null")
    data["jobs"]["early"] = {"cell": cell, "stage": stage}
    study = load_study(write_study(tmp_path, data))
    with pytest.raises(RecipeError, match=rf"job early, scale smoke(.|\n)*{words}"):
        plan_study(study, "smoke", tmp_path / "out")
