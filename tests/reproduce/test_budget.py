"""A budget of steps: so many batches, the stages with their share of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mrsynth.core.errors import RecipeError
from mrsynth.recipes.recipe import load_recipe
from mrsynth.recipes.sections import stages_in_order
from mrsynth.reproduce.budget import spend
from mrsynth.reproduce.plan import Cell, plan_study
from mrsynth.reproduce.study import list_studies, load_study


@pytest.mark.parametrize(("recipe", "steps"), [("chen2022/small/long/ours2d", 48_000), ("pinetz2023/small", 7)])
def test_whole_epochs_hold_the_steps_and_stages_keep_their_share(recipe: str, steps: int) -> None:
    before = load_recipe(recipe)
    after = load_recipe(recipe, spend(before, steps))
    samples = before.train.samples_per_epoch if before.samples.patch is None else before.samples.patch.per_epoch
    batches = math.ceil((samples or 0) / before.train.batch_size)
    assert (after.train.epochs - 1) * batches < steps <= after.train.epochs * batches
    assert after.train.patience >= after.train.epochs  # it was never to stop
    for name, stage in stages_in_order(before.train).items():
        share = stages_in_order(after.train)[name].from_epoch / after.train.epochs
        assert share == pytest.approx(stage.from_epoch / before.train.epochs, abs=0.01)


def test_epochs_of_unknown_length_have_no_budget() -> None:
    with pytest.raises(RecipeError, match="epochs of known length"):
        spend(load_recipe("osman2022"), 10)


@pytest.mark.parametrize("name", ["chen2022", "pinetz2023", "li2022"])
def test_the_long_scale_of_every_study_can_be_planned(name: str, tmp_path: Path) -> None:
    assert name in list_studies()
    study = load_study(name)
    cells = {item.name: item for item in plan_study(study, "long", tmp_path) if isinstance(item, Cell)}
    small = {item.name: item for item in plan_study(study, "small", tmp_path) if isinstance(item, Cell)}
    assert set(cells) >= set(small)  # the long scale has cells of its own: sweeps, 2-D versions
    assert all(cells[one].recipe.train.epochs > 2 * small[one].recipe.train.epochs for one in small)
