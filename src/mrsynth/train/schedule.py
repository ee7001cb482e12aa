"""The learning rate over the steps of a training: warm-up, then constant or falling with a cosine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning as L
from typing_extensions import override

from mrsynth.recipes.sections import ScheduleSettings, TrainSettings
from mrsynth.train.stages import Stage, stage_of


def rate_factor(settings: ScheduleSettings, step: int, stage_step: int, stage_steps: int) -> float:
    """Return by what the learning rate is multiplied at a step.

    Args:
        settings: the recipe's schedule.
        step: of the whole training, the first is 0.
        stage_step: of the stage.
        stage_steps: how many the stage has.
    """
    rise = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    if settings.shape == "constant":
        return rise
    before = settings.warmup_steps if step == stage_step else 0  # the fall begins where the warm-up ends
    done = min(max(stage_step - before, 0) / max(stage_steps - before, 1), 1.0)
    return rise * (settings.final + (1 - settings.final) * (1 + math.cos(math.pi * done)) / 2)


class Schedule(L.Callback):
    """Sets the learning rate of all optimisers at each batch, from its number alone, so that a resumed run needs no
    memory of it.

    Args:
        settings: the recipe's section `train`, with a schedule.
        stages: those after the first, whose learning rate holds for all optimisers.
    """

    def __init__(self, settings: TrainSettings, stages: Sequence[Stage]) -> None:
        self.schedule, self.epochs, self.stages = settings.schedule or ScheduleSettings(), settings.epochs, stages

    @override
    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Set the learning rates of this batch."""
        batches, epoch = int(trainer.num_training_batches), trainer.current_epoch
        number = stage_of(epoch, self.stages)
        first = self.stages[number - 1].from_epoch if number else 0
        end = self.stages[number].from_epoch if number < len(self.stages) else self.epochs
        factor = rate_factor(
            self.schedule, epoch * batches + batch_idx, (epoch - first) * batches + batch_idx, (end - first) * batches
        )
        rates = pl_module.rates if number == 0 else [self.stages[number - 1].learning_rate] * len(trainer.optimizers)
        for optimizer, rate in zip(trainer.optimizers, rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
