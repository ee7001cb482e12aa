"""A run whose model is the one that a cell had at the end of a stage, while it is predicted with and judged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mrsynth.core.errors import ModelError
from mrsynth.io.run import Run, Training
from mrsynth.model import load_contract, save_model
from mrsynth.reproduce.plan import Job
from mrsynth.train.checkpoints import AtomicCheckpoints
from mrsynth.train.fit import kept_weights

FOLDER = "halfway"


@contextmanager
def run_of(job: Job) -> Iterator[Path]:
    """Yield the run that a job predicts with: the cell's, or one with the weights of a stage's end.

    The latter lies in the job's folder and is removed afterwards: the weights are in the cell's checkpoint.

    Args:
        job: the job.

    Raises:
        ModelError: the checkpoint is not there, e.g. because the run was copied without it, or is damaged.
    """
    if job.checkpoint is None:
        yield job.cell.run
        return
    if not job.checkpoint.is_file():
        raise ModelError(
            f"Job {job.label} needs the state at the end of stage {job.settings.stage}, which is not there.",
            found=f"no {job.checkpoint}",
            do=f"copy it from where {job.cell.label} was trained, or remove {job.cell.run} to train it anew",
        )
    cell, run = Run(job.cell.run), Run(job.place / FOLDER)
    contract = load_contract(cell.folder)
    checkpoint = AtomicCheckpoints().load_checkpoint(job.checkpoint)
    training = up_to(contract.training, job.settings.stage or 0)
    last = training.model_copy(update={"epochs": checkpoint["epoch"] + 1, "best_epoch": checkpoint["epoch"]})
    fields = contract.model_dump(mode="json", exclude={"weights_sha256"})
    card = f"{job.cell.name} at the end of stage {job.settings.stage}; the training went on from here.\n"
    run.folder.mkdir(parents=True, exist_ok=True)
    try:
        save_model(run.model, kept_weights(checkpoint), {**fields, "training": last.model_dump(mode="json")}, card)
        for source, copy in ((cell.recipe, run.recipe), (cell.baselines, run.baselines)):
            shutil.copyfile(source, copy)
        yield run.folder
    finally:
        shutil.rmtree(run.folder, ignore_errors=True)


def up_to(training: Training, stages: int) -> Training:
    """Return what is known of the first stages of a training alone.

    Args:
        training: the whole of it.
        stages: how many.
    """
    return training.model_copy(update={"convergence": [one for one in training.convergence if one.stage < stages]})
