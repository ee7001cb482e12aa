"""The simple rivals that a trained model must beat, fitted on the training split of its prepared cohort."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrsynth.core.image import edges_mm
from mrsynth.core.progress import track
from mrsynth.io import PreparedCohort
from mrsynth.metrics.rivals import RivalCase, RivalFit, save_rivals
from mrsynth.metrics.voxel_table import PointLoss
from mrsynth.recipes.recipe import Recipe
from mrsynth.recipes.sections import stage_terms, stages_in_order


def write_baselines(recipe: Recipe, prepared: PreparedCohort, path: Path) -> None:
    """Fit the rivals on the training split, case by case, and save them beside the model.

    Args:
        recipe: names inputs and target; its last stage's loss is what one of the voxel tables minimises.
        prepared: the cohort that the model was trained on.
        path: RUN/baselines.npz.

    Raises:
        OutputError: where the file cannot be written.
    """
    needed = [*recipe.task.inputs, recipe.task.target]
    cases = [case for case in prepared.cases("train") if not prepared.record(case).lacking(needed)]
    fit = RivalFit(recipe.task.target, len(cases), point_loss(recipe))
    for case in track(cases, "rivals", len(cases)):
        fit.update(_read(prepared, case, recipe))
    save_rivals(fit.finish(), path)


ABSOLUTE, SQUARED = ("mae", "laplace_nll"), ("mse", "bce", "gaussian_nll")
"""Losses whose least value one voxel has at the median, and at the mean."""


def point_loss(recipe: Recipe) -> PointLoss | None:
    """Return the part of the recipe's loss, in its last stage, that a predictor of one voxel can minimise.

    Squared and cross-entropy errors and Gaussian likelihoods ask for the mean, absolute errors and Laplacian ones for
    the median; `enhancement_mae` weighs the voxels that enhance. None where the loss compares neighbourhoods or
    features alone.
    """
    terms: Mapping[str, Any] = stage_terms(recipe.loss, {})
    for stage in stages_in_order(recipe.train).values():
        terms = stage_terms(recipe.loss, stage.loss)
    weight = {name: float(spec["weight"]) for name, spec in terms.items()}
    absolute, squared = (sum(weight.get(name, 0.0) for name in kind) for kind in (ABSOLUTE, SQUARED))
    local = weight.get("enhancement_mae", 0.0)
    if local > 0 and "t1" in recipe.task.inputs:
        everywhere = absolute or squared
        if everywhere == 0:
            return None
        delta = float(terms["enhancement_mae"].get("delta", 0.1))
        return PointLoss(kind="absolute" if absolute else "squared", local=local / everywhere, delta=delta)
    if absolute == squared == 0:
        return None
    return PointLoss(kind="absolute" if absolute else "squared")


def _read(prepared: PreparedCohort, case: str, recipe: Recipe) -> RivalCase:
    """Return a prepared case as the rivals see it."""
    record = prepared.record(case)
    known, geometry = record.metadata, record.grid
    dose, b0_tesla = (known.get(name) for name in ("dose", "b0_tesla"))
    return RivalCase(
        {name: prepared.array(case, name) for name in recipe.task.inputs},
        prepared.array(case, "brain") > 0,
        edges_mm(geometry.affine),
        prepared.array(case, recipe.task.target),
        float(dose) if isinstance(dose, int | float) else None,
        float(b0_tesla) if isinstance(b0_tesla, int | float) else None,
    )
