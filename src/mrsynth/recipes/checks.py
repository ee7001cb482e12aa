"""What makes a recipe valid: names that exist, parts that fit together. Nothing is computed but shapes."""

from __future__ import annotations

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import nearest
from mrsynth.core.types import contrast_name
from mrsynth.losses import build_loss
from mrsynth.metrics.presets import PRESETS
from mrsynth.nets import sketch
from mrsynth.recipes.schema import Recipe
from mrsynth.recipes.sections import stage_terms, stages_in_order


def check_recipe(recipe: Recipe) -> None:
    """Check a recipe.

    Args:
        recipe: the recipe, its sections valid each by itself.

    Raises:
        RecipeError: where a name does not exist or parts do not fit together.
    """
    _check_task(recipe)
    _check_losses(recipe)
    _check_slices(recipe)
    recipe.method.check(recipe)
    _check_network(recipe)
    for preset in recipe.evaluate.presets:
        if preset not in PRESETS:
            raise RecipeError(
                f"Recipe {recipe.name}: unknown preset '{preset}'.",
                expected=", ".join(PRESETS),
                do=nearest(preset, list(PRESETS)),
            )


def _check_task(recipe: Recipe) -> None:
    """Check the contrasts that go in and come out."""
    task = recipe.task
    for name in [*task.inputs, task.target, *recipe.contrasts]:
        contrast_name(name)
    if task.target in task.inputs:
        raise RecipeError(f"Recipe {recipe.name}: {task.target} is both input and target.")
    absent = [name for name in [*task.inputs, task.target] if name not in recipe.contrasts]
    if absent:
        raise RecipeError(
            f"Recipe {recipe.name}: the task names contrasts that `contrasts` does not prepare.",
            found=", ".join(absent),
            expected=", ".join(recipe.contrasts),
        )


def _check_losses(recipe: Recipe) -> None:
    """Check the losses of every stage."""
    build_loss(recipe.loss, recipe.task.inputs)
    for stage in stages_in_order(recipe.train).values():
        build_loss(stage_terms(recipe.loss, stage.loss), recipe.task.inputs)


def _check_slices(recipe: Recipe) -> None:
    """Check that neighbours and planes are asked for only where a network sees slices."""
    samples = recipe.samples
    if samples.patch is not None and (samples.neighbours or samples.planes != ("z",) or not recipe.predict.is_axial):
        raise RecipeError(
            f"Recipe {recipe.name}: neighbours, planes and rotations are for networks that see slices.",
            found="boxes (samples.patch)",
            do="set samples.neighbours=0, samples.planes=[z] and predict={planes: [z], rotations_deg: [0]}, or "
            "samples.patch=null and a 2-D network",
        )


def _check_network(recipe: Recipe) -> None:
    """Check that the network can be built, and that it fits inputs, samples and the way of training."""
    where, name = f"Recipe {recipe.name}", recipe.net.name
    net = sketch(name, **recipe.net.settings)
    if net.told != recipe.method.TELLS:
        raise RecipeError(
            f"{where}: the network {name} and the way of training do not fit.",
            found=f"the network is told {_words(net.told)}, method.kind {recipe.method.kind} "
            f"tells {_words(recipe.method.TELLS)}",
            expected="both the same; the network lowdose and method.kind wgan go together, as in pinetz2023",
        )
    slices = 2 * recipe.samples.neighbours + 1
    expected = recipe.method.channels(len(recipe.task.inputs) * slices)
    if net.inputs != expected:
        raise RecipeError(
            f"{where}: the network's inputs do not fit the task.",
            found=f"net.settings.inputs={net.inputs}, task.inputs={recipe.task.inputs}, {slices} slices of each, "
            f"method.kind={recipe.method.kind}",
            expected=f"{expected} channels: one an input and slice, and those that the method adds",
            do=f"--set net.settings.inputs={expected}",
        )
    if (net.dimensions == 3) != (recipe.samples.patch is not None):
        boxes, slices_ = "boxes (x, y, z)", "slices (x, y)"
        raise RecipeError(
            f"{where}: the network {name} does not fit the samples.",
            found=f"{boxes if recipe.samples.patch else slices_} by samples.patch",
            expected=boxes if net.dimensions == 3 else slices_,
            do="set samples.patch to {size: [null, null, 3], per_epoch: 600, within: brain}"
            if net.dimensions == 3
            else "--set samples.patch=null, or take the network's 3-D version",
        )
    if recipe.net.weights is not None and net.public_weights is None:
        raise RecipeError(
            f"{where}: the network {name} has no encoder that takes weights of others.",
            found=f"net.weights: {recipe.net.weights}",
            expected="the network drunet",
            do="--set net.weights=null",
        )


def _words(told: tuple[str, ...]) -> str:
    return " and ".join(told) or "nothing"
