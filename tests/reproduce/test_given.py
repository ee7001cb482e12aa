"""Weights of others in a study: cells that look for some are left out without them, and take the file that is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrsynth.core.errors import ModelError, RecipeError
from mrsynth.recipes.recipe import load_recipe
from mrsynth.reproduce.given import as_overrides, given_weights, looks_for, taken
from mrsynth.reproduce.plan import Cell, choose, plan_study, require_unchanged
from mrsynth.reproduce.study import load_study


@pytest.mark.parametrize(
    ("recipe", "found"),
    [
        ("pinetz2023", {}),
        ("pinetz2023/features", {}),  # trained here
        ("pinetz2023/vgg", {"loss.perceptual.features.weights": "vgg16"}),
        ("pinetz2023/vgg/l1", {"loss.perceptual.features.weights": "vgg16"}),
        ("li2022/vgg16", {"loss.contextual.features.weights": "vgg16"}),
        ("li2022/vgg16/mse", {}),  # a loss of weight 0 looks nowhere
        ("li2022/imagenet/drunet34", {"loss.contextual.features.weights": "vgg19", "net.weights": "resnet34"}),
    ],
)
def test_what_a_recipe_looks_for(recipe: str, found: dict[str, str]):
    assert looks_for(load_recipe(recipe)) == found


def test_a_given_file_takes_the_caches_place():
    recipe = load_recipe("li2022/imagenet/drunet34")
    given = {"vgg19": "/some where/a.safetensors", "resnet34": "/c.pth", "vgg16": "/b"}
    changed = load_recipe("li2022/imagenet/drunet34", as_overrides(looks_for(recipe), given))
    assert looks_for(changed) == {}
    assert taken([changed, load_recipe("li2022")]) == {"vgg19": "/some where/a.safetensors", "resnet34": "/c.pth"}


def test_cells_that_lack_weights_and_all_that_hangs_on_them_are_left_out(tmp_path: Path):
    study, vgg = load_study("pinetz2023"), {"vgg", "vgg64", "vgg-third", "vcm-vgg", "vgg-site2"}
    without = plan_study(study, "small", tmp_path, {})
    assert not vgg & {item.name for item in without}
    with pytest.raises(RecipeError, match="--only vgg: there is no such cell"):
        choose(without, ["vgg"])
    file = str(tmp_path / "vgg16.safetensors")
    items = plan_study(study, "small", tmp_path, {"vgg16": file})
    assert {item.name for item in items} == vgg | {item.name for item in without}
    (cell,) = [item for item in items if item.name == "vgg"]
    assert isinstance(cell, Cell)
    assert looks_for(cell.recipe) == {}
    require_unchanged(items)  # nothing is begun
    # The scale of the paper's cohort counts on the cache.
    assert "vgg" in {item.name for item in plan_study(study, "paper", tmp_path, {})}


def test_what_was_given_is_remembered_and_wrong_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert given_weights(tmp_path, None) == {}  # no study there
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="ImageNet weights of vgg16 are not here"):
        given_weights(tmp_path, {"vgg16": "cache"})
    assert Path(given_weights(tmp_path, {"vgg16": "a.safetensors"})["vgg16"]).is_absolute()
    with pytest.raises(RecipeError, match=r"--weights vgg6: there are no public weights(.|\n)*did you mean 'vgg16'"):
        given_weights(tmp_path, {"vgg6": "a"})
