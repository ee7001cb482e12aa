"""How a training begins: what its folder holds then, and which weights it takes from another run."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mrsynth.core.errors import ModelError
from mrsynth.core.files import atomic_file
from mrsynth.core.ownership import Test, holds_only, is_record, remove_own, replace_keeping, require_ours
from mrsynth.io import PreparedCohort
from mrsynth.io.run import Began, Run, RunRecord
from mrsynth.model import load_contract
from mrsynth.recipes.recipe import Recipe, dump_recipe
from mrsynth.train.history import read_history


@dataclass(frozen=True)
class Beginning:
    """Where a training begins.

    Attributes:
        resume: go on from the folder's latest checkpoint.
        start: another run's checkpoints/stage-<k>.ckpt, up to which this one would do the same.
        weights_from: a run, or a model's folder, whose weights the network begins with (fine-tuning).
        steps_from: the folder of the folds that found how many steps to take: there is no validation split.
    """

    resume: bool = False
    start: Path | None = None
    weights_from: Path | None = None
    steps_from: Path | None = None

    @property
    def validated(self) -> bool:
        """Say whether there is a validation split."""
        return self.steps_from is None

    @property
    def goes_on(self) -> bool:
        """Say whether there may be a checkpoint to go on from."""
        return self.resume or self.start is not None


STATES = ("last.ckpt", "best.ckpt", "stage-*.ckpt")
"""What lies in checkpoints/."""


def begin(recipe: Recipe, prepared: PreparedCohort, run: Run, beginning: Beginning) -> Began:
    """Leave in a run folder what a resumed run must find.

    Args:
        recipe: the recipe.
        prepared: the cohort.
        run: the folder.
        beginning: where the training begins.

    Returns:
        How it began: now, or before where it is resumed.

    Raises:
        OutputError: where nothing can be written.
    """
    require_own_run(run, beginning.resume)
    read_history(run.history)  # a damaged one is told now, and not after the first epoch
    if not beginning.resume:
        remove_own(run.checkpoints, *STATES)
    start = beginning.start
    resumed = RunRecord.read(run.record).began if beginning.resume and run.record.exists() else None
    began = resumed or Began(
        data_fingerprint=str(prepared.fingerprint),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        start=f"{start.resolve().parent.parent.name}/{start.name}" if start else None,
        weights_from=named_weights(beginning.weights_from),
        steps_from=beginning.steps_from.resolve().name if beginning.steps_from else None,
    )
    if resumed is None:
        RunRecord(began=began).write(run.record)  # first of all: by this the folder is known as a run
    text = dump_recipe(recipe)
    replace_keeping(run.recipe, lambda path: path.write_text(text, encoding="utf-8", newline=""))
    if start is not None:  # as if the run had trained it; `fit` goes on from it where there is nothing later
        with atomic_file(run.checkpoints / start.name) as temporary:
            shutil.copyfile(start, temporary)
    return began


def require_own_run(run: Run, resume: bool) -> None:
    """Raise OutputError where a training would write over, or delete, what no training left in its folder.

    Args:
        run: the folder.
        resume: whether it goes on with what is there.
    """
    ours = resume or is_record("run", keys=frozenset({"data_fingerprint"}))(run.record)
    own: dict[str, Test] = {run.checkpoints.name: holds_only(*STATES)}
    own |= {folder.name: (lambda _: ours) for folder in (run.log, run.model, run.features)}
    own |= {file.name: (lambda _: ours) for file in (run.record, run.recipe, run.baselines)}
    require_ours(run.folder, own, "name another folder with --out")


def named_weights(run: Path | None) -> str | None:
    """Return a run's name with the first digits of its weights' SHA-256, None for none."""
    return None if run is None else f"{run.resolve().name} ({load_contract(run).weights_sha256[:12]})"


def check_weights(recipe: Recipe, run: Path) -> None:
    """Check that the network of a recipe can begin with the weights of another run.

    Args:
        recipe: the recipe.
        run: the other run's folder, or that of its model.

    Raises:
        ModelError: where there is no model, or its network is another.
    """
    contract = load_contract(run)
    # Through JSON: there, tuples are lists.
    ours = (recipe.net.name, json.loads(json.dumps(recipe.net.settings)))
    theirs = (contract.net, json.loads(json.dumps(contract.net_settings)))
    if ours != theirs:
        raise ModelError(
            f"{run} holds another network; this run cannot begin with its weights.",
            found=f"{theirs[0]} {theirs[1]}",
            expected=f"{ours[0]} {ours[1]}",
            do="train the recipe of that run (its recipe.yaml), or set net.settings to those found",
        )
