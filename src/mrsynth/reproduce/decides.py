"""What of a recipe decides a model's weights: by that cells share stages, and results are told apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrsynth.recipes.recipe import Recipe
from mrsynth.recipes.sections import stage_terms, stages_in_order

TRAINED = ("task", "prepare", "range", "samples", "net", "loss", "method", "train")
"""Sections of a recipe that decide a model's weights."""

LATER = ("epochs", "patience", "stages")
"""Settings of `train` that do not matter before the last stage; the stages are compared one by one."""

MACHINE = ("in_memory_gb", "workers", "accelerator", "devices", "nodes", "strategy")
"""Settings of `train` that say on what it is trained, not what."""


def preparation_key(recipe: Recipe) -> str:
    """Return the name of the prepared cohort that a recipe asks for: equal for equal contrasts and steps."""
    return digest([recipe.contrasts, recipe.prepare])


def stage_keys(recipe: Recipe, data: Any) -> list[str]:
    """Return for each stage but the last what decides the state at its end.

    Args:
        recipe: the recipe.
        data: what says on which data it is trained, made of JSON's types.
    """
    base = decides(recipe.model_dump(mode="json"))
    base["train"] = {key: value for key, value in base["train"].items() if key not in LATER}
    stages = list(stages_in_order(recipe.train).values())
    done = [[s.from_epoch, s.learning_rate, stage_terms(recipe.loss, s.loss)] for s in stages]
    return [digest([data, base, done[:number], stage.from_epoch]) for number, stage in enumerate(stages)]


def decides(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a recipe, as it is dumped, decides a model's weights; files of others' weights count by name."""
    kept = {section: _named(recipe[section]) for section in TRAINED}
    return {**kept, "train": {key: value for key, value in kept["train"].items() if key not in MACHINE}}


def _named(data: Any) -> Any:
    """Return a section in which `weights` name a file without its folder, which differs between machines."""
    if not isinstance(data, dict):
        return data
    files = {key: Path(value).name for key, value in data.items() if key == "weights" and isinstance(value, str)}
    return {key: files.get(key, _named(value)) for key, value in data.items()}


def flat(data: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as dotted keys.

    Args:
        data: a mapping, or what stands in one.
        prefix: the keys that led to it.
    """
    if not isinstance(data, dict) or not data:
        return {prefix: data}
    return {k: v for key, value in data.items() for k, v in flat(value, f"{prefix}.{key}" if prefix else key).items()}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return dotted key → what stands there in each of two nested mappings, where that differs.

    Args:
        before: one.
        now: the other.
    """
    one, other = flat(dict(before)), flat(dict(now))
    return {key: (one.get(key), other.get(key)) for key in {**other, **one} if one.get(key) != other.get(key)}


def digest(value: Any) -> str:
    """Return a short name for a value made of JSON's types."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
