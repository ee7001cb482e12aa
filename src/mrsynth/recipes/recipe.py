"""How a recipe is found, varied, overridden and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import nearest, parse
from mrsynth.core.yaml import parse_yaml, read_yaml_text
from mrsynth.recipes.checks import check_recipe
from mrsynth.recipes.methods import parse_method
from mrsynth.recipes.schema import EvaluateSettings, Recipe
from mrsynth.recipes.upgrade import OLD, upgraded
from mrsynth.steps import complete_steps

__all__ = ["EvaluateSettings", "Recipe", "dump_recipe", "list_recipes", "load_recipe", "merge", "parse_recipe"]


def list_recipes() -> dict[str, Path]:
    """Return the recipes that come with mrsynth: name → file."""
    folder = Path(str(resources.files("mrsynth.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe by name or file, with variants and overrides.

    Args:
        name: `osman2022`, `osman2022/t2-t1/small` (variants, applied in this order) or a path to a YAML file.
        overrides: "train.epochs=5", the value in YAML.

    Returns:
        The recipe, valid; its steps with all their settings, those left out from steps/defaults.yaml. A file from
        before the section `method` is read as what it meant (recipes/upgrade.py).

    Raises:
        RecipeError: names the nearest valid recipe, variant or key.
    """
    path, variants = _find(name)
    data = upgraded(_read(path))
    known = data.get("variants") or {}
    for variant in variants:
        if variant not in known:
            raise RecipeError(
                f"Recipe {path.stem} has no variant '{variant}'.",
                expected="one of " + ", ".join(known),
                do=nearest(variant, list(known)),
            )
        data = merge(data, known[variant])
    for override in overrides:
        data = merge(data, _parse_override(override))
    recipe = parse_recipe(data, f"recipe {path.stem}")
    check_recipe(recipe)
    return recipe


def parse_recipe(data: Mapping[str, Any], where: str) -> Recipe:
    """Return a recipe of the words of today, each section valid by itself, its steps complete.

    Args:
        data: as YAML has it.
        where: what it is, for the message.

    Raises:
        RecipeError: names the nearest valid key.
    """
    if moved := [name for name in (*OLD, "encoder_weights") if name in data]:
        raise RecipeError(
            f"{where}: unknown key '{moved[0]}'.",
            do=f"--set method.kind={OLD[moved[0]]}, with its settings beside it: `mrsynth recipes show` prints them"
            if moved[0] in OLD
            else "--set net.weights=…",
        )
    given = {**data, "method": parse_method(data.get("method"), where)} if "method" in data else data
    recipe = parse(Recipe, given, where)
    return recipe.model_copy(update={"prepare": complete_steps(recipe.prepare)})


def _read(path: Path) -> dict[str, Any]:
    """Return what stands in a recipe's file."""
    data = deepcopy(_parsed(read_yaml_text(path), str(path)))
    if not isinstance(data, dict):
        raise RecipeError(f"{path} is not a recipe.", found=type(data).__name__, expected="a mapping of sections")
    return data


@lru_cache(maxsize=32)
def _parsed(text: str, where: str) -> Any:
    """Return the value of a recipe's text: a study asks a hundred times for one file."""
    return parse_yaml(text, where)


def _find(name: str) -> tuple[Path, list[str]]:
    """Return a recipe's file and the variants asked for."""
    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name), []
    first, *variants = name.split("/")
    known = list_recipes()
    if first not in known:
        raise RecipeError(
            f"There is no recipe '{first}'.",
            expected="one of " + ", ".join(known) + ", or a file that ends in .yaml",
            do=nearest(first, list(known)),
        )
    return known[first], variants


def _parse_override(text: str) -> dict[str, Any]:
    """Return {"train": {"epochs": 5}} for "train.epochs=5"."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {text}: not an override.", expected="section.key=value, e.g. train.epochs=5")
    data: Any = parse_yaml(value, f"--set {text[:80]}: the value")
    for part in reversed(key.split(".")):
        data = {part: data}
    return dict(data)


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return base with the keys of change; mappings are merged, everything else (lists too) is replaced.

    A network of another name that comes with settings is replaced too, and a way of training of another kind: the old
    one's settings are not its own.

    Args:
        base: the mapping to change, which stays as it is.
        change: what is new.
    """
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        # `loss` and a net's `settings` are tables of free keys, but a change of one entry still means that entry alone.
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not _names_another(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def _names_another(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Say whether two entries are ways of training of different kinds, or networks of different names, the new one with
    settings of its own."""
    if "kind" in new:
        return bool(new["kind"] != old.get("kind"))
    return "settings" in new and "name" in new and new["name"] != old.get("name")


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML that `load_recipe` reads back."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
