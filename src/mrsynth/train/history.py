"""The learning curve of a run as a CSV: one row an epoch, rewritten whole so that a resumed run has no double rows.

A run that began from another run's checkpoint has the rows from then on.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
from typing_extensions import override

from mrsynth.core.errors import ModelError
from mrsynth.core.files import atomic_file
from mrsynth.train.stages import Stage, stage_of

LOGGED_BY_SOME = ("critic_loss", "critic_gap", "game_loss", "penalty", "gradient_norm")
"""Further columns where the module logs them: adversarial training."""


def read_history(path: Path) -> list[dict[str, float]]:
    """Return the rows of a history file, none where it does not exist.

    Args:
        path: of the CSV.

    Raises:
        ModelError: the file is damaged.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file, strict=True)]
        if not all({"epoch", "stage"} <= set(row) for row in rows):
            raise ValueError("no epoch or no stage")
    except (ValueError, TypeError, csv.Error) as error:
        raise ModelError(
            f"{path} is damaged.", found=str(error)[:200], do="remove it: the training goes on, its curves begin anew"
        ) from error
    return rows


class History(L.Callback):
    """Writes log/history.csv after each epoch.

    Args:
        path: of the CSV.
        stages: those after the first. A row tells its stage, 0 for the first: losses of two stages cannot be compared.
    """

    def __init__(self, path: Path, stages: Sequence[Stage] = ()) -> None:
        self.path, self.stages = path, stages
        self.started = time.monotonic()

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the epoch's clock."""
        self.started = time.monotonic()

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's row, dropping rows of this and later epochs that an interrupted run left."""
        if not trainer.is_global_zero:
            return
        found: dict[str, Any] = trainer.callback_metrics
        row = {
            "epoch": trainer.current_epoch,
            "stage": stage_of(trainer.current_epoch, self.stages),
            "train_loss": float(found["train_loss"]),
            "val_loss": float(found.get("val_loss", "nan")),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": time.monotonic() - self.started,
            **{name: float(found[name]) for name in LOGGED_BY_SOME if name in found},
        }
        rows = [old for old in read_history(self.path) if old["epoch"] < row["epoch"]] + [row]
        with atomic_file(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows({**r, "epoch": int(r["epoch"]), "stage": int(r["stage"])} for r in rows)
