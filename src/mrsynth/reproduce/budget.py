"""A budget of optimiser steps, as the overrides of a recipe that spend it."""

from __future__ import annotations

import math

from mrsynth.core.errors import RecipeError
from mrsynth.recipes.recipe import Recipe
from mrsynth.recipes.sections import stages_in_order


def spend(recipe: Recipe, steps: int) -> list[str]:
    """Return the overrides with which a recipe trains for so many batches.

    Stages keep their share of the epochs; a patience that was never used up stays one that is not.

    Args:
        recipe: its samples an epoch must be known (samples.patch.per_epoch or train.samples_per_epoch).
        steps: batches of the network's training, at least; whole epochs are trained.

    Returns:
        Overrides of `train`, as `load_recipe` takes them.

    Raises:
        RecipeError: where an epoch has as many samples as the cohort happens to have.
    """
    patch, train = recipe.samples.patch, recipe.train
    samples = train.samples_per_epoch if patch is None else patch.per_epoch
    if samples is None:
        raise RecipeError(
            f"Recipe {recipe.name}: a budget of steps needs epochs of known length.",
            found="train.samples_per_epoch: null",
            do="set train.samples_per_epoch, or leave out `steps`",
        )
    epochs = max(1, math.ceil(steps / math.ceil(samples / train.batch_size)))
    stretch = epochs / train.epochs
    overrides = [f"train.epochs={epochs}"]
    if train.patience >= train.epochs:
        overrides.append(f"train.patience={epochs}")
    for name, stage in stages_in_order(train).items():
        overrides.append(f"train.stages.{name}.from_epoch={max(1, round(stage.from_epoch * stretch))}")
    return overrides
