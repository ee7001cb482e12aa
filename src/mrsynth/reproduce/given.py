"""Weights that others trained, given to a study: which cells look for some, and the same cells with a file.

A recipe that says `weights: cache` looks for torchvision's file of that network. A study does not count on it: without
`--weights NETWORK=FILE` its cells on phantoms that look so are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mrsynth.core.errors import InputError, RecipeError
from mrsynth.core.settings import nearest
from mrsynth.nets import sketch
from mrsynth.nets.weights import CACHED, weights_file
from mrsynth.recipes.recipe import Recipe
from mrsynth.reproduce.records import StudyRecord

CACHE = "cache"


def given_weights(out: Path, asked: Mapping[str, str] | None) -> dict[str, str]:
    """Return network → weights of a study: what is asked for now, or what the folder's study was begun with.

    Args:
        out: the study's folder.
        asked: network → a file, "cache" or "download"; None for what study.json says.

    Returns:
        Network → file.

    Raises:
        RecipeError: a network has no public weights.
        ModelError: they are not in the cache, or cannot be downloaded.
    """
    if asked is None:
        try:
            return dict(StudyRecord.read(out / StudyRecord.FILE).weights)
        except InputError:
            return {}
    for network in asked:
        if network not in CACHED:
            raise RecipeError(
                f"--weights {network}: there are no public weights of such a network.",
                expected="one of " + ", ".join(CACHED),
                do=nearest(network, list(CACHED)),
            )
    return {network: str(weights_file(network, value).absolute()) for network, value in asked.items()}


def looks_for(recipe: Recipe) -> dict[str, str]:
    """Return where a recipe says `weights: cache`: dotted key of the setting → network.

    Args:
        recipe: whose losses that count, way of training and network are searched.
    """
    return {key: network for key, network, weights in _of_others(recipe) if weights == CACHE}


def taken(recipes: Iterable[Recipe]) -> dict[str, str]:
    """Return the weights that were put in the place of the cache's: network → file.

    Args:
        recipes: of a study's cells.
    """
    found = [one for recipe in recipes for one in _of_others(recipe)]
    return {network: weights for _, network, weights in found if weights not in (CACHE, "trained")}


def _of_others(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    """Yield (dotted key, network, weights) of the networks in a recipe that others may have trained."""
    yield from _features(recipe.model_dump(mode="json", include={"loss", "method", "train"}))
    if recipe.net.weights is not None:
        network = sketch(recipe.net.name, **recipe.net.settings).public_weights
        yield "net.weights", str(network), recipe.net.weights


def _features(data: Any, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the same of the feature networks below a section, but those of a loss of weight 0."""
    if not isinstance(data, Mapping) or data.get("weight") == 0:
        return
    if "weights" in data and "network" in data:
        yield f"{prefix}weights", data["network"], data["weights"]
    for key, value in data.items():
        yield from _features(value, f"{prefix}{key}.")


def as_overrides(wanted: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """Return the overrides that put given weights in their places.

    Args:
        wanted: dotted key → network, as `looks_for` finds it.
        given: network → weights.
    """
    return [f"{key}={json.dumps(given[network])}" for key, network in wanted.items() if network in given]
