"""The section `method`: each kind with what must fit it."""

from __future__ import annotations

from importlib import import_module

import pytest

from mrsynth.core.errors import RecipeError
from mrsynth.recipes.methods import METHODS, AdversarialSettings, SupervisedSettings
from mrsynth.recipes.recipe import load_recipe
from mrsynth.train.method import Method

GAME = (
    "method={kind: adversarial, critic: {name: critic_patch, settings: {inputs: 1}}, weight: 1, features: 0, style: 0,"
    " learning_rate: 0.0002, betas: [0.5, 0.999]}"
)


def test_a_critic_that_fits_is_taken():
    method = load_recipe("osman2022", [GAME]).method
    assert isinstance(method, AdversarialSettings)
    assert method.critic.name == "critic_patch"


@pytest.mark.parametrize(
    ("setting", "found"), [("inputs=3", "4 channels, 2-D"), ("mode=slab", "2 channels, 3-D"), ("widths=[]", "1 width")]
)
def test_a_critic_that_does_not_fit_is_refused_before_anything_is_trained(setting: str, found: str):
    with pytest.raises(RecipeError, match=found):
        load_recipe("osman2022", [GAME, f"method.critic.settings.{setting}"])


def test_a_negative_weight_is_refused():
    with pytest.raises(RecipeError, match=r"method: 'weight'"):
        load_recipe("osman2022", [GAME, "method.weight=-1"])


def test_another_network_is_no_critic():
    with pytest.raises(RecipeError, match="the network unet2d cannot be its critic"):
        load_recipe("osman2022", [GAME, "method.critic={name: unet2d, settings: {inputs: 1}}"])


def test_another_kind_replaces_the_settings_of_the_one_before():
    recipe = load_recipe("pasumarthi2021/no-game")
    assert recipe.method == SupervisedSettings(kind="supervised")


@pytest.mark.parametrize("kind", list(METHODS))
def test_every_kind_is_trained_by_a_class_of_its_own(kind: str):
    module, _, name = METHODS[kind].TRAINED_BY.partition(":")
    assert issubclass(getattr(import_module(module), name), Method)
