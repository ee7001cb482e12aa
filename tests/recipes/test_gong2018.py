"""gong2018 as far as it is publicly known, and prepared as the model that followed it."""

from __future__ import annotations

import pytest

from mrsynth.nets import build_net, count_parameters
from mrsynth.recipes.recipe import load_recipe


def test_it_is_its_successor_slice_by_slice():
    recipe, successor = load_recipe("gong2018"), load_recipe("pasumarthi2021")
    assert recipe.translation == successor.translation == "t1+t1ld-t1ce"
    assert (recipe.contrasts, recipe.prepare, recipe.range) == (successor.contrasts, successor.prepare, successor.range)
    assert (recipe.samples.neighbours, recipe.samples.planes, recipe.predict.is_axial) == (0, ("z",), True)
    assert (recipe.loss, recipe.method.kind) == ({"mae": 1}, "supervised")
    ours, theirs = (count_parameters(build_net(r.net.name, **r.net.settings)) for r in (recipe, successor))
    assert theirs - ours == 12 * 32 * 9  # the first layer sees 2 slices of 14


@pytest.mark.parametrize("size", ["small", "smoke"])
def test_smaller_sizes_share_the_successors_prepared_cohort(size: str):
    recipe = load_recipe(f"gong2018/{size}/neighbours")
    assert recipe.prepare == load_recipe(f"pasumarthi2021/{size}").prepare
    assert build_net(recipe.net.name, **recipe.net.settings).inputs == 2 * (2 * recipe.samples.neighbours + 1) == 10
