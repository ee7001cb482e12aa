"""What a user sees of a training: a bar over the whole of it on a terminal, a line an epoch in a log."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from typing_extensions import override

from mrsynth.core.progress import CONSOLE


class TrainingProgress(L.Callback):
    """Shows epoch, losses and the time that the whole training would still take, were no patience to end it."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.task: Any = None
        self.began, self.first_epoch, self.epoch_began = time.monotonic(), 0, time.monotonic()

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count; epochs that were trained before a resume took no time of this one."""
        self.began, self.first_epoch = time.monotonic(), trainer.current_epoch
        if CONSOLE.is_terminal and trainer.is_global_zero:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[now]}"),
            )
            self.bar = Progress(*columns, console=CONSOLE, transient=True)
            total = (trainer.max_epochs or 1) * int(trainer.num_training_batches)
            self.task = self.bar.add_task("training", total=total, now="")
            self.bar.start()

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the epoch's clock."""
        self.epoch_began = time.monotonic()

    @override
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        if self.bar is not None:
            done = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 1
            what = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.bar.update(self.task, completed=done, description=what, now=self._now(trainer, batch_idx + 1))

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's line where there is no terminal."""
        if CONSOLE.is_terminal or not trainer.is_global_zero:
            return
        number = int(trainer.num_training_batches)
        seconds = time.monotonic() - self.epoch_began
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        CONSOLE.print(f"{epoch}: {self._now(trainer, number)}; the epoch took {duration(seconds)}", soft_wrap=True)

    @override
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the bar away."""
        self._stop()

    @override
    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Take the bar away before the error is said."""
        self._stop()

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _now(self, trainer: L.Trainer, batches: int) -> str:
        """Return the losses and the time left, after some batches of the epoch."""
        whole = int(trainer.num_training_batches)
        done = (trainer.current_epoch - self.first_epoch) * whole + batches
        rest = (trainer.max_epochs or 1) * whole - trainer.current_epoch * whole - batches
        left = (time.monotonic() - self.began) / max(done, 1) * rest
        losses = [
            f"{name} loss {float(trainer.callback_metrics[key]):.4g}"
            for name, key in (("training", "train_loss"), ("validation", "val_loss"))
            if key in trainer.callback_metrics
        ]
        return ", ".join([*losses, f"about {duration(left)} left"])


def duration(seconds: float) -> str:
    """Return a time in the two largest units that it has: 45 s, 12 min, 3 h 20 min, 2 d 5 h."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
