"""What `mrsynth train` refuses: to overwrite a run, to go on with another one, to train on data of another kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrsynth.core.errors import CohortError, ModelError, RecipeError
from mrsynth.io import PreparedCohort
from mrsynth.io.run import Run, RunRecord
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.recipes.sections import StageSettings, stages_in_order
from mrsynth.steps import complete_steps

SECTIONS = ("task", "net", "prepare", "range", "loss", "samples", "method")
"""What must be the same in all parts of a run."""

TRAINED = tuple(
    f"train.{name}"
    for name in (
        "batch_size",
        "learning_rate",
        "betas",
        "samples_per_epoch",
        "seed",
        "channels_last",
        "precision",
        "schedule",
        "average",
    )
)
"""What of `train` must be the same in all parts of a run (a checkpoint's learning rate and betas would win over others,
and the run's record tell those others), and in two runs, so that they share a stage to the bit."""

STAGE_NAME = re.compile(r"stage-(\d+)\.ckpt")


def check_run(recipe: Recipe, prepared: PreparedCohort, out: Path, resume: bool) -> None:
    """Refuse to overwrite a run, and to resume another one or one of other data."""
    run = Run(out)
    if not resume and (run.model.exists() or run.last_state.exists()):
        raise ModelError(
            f"{out} holds a run already.", do="go on with it by --resume, or name another folder with --out"
        )
    if resume and run.recipe.exists():
        before = load_recipe(str(run.recipe))
        if (section := _differing(before, recipe, [*SECTIONS, "train.stages", *TRAINED])) is not None:
            raise RecipeError(
                f"{out} was trained with another `{section}`; it cannot be resumed with this recipe.",
                found=_setting(before, section),
                expected=_setting(recipe, section),
                do="resume with the recipe it was started with, or start a new run",
            )
    if resume and run.record.exists():
        began_on = RunRecord.read(run.record).began.data_fingerprint
        if began_on != prepared.fingerprint:
            raise CohortError(
                f"{out} began on other prepared data; it cannot be resumed with {prepared.folder}.",
                found=f"data fingerprint {prepared.fingerprint}",
                expected=began_on,
                do="resume with the cohort (and the splits) it began on, or start a new run",
            )


def check_start(recipe: Recipe, prepared: PreparedCohort, start: Path) -> None:
    """Raise ModelError unless start is a stage-<k>.ckpt of a run that did until then what this one would do."""
    run, number = Run(start.resolve().parent.parent), STAGE_NAME.fullmatch(start.name)
    if number is None or not start.is_file() or not run.recipe.is_file():
        raise ModelError(
            f"{start} is not the end of a stage.",
            found="no such file in a run folder",
            expected="RUN/checkpoints/stage-0.ckpt of a run that was trained in stages",
        )
    before = load_recipe(str(run.recipe))
    section = _differing(before, recipe, [*SECTIONS, *TRAINED])
    stage = int(number[1])
    ours, theirs = (list(stages_in_order(r.train).values()) for r in (recipe, before))
    if section is None and (ours[:stage] != theirs[:stage] or not _begin_together(ours, theirs, stage)):
        section = "train.stages"
    if section is not None:
        raise ModelError(
            f"{run.folder} was trained with another `{section}` up to {start.name}; this run cannot begin from it.",
            found=_setting(before, section),
            expected=_setting(recipe, section),
            do="train this run whole",
        )
    began_on = RunRecord.read(run.record).began.data_fingerprint
    if began_on != prepared.fingerprint:
        raise ModelError(
            f"{run.folder} was trained on other prepared data; this run cannot begin from it.",
            found=f"data fingerprint {began_on}",
            expected=prepared.fingerprint,
            do="train this run whole",
        )


def _begin_together(ours: Sequence[StageSettings], theirs: Sequence[StageSettings], stage: int) -> bool:
    """Return whether the stage after the common ones begins in the same epoch of both runs."""
    return len(ours) > stage < len(theirs) and ours[stage].from_epoch == theirs[stage].from_epoch


def _setting(recipe: Recipe, dotted: str) -> Any:
    """Return a section or a setting of a recipe, e.g. `net` or `train.stages`."""
    found: Any = recipe
    for part in dotted.split("."):
        found = getattr(found, part)
    return found


def _differing(before: Recipe, recipe: Recipe, sections: Sequence[str]) -> str | None:
    """Return the first of the sections in which two recipes differ."""
    return next((name for name in sections if _setting(before, name) != _setting(recipe, name)), None)


def check_prepared(recipe: Recipe, prepared: PreparedCohort) -> None:
    """Raise where the prepared cohort is not what the recipe asks for."""
    if complete_steps(prepared.asked) != recipe.prepare:
        raise RecipeError(
            f"The cohort in {prepared.folder} was prepared by other steps than recipe {recipe.name} has.",
            found=prepared.asked,
            expected=recipe.prepare,
            do="prepare it with this recipe (and the same variants and --set), into another folder",
        )
    for name in [*recipe.task.inputs, recipe.task.target]:
        if name not in prepared.contrasts:
            raise CohortError(
                f"The cohort in {prepared.folder} has no {name}.", found=prepared.contrasts, do="prepare it again"
            )
    if stale := prepared.stale():
        raise CohortError(
            f"The cohort in {prepared.folder} is stale: {len(stale)} of {len(prepared.rows)} cases have changed.",
            found="\n".join(f"{case}: {why}" for case, why in stale[:5]),
            do="run mrsynth prepare again; only the changed cases are redone",
        )
    if damaged := prepared.damaged():
        raise CohortError(
            f"The cohort in {prepared.folder} is damaged: {len(damaged)} of {len(prepared.rows)} cases.",
            found="\n".join(f"{case}: {why}" for case, why in damaged[:5]),
            do="run mrsynth prepare again; only the damaged cases are redone",
        )
