"""Recipes from before the section `method`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mrsynth.recipes.recipe import list_recipes, load_recipe
from mrsynth.recipes.upgrade import OLD, upgraded

CRITIC = {"critic": {"name": "critic_patch", "settings": {"inputs": 1}}, "weight": 1, "features": 0, "style": 0}
GAME = {**CRITIC, "learning_rate": 0.0002, "betas": [0.5, 0.999]}
MISSING = {"drop": 0.3, "flags": True}
NULLS = {**dict.fromkeys(OLD), "encoder_weights": None}


def earlier(name: str, **sections: Any) -> dict[str, Any]:
    """A recipe as it was written before, its variants left out."""
    data = yaml.safe_load(list_recipes()[name].read_text())
    method = data.pop("method")
    data["net"].pop("weights", None)
    old: dict[str, Any] = {"adversarial": "game", "wgan": "wgan"}
    kind = method.pop("kind")
    if "condition" in method:
        data["condition"] = method.pop("condition")
    if kind in old:
        data[old[kind]] = method
    return {**NULLS, **data, "variants": {}, **sections}


YOUNGER = {"anycontrast"}
"""Recipes that were never written in the earlier form."""


@pytest.mark.parametrize("name", [name for name in list_recipes() if name not in YOUNGER])
def test_every_recipe_as_it_was_written_means_the_same(name: str, tmp_path: Path):
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(earlier(name)))
    assert load_recipe(str(tmp_path / "old.yaml")) == load_recipe(name).model_copy(update={"variants": {}})


def test_each_old_section_becomes_its_kind():
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {"kind": "supervised"}),
        ({"missing": MISSING}, {"kind": "supervised", "missing": MISSING}),
        ({"game": GAME}, {"kind": "adversarial", **GAME}),
    ]
    for sections, expected in cases:
        method = upgraded(earlier("osman2022", **sections))["method"]
        assert {key: value for key, value in method.items() if value is not None} == expected


def test_variants_are_read_as_they_were_meant():
    variants = {
        "told": {"missing": MISSING, "net": {"settings": {"inputs": 2}}},
        "game": {"game": GAME},
        "begun": {"encoder_weights": "cache", "net": {"name": "drunet", "settings": {}}},
    }
    found = upgraded(earlier("osman2022", variants=variants))["variants"]
    assert found == {
        "told": {"net": {"settings": {"inputs": 2}}, "method": {"missing": MISSING}},
        "game": {"method": {"kind": "adversarial", **GAME}},
        "begun": {"net": {"name": "drunet", "settings": {}, "weights": "cache"}},
    }
    found = upgraded(earlier("pasumarthi2021", variants={"none": {"game": None}, "small": {"game": {"weight": 2}}}))
    assert found["variants"] == {"none": {"method": {"kind": "supervised"}}, "small": {"method": {"weight": 2}}}
    found = upgraded(earlier("pinetz2023", variants={"shared": {"wgan": {"embedding": "shared"}}}))
    assert found["variants"] == {"shared": {"method": {"embedding": "shared"}}}


def test_a_recipe_of_today_is_left_as_it_is():
    data = yaml.safe_load(list_recipes()["pinetz2023"].read_text())
    assert upgraded(data) == data
