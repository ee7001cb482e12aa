"""mrsynth train --all FOLDS: every case trains, for as many steps as cross-validation found; nothing is held out."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

from mrsynth.core.errors import ModelError, RecipeError
from mrsynth.io import PreparedCohort
from mrsynth.io.run import Run, RunRecord, Training
from mrsynth.model import Contract
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.recipes.sections import StageSettings
from mrsynth.train.checks import SECTIONS, TRAINED, differing
from mrsynth.train.folds import HELD_OUT, everyone_trains
from mrsynth.train.run import train


def train_everyone(
    recipe: Recipe,
    prepared: PreparedCohort,
    out: Path,
    folds: Path,
    *,
    resume: bool = False,
    weights_from: Path | None = None,
) -> Contract:
    """Train on every case without a validation split.

    The steps are the median over the folds of those up to their best epoch; stages begin after as many steps as theirs.

    Args:
        recipe: the recipe that the folds were trained by.
        prepared: the cohort.
        out: the run folder.
        folds: the folder that `mrsynth train --folds` left.
        resume: go on from the folder's latest checkpoint.
        weights_from: a run whose weights it begins with.

    Returns:
        The model's contract; `began.steps_from` names the folds.

    Raises:
        ModelError: where there are no finished folds.
        RecipeError: where they were trained by another recipe.
    """
    trainings = _read_folds(folds, recipe)
    whole = as_long_as(recipe, trainings)
    return train(whole, everyone_trains(prepared), out, resume=resume, weights_from=weights_from, steps_from=folds)


def as_long_as(recipe: Recipe, folds: list[Training]) -> Recipe:
    """Return a recipe whose epochs, on all cases, have as many steps as the folds' best epochs.

    Args:
        recipe: the recipe.
        folds: the records of all folds; each case trained in all of them but one or two (`HELD_OUT`).
    """
    train = recipe.train

    def steps_per_epoch(samples: float) -> int:
        return math.ceil(min(samples, train.samples_per_epoch or math.inf) / train.batch_size)

    boxes = folds[0].samples.kind == "boxes"  # as many an epoch, however many cases
    everything = (
        folds[0].samples.train
        if boxes
        else sum(f.samples.train for f in folds) / (len(folds) - HELD_OUT[train.validation])
    )
    steps = statistics.median((f.best_epoch + 1) * steps_per_epoch(f.samples.train) for f in folds)
    ratio = steps_per_epoch(statistics.median(f.samples.train for f in folds)) / steps_per_epoch(everything)
    epochs = max(1, round(steps / steps_per_epoch(everything)))
    stages: dict[str, StageSettings | None] = {}
    for name, stage in train.stages.items():
        first = max(1, round(stage.from_epoch * ratio)) if stage is not None else 0
        stages[name] = stage.model_copy(update={"from_epoch": first}) if stage and first < epochs else None
    changed = train.model_copy(update={"epochs": epochs, "patience": epochs, "stages": stages})
    return recipe.model_copy(update={"train": changed})


def _read_folds(folder: Path, recipe: Recipe) -> list[Training]:
    """Return the records of the folds in a folder; raises as `train_everyone` does."""
    runs = sorted(folder.glob("fold-*"), key=lambda run: (len(run.name), run.name))
    found = [RunRecord.read(Run(run).record).training for run in runs if Run(run).record.is_file()]
    finished = [training for training in found if training is not None]
    if len(finished) <= HELD_OUT[recipe.train.validation] or len(finished) < len(runs):
        raise ModelError(
            f"{folder} does not hold the runs of all folds.",
            found=f"{len(finished)} finished of {len(runs)}",
            expected="the folder that mrsynth train --folds K left, all of its folds finished",
            do="train the folds first (a stopped training goes on with --resume)",
        )
    before = load_recipe(str(Run(runs[0]).recipe))
    if section := differing(before, recipe, [*SECTIONS, *(name for name in TRAINED if "precision" not in name)]):
        raise RecipeError(
            f"The folds in {folder} were trained with another `{section}`; their steps say nothing of this recipe.",
            do="give the recipe that they were trained by",
        )
    return finished
