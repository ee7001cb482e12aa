from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import yaml

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import PredictSettings
from mrsynth.nets.registry import NETS
from mrsynth.recipes.recipe import EvaluateSettings, Recipe, dump_recipe, list_recipes, load_recipe, merge
from mrsynth.recipes.sections import SampleSettings

SIX = ["t1-t2", "t2-t1", "t1-flair", "flair-t1", "t2-flair", "flair-t2"]

GAME = (
    "method={kind: adversarial, critic: {name: %s, settings: {}}, weight: 1, features: 0, style: 0, learning_rate: 1,"
    " betas: [0, 0.9]}"
)


@pytest.mark.parametrize("name", list(list_recipes()))
def test_every_recipe_and_every_variant_is_valid(name: str):
    recipe = load_recipe(name)
    for variant in recipe.variants:
        load_recipe(f"{name}/{variant}")


@pytest.mark.parametrize("name", list(list_recipes()))
def test_every_key_stands_in_the_recipe(name: str):
    """A recipe is a page to read: no setting comes from elsewhere, but what is left out where it is null."""
    data = yaml.safe_load(list_recipes()[name].read_text())
    sections = {"samples": SampleSettings, "predict": PredictSettings, "evaluate": EvaluateSettings}
    for section, kind in sections.items():
        optional = {name for name, field in kind.model_fields.items() if field.default is None}
        assert set(kind.model_fields) - optional <= set(data[section]) <= set(kind.model_fields), section
    assert set(data) == set(Recipe.model_fields)


def test_osman2022_is_as_the_paper_says():
    """The numbers of §2.1–2.4, one by one."""
    recipe = load_recipe("osman2022")
    assert recipe.net.name == "unet2d"
    assert recipe.net.settings["widths"] == [16, 32, 64, 128, 256]
    assert recipe.loss == {"mse": 1.0}
    train = recipe.train
    assert (train.epochs, train.batch_size, train.learning_rate, train.patience) == (120, 32, 0.001, 20)
    steps = [next(iter(step)) for step in recipe.prepare]
    assert steps == ["brain_mask", "drop_empty_slices", "zscore", "unit", "field_of_view", "resize"]
    assert recipe.prepare[-1]["resize"]["size"] == [224, 224]
    assert [v for v in recipe.variants if v in SIX] == SIX
    assert recipe.published is not None
    assert list(recipe.published.translations) == SIX
    assert recipe.published.translations["t1-flair"]["psnr"] == (33.25, 1.55)


@pytest.mark.parametrize("name", SIX)
def test_the_six_translations(name: str):
    recipe = load_recipe(f"osman2022/{name}")
    assert recipe.translation == name


def test_the_recipes_network_is_the_networks_own_default():
    """The YAML and the constructor are two homes of one truth; here they are held together."""
    recipe = load_recipe("osman2022")
    defaults = {k: p.default for k, p in inspect.signature(NETS["unet2d"]).parameters.items()}
    for key, value in recipe.net.settings.items():
        assert (list(defaults[key]) if isinstance(value, list) else defaults[key]) == value


def test_variants_and_overrides_apply_in_order():
    recipe = load_recipe("osman2022/t2-t1/small", ["train.epochs=5", "loss={mae: 2}", "train.samples_per_epoch=7"])
    assert recipe.translation == "t2-t1"
    assert recipe.train.epochs == 5
    assert recipe.train.samples_per_epoch == 7
    assert recipe.train.patience == 8
    assert recipe.loss == {"mse": 1.0, "mae": 2}


def test_a_recipe_survives_being_written(tmp_path: Path):
    recipe = load_recipe("osman2022/flair-t1/robust", ["train.seed=4"])
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(str(tmp_path / "recipe.yaml")) == recipe


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("osman202", [], "did you mean 'osman2022'"),
        ("osman2022/t1-t3", [], "did you mean 't1-t2'"),
        ("osman2022", ["train.epoch=5"], r"unknown key 'train.epoch'[\s\S]*did you mean 'epochs'"),
        ("osman2022", ["trian.epochs=5"], r"unknown key 'trian'[\s\S]*did you mean 'train'"),
        ("osman2022", ["train.epochs=0"], "greater than or equal to 1"),
        ("osman2022", ["train.epochs=many"], "valid integer"),
        ("osman2022", ["train.epochs"], "not an override"),
        ("osman2022", ["range=[1, 0]"], "'range': .*the lower one first"),
        ("osman2022", ["range=[0, 0]"], "'range': .*the lower one first"),
        ("osman2022", ["loss={l2: 1}"], "Unknown loss 'l2'"),
        ("osman2022", ["net.name=unet2"], "did you mean 'unet2d'"),
        ("osman2022", ["net.settings.width=[1]"], "unexpected keyword"),
        ("osman2022", ["net.settings.inputs=2"], "do not fit the task"),
        ("osman2022", ["method.missing={drop: 0.3, flags: true}"], "net.settings.inputs=2"),
        ("osman2022", ["method.missing={drop: 1, flags: true}"], "missing.drop"),
        ("osman2022", [GAME % "critic_patch", "method.weight=-1"], r"method: 'weight'"),
        (
            "osman2022",
            ["method.kind=adversarial", "method.weigth=1"],
            r"'weigth'[\s\S]*one of betas, critic[\s\S]*'weight'",
        ),
        ("osman2022", ["method.kind=adverserial"], "did you mean 'adversarial'"),
        ("osman2022", ["method=null"], "does not say how the network is trained"),
        ("osman2022", ["game={weight: 1}"], "--set method.kind=adversarial"),
        ("osman2022", ["encoder_weights=cache"], "--set net.weights"),
        ("osman2022", [GAME % "critic_path"], "did you mean 'critic_patch'"),
        ("osman2022", [GAME % "critic_patch", "method.missing={drop: 0.3, flags: false}"], "unknown key 'missing'"),
        ("osman2022", ["samples.patch={size: [8, 8, 8], per_epoch: 4, within: brain}"], r"expected: slices \(x, y\)"),
        ("osman2022", ["net={name: hrfcn}", "net.settings=null"], "net.settings"),
        ("osman2022", ["train.stages={a: {from_epoch: 120, learning_rate: 1, loss: {}}}"], "no epoch is left"),
        ("osman2022", ["train.stages={a: {from_epoch: 1, learning_rate: 1, loss: {maee: 1}}}"], "did you mean 'mae'"),
        ("osman2022", ["train.stages={a: {from: 1}}"], r"'train.stages.a.from'[\s\S]*did you mean 'from_epoch'"),
        ("osman2022", ["task.target=t1"], "both input and target"),
        ("osman2022", ["task.target=adc"], "does not prepare"),
        ("osman2022", ["prepare=[{zscor: {}}]"], "did you mean 'zscore'"),
        ("osman2022", ["evaluate.presets=[osman]"], "did you mean 'osman2022'"),
        ("nowhere.yaml", [], "cannot be read"),
    ],
)
def test_mistakes_are_named(name: str, overrides: list[str], message: str):
    with pytest.raises(RecipeError, match=message):
        load_recipe(name, overrides)


def test_broken_recipe_files(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    for text, message in (("a: [", "not YAML"), ("- 1", "not a recipe"), ("name: x", "required")):
        path.write_text(text)
        with pytest.raises(RecipeError, match=message):
            load_recipe(str(path))


def test_merge_replaces_lists_and_merges_mappings():
    assert merge({"a": {"b": 1, "c": [1, 2]}, "d": 3}, {"a": {"c": [9]}}) == {"a": {"b": 1, "c": [9]}, "d": 3}


def test_a_recipe_that_is_not_yaml_is_told_with_its_line(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("name: x\ntask: {inputs: [t1]\nnet: y\n")
    with pytest.raises(RecipeError, match=r"(?s)mine.yaml is not YAML.*line 3"):
        load_recipe(str(tmp_path / "mine.yaml"))
