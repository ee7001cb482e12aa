"""What is left of a study: steps that are shared or done are not counted twice; sizes as the recipe says them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrsynth.recipes.recipe import load_recipe
from mrsynth.reproduce.estimate import cost_table, sample_shape, steps_left
from mrsynth.reproduce.plan import Cell, plan_study
from mrsynth.reproduce.study import load_study
from tiny_study import study_data, study_recipe, write_study


@pytest.mark.parametrize(
    ("recipe", "spacing_mm", "shape"),
    [
        ("chen2022/small/ours2d", None, (56, 72)),
        ("chen2022/small", None, (56, 72, 3)),
        ("osman2022", None, (224, 224)),
        ("pinetz2023", None, (64, 64, 64)),
        ("chen2022/small/cube", None, (64, 64, 64)),
    ],
)
def test_the_size_of_a_sample(recipe: str, spacing_mm: float | None, shape: tuple[int, ...]):
    assert sample_shape(load_recipe(recipe), spacing_mm) == shape


def test_a_size_that_hangs_on_the_cohort_is_not_known():
    field = "prepare=[{brain_mask: {}}, {pad_or_crop: {size_mm: [120, 96, 120]}}]"
    recipe = load_recipe("osman2022", [field])
    assert sample_shape(recipe, None) is None
    assert sample_shape(recipe, 3.0) == (40, 32)


def test_steps_that_another_cell_trains_or_that_are_done_are_not_left(tmp_path: Path):
    data = study_data(study_recipe(tmp_path))
    data["scales"]["smoke"]["set"] = ["train.samples_per_epoch=20"]  # 3 epochs of 3 batches; the second stage from 2 on
    study = load_study(write_study(tmp_path, data))
    items = plan_study(study, "smoke", tmp_path / "out")
    left = {item.label: steps_left(item, items) for item in items if isinstance(item, Cell)}
    assert left == {"both": 9, "strong": 3, "t1": 9, "fill": 9}
    strong = next(item for item in items if item.label == "strong")
    assert isinstance(strong, Cell)
    assert steps_left(strong, [strong]) == 9  # its owner is not planned, and has left no state
    history = tmp_path / "out" / "runs" / "t1" / "log" / "history.csv"
    history.parent.mkdir(parents=True)
    history.write_text("epoch,stage,train_loss,val_loss,learning_rate,seconds\n0,0,1,1,0.1,1\n1,0,1,1,0.1,1\n")
    t1 = next(item for item in items if item.label == "t1")
    assert isinstance(t1, Cell)
    assert steps_left(t1, items) == 3


def test_the_table_has_a_row_a_cell_and_their_sum(tmp_path: Path):
    data = study_data(study_recipe(tmp_path))
    size = "{pad_or_crop: {shape: [16, 16, 8]}}"
    data["scales"]["smoke"]["set"] = ["train.samples_per_epoch=20", f"prepare=[{{brain_mask: {{}}}}, {size}]"]
    study = load_study(write_study(tmp_path, data))
    table = cost_table(plan_study(study, "smoke", tmp_path / "out"), None)
    rows = {str(row[0].text): [str(entry.text) for entry in row[1:]] for row in table.rows}
    assert list(rows) == ["both", "strong", "t1", "fill", "all"]
    assert [rows[name][1] for name in ("both", "strong")] == ["9", "3"]
    assert float(rows["both"][2]) > 0
    assert rows["both"][4] == "2"  # jobs
