"""mrsynth train --folds K: cross-validation by patient, one run a fold, and their networks as one model."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from mrsynth.core.errors import CohortError
from mrsynth.core.files import write_text
from mrsynth.core.locks import is_helper, one_writer
from mrsynth.core.seeds import generator
from mrsynth.io import PreparedCohort
from mrsynth.io.run import Began, Run, RunRecord, Training
from mrsynth.model import Contract, load_weights, save_model
from mrsynth.nets import Ensemble, build_net, count_parameters
from mrsynth.recipes.recipe import Recipe, dump_recipe
from mrsynth.train.record import card, contract_of, scans_seen
from mrsynth.train.rivals import write_baselines
from mrsynth.train.run import train

HELD_OUT = {True: 2, False: 1}
"""Whether there is a validation split → how many folds do not train."""


def fold_splits(patients: Sequence[str], folds: int, seed: int, validate: bool = True) -> list[dict[str, str]]:
    """Return patient → split for each fold.

    Every patient is in the test split of exactly one fold; the next fold's patients choose the epoch (val), where there
    is validation, all others train. Folds differ by at most one patient.

    Args:
        patients: all of them.
        folds: how many.
        seed: of the order in which they are dealt.
        validate: whether there is a validation split.

    Raises:
        CohortError: for fewer than 3 folds (2 without validation: each split needs one) or fewer patients than folds.
    """
    least = HELD_OUT[validate] + 1
    if not least <= folds <= len(patients):
        chooses = "one chooses the epoch, " if validate else ""
        raise CohortError(
            f"{len(patients)} patients cannot be put into {folds} folds.",
            expected=f"from {least} folds (one tests, {chooses}the others train) to one a patient",
        )
    order = generator(seed, "folds").permutation(sorted(patients))
    fold_of = {str(patient): number % folds for number, patient in enumerate(order)}
    names = {0: "test", 1: "val"} if validate else {0: "test"}
    return [{p: names.get((f - fold) % folds, "train") for p, f in fold_of.items()} for fold in range(folds)]


def split_folds(recipe: Recipe, prepared: PreparedCohort, folds: int) -> list[dict[str, str]]:
    """Return patient → split for each fold of a prepared cohort, dealt by the recipe's seed.

    Args:
        recipe: gives the seed.
        prepared: the cohort.
        folds: how many.

    Raises:
        CohortError: as `fold_splits` does, and where a step has learned from the training split: its patients are
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
    return fold_splits(prepared.patients(), folds, recipe.train.seed, recipe.train.validation)


@one_writer("train", unless=is_helper)
def train_folds(
    recipe: Recipe,
    prepared: PreparedCohort,
    out: Path,
    folds: int,
    *,
    resume: bool = False,
    weights_from: Path | None = None,
) -> list[Contract]:
    """Train one model a fold into out/fold-1 … out/fold-K, and leave all of them as one model in out.

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
    runs = [out / f"fold-{number}" for number in range(1, folds + 1)]
    contracts = [
        train(recipe, prepared.with_splits(splits), run, resume=resume, weights_from=weights_from)
        for run, splits in zip(runs, split_folds(recipe, prepared, folds), strict=True)
    ]
    join_folds(recipe, everyone_trains(prepared), Run(out), dict(zip(runs, contracts, strict=True)))
    return contracts


def everyone_trains(prepared: PreparedCohort) -> PreparedCohort:
    """Return a cohort all of whose patients are in the training split."""
    return prepared.with_splits(dict.fromkeys(prepared.patients(), "train"))


def join_folds(recipe: Recipe, everyone: PreparedCohort, out: Run, members: dict[Path, Contract]) -> Contract:
    """Leave the networks of several runs as one model, whose image is the mean of theirs.

    It has seen every patient, so none of the cohort is judged with it: the folds' own test patients are.

    Args:
        recipe: the recipe of all of them.
        everyone: the cohort, all of it in the training split.
        out: the run folder of the model.
        members: run → its contract.

    Returns:
        The model's contract.
    """
    nets = []
    for run, contract in members.items():
        nets.append(build_net(contract.net, **contract.net_settings))
        load_weights(run, contract, nets[-1])
    net = Ensemble(nets)
    first = next(iter(members.values()))
    began = Began(
        data_fingerprint=str(everyone.fingerprint),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        weights_from=first.began.weights_from,
    )
    training = _joined(everyone, members, count_parameters(net))
    write_text(out.recipe, dump_recipe(recipe))
    write_baselines(recipe, everyone, out.baselines)
    RunRecord(began=began, training=training).write(out.record)
    says = contract_of(recipe, everyone) | {
        "net": "ensemble",
        "net_settings": {"net": first.net, "settings": first.net_settings, "members": len(members)},
        "began": began,
        "training": training,
    }
    return save_model(out.model, net.state_dict(), says, card(recipe, began, training, nets[0]))


def _joined(everyone: PreparedCohort, members: dict[Path, Contract], parameters: int) -> Training:
    """Return the record of a model that was joined of several."""
    trainings = [contract.training for contract in members.values()]
    losses = [one.best_val_loss for one in trainings if one.best_val_loss is not None]
    return trainings[0].model_copy(
        update={
            "n_cases": {"train": len(everyone.cases()), "val": 0, "test": 0},
            "patients": {"train": everyone.patients(), "val": [], "test": []},
            "scans": scans_seen(everyone),
            "epochs": max(one.epochs for one in trainings),
            "best_epoch": sorted(one.best_epoch for one in trainings)[len(trainings) // 2],
            "best_val_loss": sum(losses) / len(losses) if losses else None,
            "parameters": parameters,
            "seconds": round(sum(one.seconds for one in trainings), 1),
            "members": [f"{run.name} ({contract.weights_sha256[:12]})" for run, contract in members.items()],
            "convergence": [],
        }
    )
