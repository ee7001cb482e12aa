"""What `mrsynth train` refuses: to overwrite a run, to go on with another one, to train on data of another kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mrsynth.core.errors import CohortError, ModelError, RecipeError
from mrsynth.io import PreparedCohort
from mrsynth.io.run import Run, RunRecord
from mrsynth.nets import build_net, sketch
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.recipes.sections import NetSettings, StageSettings, stages_in_order
from mrsynth.steps import complete_steps
from mrsynth.train.history import read_history
from mrsynth.train.loader import Samples
from mrsynth.train.machine import settled
from mrsynth.train.method import Method

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
        "validation",
    )
)
"""What of `train` must be the same in all parts of a run (a checkpoint's learning rate and betas would win over others,
and the run's record tell those others), and in two runs, so that they share a stage to the bit."""

STAGE_NAME = re.compile(r"stage-(\d+)\.ckpt")


def check_run(recipe: Recipe, prepared: PreparedCohort, run: Run, resume: bool) -> Recipe:
    """Refuse to overwrite a run, and to resume another one, one of other data, or one that has gone further already.

    Args:
        recipe: what is asked for.
        prepared: the cohort.
        run: the folder.
        resume: whether to go on with what is in it.

    Returns:
        The recipe with its precision decided: that of the run that is resumed, or what this machine computes in.

    Raises:
        ModelError: the folder holds a run, and it is not resumed.
        RecipeError: the run was trained with other settings, or for more epochs than are asked for.
        CohortError: it began on other data.
    """
    out = run.folder
    before = load_recipe(str(run.recipe)) if resume and run.recipe.exists() else None
    recipe = settled(recipe, before)
    if not resume and (run.model.exists() or run.last_state.exists()):
        raise ModelError(
            f"{out} holds a run already.", do="go on with it by --resume, or name another folder with --out"
        )
    everything = [*SECTIONS, "train.stages", *TRAINED]
    if before is not None and (section := differing(before, recipe, everything)) is not None:
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
    done = [int(row["epoch"]) + 1 for row in read_history(run.history)] if resume else []
    if done and done[-1] > recipe.train.epochs:
        raise RecipeError(
            f"{out} was trained for more epochs than are asked for now.",
            found=f"{done[-1]} epochs done",
            expected=f"at most {recipe.train.epochs} (train.epochs)",
            do=f"--set train.epochs={done[-1]} or more, or start a new run",
        )
    if done and before is not None and recipe.train.schedule is not None and recipe.train.epochs != before.train.epochs:
        raise RecipeError(
            f"{out} was trained with a learning rate that follows train.epochs; it cannot be resumed with others.",
            found=recipe.train.epochs,
            expected=before.train.epochs,
            do=f"--set train.epochs={before.train.epochs}, or begin a new run with its weights: mrsynth train --from",
        )
    return recipe


def check_start(recipe: Recipe, prepared: PreparedCohort, start: Path) -> None:
    """Check that a run can begin from the end of another run's stage: both did, or would do, the same until then.

    Args:
        recipe: of the run that is to begin.
        prepared: its cohort.
        start: RUN/checkpoints/stage-<k>.ckpt of the other run.

    Raises:
        ModelError: it is no such file, or recipe, stages or data differ.
    """
    run, number = Run(start.resolve().parent.parent), STAGE_NAME.fullmatch(start.name)
    if number is None or not start.is_file() or not run.recipe.is_file():
        raise ModelError(
            f"{start} is not the end of a stage.",
            found="no such file in a run folder",
            expected="RUN/checkpoints/stage-0.ckpt of a run that was trained in stages",
        )
    before = load_recipe(str(run.recipe))
    section = differing(before, recipe, [*SECTIONS, *TRAINED])
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


def differing(before: Recipe, recipe: Recipe, sections: Sequence[str]) -> str | None:
    """Return the first of the sections in which two recipes differ.

    Args:
        before: one recipe.
        recipe: the other.
        sections: dotted names.
    """
    return next((name for name in sections if _setting(before, name) != _setting(recipe, name)), None)


def check_samples(method: Method[Any], samples: Samples) -> None:
    """Check, by shapes alone, that the network takes the samples.

    Args:
        method: the recipe's way of training.
        samples: those of the training split.

    Raises:
        RecipeError: the slices or boxes are too small, or of a size that the network cannot scale.
    """
    net, size = method.recipe.net, samples.sample_shape
    batch = min(method.recipe.train.batch_size, max(len(samples), 1))
    try:
        with torch.device("meta"):
            inputs = torch.zeros((max(batch, 2), size[0] - 1, *size[1:]))
            method.try_shapes(build_net(net.name, **net.settings), inputs)
    except NotImplementedError:  # an operation that has no shapes without values
        return
    except (RuntimeError, ValueError) as error:
        raise RecipeError(
            f"The network {net.name} cannot take samples of this size.",
            found=f"{'×'.join(map(str, size[1:]))} voxels: {str(error).splitlines()[0][:200]}",
            expected=f"sizes that its levels can halve (stride {net_stride(net)})",
            do="let `prepare` end with another size (resize, pad_or_crop), set another samples.patch.size, or take a "
            "network of fewer levels",
        ) from error


def net_stride(net: NetSettings) -> Any:
    """Return the stride of a network of these settings."""
    return sketch(net.name, **net.settings).stride


def check_prepared(recipe: Recipe, prepared: PreparedCohort) -> None:
    """Raise where the prepared cohort is not what the recipe asks for.

    Args:
        recipe: what is asked for.
        prepared: the cohort.
    """
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
