"""mrsynth train --folds K: cross-validation by patient, one run a fold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mrsynth.core.errors import CohortError
from mrsynth.core.seeds import generator
from mrsynth.io import PreparedCohort
from mrsynth.model import Contract
from mrsynth.recipes.recipe import Recipe
from mrsynth.train.run import train


def fold_splits(patients: Sequence[str], folds: int, seed: int) -> list[dict[str, str]]:
    """Return patient → split for each fold.

    Every patient is in the test split of exactly one fold; the next fold's patients choose the epoch (val), all others
    train. Seeded; folds differ by at most one patient. Raises CohortError for fewer than 3 folds (train, val and test
    need one each) or fewer patients than folds.
    """
    if not 3 <= folds <= len(patients):
        raise CohortError(
            f"{len(patients)} patients cannot be put into {folds} folds.",
            expected="from 3 folds (one tests, one chooses the epoch, the others train) to one a patient",
        )
    order = generator(seed, "folds").permutation(sorted(patients))
    fold_of = {str(patient): number % folds for number, patient in enumerate(order)}
    names = {0: "test", 1: "val"}
    return [{p: names.get((f - fold) % folds, "train") for p, f in fold_of.items()} for fold in range(folds)]


def train_folds(
    recipe: Recipe,
    prepared: PreparedCohort,
    out: Path,
    folds: int,
    *,
    resume: bool = False,
    weights_from: Path | None = None,
) -> list[Contract]:
    """Train one model a fold into out/fold-1 … out/fold-K.

    Args:
        recipe: the recipe.
        prepared: the cohort; its patients are dealt anew, whatever its splits are.
        out: the folder of the runs.
        folds: how many.
        resume: go on where the folds were stopped; those that are finished are kept.
        weights_from: a run whose weights each fold begins with.

    Returns:
        Each fold's contract.

    Raises:
        CohortError: as `split_folds` does.
    """
    contracts = []
    for number, splits in enumerate(split_folds(recipe, prepared, folds), start=1):
        run = out / f"fold-{number}"
        contracts.append(train(recipe, prepared.with_splits(splits), run, resume=resume, weights_from=weights_from))
    return contracts


def split_folds(recipe: Recipe, prepared: PreparedCohort, folds: int) -> list[dict[str, str]]:
    """Return patient → split for each fold of a prepared cohort, dealt by the recipe's seed.

    Raises CohortError as `fold_splits` does, and where a step has learned from the training split: its patients are
    tested in other folds.
    """
    if learned := [
        name for asked, step in zip(prepared.asked, prepared.steps, strict=True) if asked != step for name in step
    ]:
        raise CohortError(
            f"The cohort in {prepared.folder} cannot be put into folds: its steps learned from one training split.",
            found=", ".join(learned),
            expected="steps that look at one case alone, so that no test patient was seen",
            do="prepare the cohort without them, or with what they learn given in the recipe",
        )
    return fold_splits(prepared.patients(), folds, recipe.train.seed)
