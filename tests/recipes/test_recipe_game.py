"""A recipe's critic must fit its task and its samples."""

from __future__ import annotations

import pytest

from mrsynth.core.errors import RecipeError
from mrsynth.recipes.recipe import load_recipe

GAME = (
    "game={critic: {name: critic_patch, settings: {inputs: 1}}, weight: 1, features: 0, style: 0,"
    " learning_rate: 0.0002, betas: [0.5, 0.999]}"
)


def test_a_critic_that_fits_is_taken():
    game = load_recipe("osman2022", [GAME]).game
    assert game is not None
    assert game.critic.name == "critic_patch"


@pytest.mark.parametrize(
    ("setting", "found"), [("inputs=3", "4 channels, 2-D"), ("mode=slab", "2 channels, 3-D"), ("widths=[]", "1 width")]
)
def test_a_critic_that_does_not_fit_is_refused_before_anything_is_trained(setting: str, found: str):
    with pytest.raises(RecipeError, match=found):
        load_recipe("osman2022", [GAME, f"game.critic.settings.{setting}"])


def test_a_negative_weight_is_refused():
    with pytest.raises(RecipeError, match=r"game\.weight"):
        load_recipe("osman2022", [GAME, "game.weight=-1"])
