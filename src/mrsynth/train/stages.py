"""Training in stages: at an epoch the learning rate and the losses change, the optimisers' state is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping
from typing_extensions import override

from mrsynth.losses import build_loss
from mrsynth.losses.pixel import Loss
from mrsynth.losses.term import FeatureSource
from mrsynth.recipes.sections import LossTerms, TrainSettings, stage_terms, stages_in_order
from mrsynth.train.checkpoints import BestModel


@dataclass(frozen=True)
class Stage:
    """A stage after the first: what holds from an epoch on.

    Attributes:
        from_epoch: the epoch; the first of a training is 0.
        learning_rate: of all optimisers.
        loss: that the network lowers.
    """

    from_epoch: int
    learning_rate: float
    loss: Loss


def build_stages(
    settings: TrainSettings, terms: LossTerms, inputs: Sequence[str], features: FeatureSource | None = None
) -> list[Stage]:
    """Return the stages after the first, in order.

    Args:
        settings: the recipe's section `train`.
        terms: the recipe's losses.
        inputs: the input contrasts.
        features: networks for the losses; see `build_loss`.

    Raises:
        RecipeError: a stage's epoch or a loss is wrong.
    """
    return [
        Stage(stage.from_epoch, stage.learning_rate, build_loss(stage_terms(terms, stage.loss), inputs, features))
        for stage in stages_in_order(settings).values()
    ]


def stage_of(epoch: int, stages: Sequence[Stage]) -> int:
    """Return the number of the stage that an epoch belongs to, 0 for the one before all of `stages`.

    Args:
        epoch: the first is 0.
        stages: those after the first.
    """
    return sum(epoch >= stage.from_epoch for stage in stages)


class Stages(L.Callback):
    """Begins each stage, and keeps the state with which it begins as stage-<k>.ckpt, k the stage that ends there.

    Everything is set anew in each epoch, so that a resumed run needs no memory of the stage it was in. A stage begins
    with no best model yet. From stage-<k>.ckpt another run with the same first stages can go on.
    """

    def __init__(self, stages: Sequence[Stage], best: BestModel | None, folder: Path) -> None:
        self.stages, self.best, self.folder = stages, best, folder

    @override
    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set the losses, for training and validation, and the learning rate of all optimisers."""
        number = stage_of(trainer.current_epoch, self.stages)
        if number == 0:
            return
        stage = self.stages[number - 1]
        pl_module.loss = stage.loss
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = stage.learning_rate
        if trainer.current_epoch == stage.from_epoch and self.best is not None:
            self.best.begin_anew()

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the state at the end of a stage that another one follows."""
        following = trainer.current_epoch + 1
        if any(stage.from_epoch == following for stage in self.stages):
            number = stage_of(trainer.current_epoch, self.stages)
            trainer.save_checkpoint(self.folder / f"stage-{number}.ckpt")


class Patience(EarlyStopping):
    """Stops the training after `patience` epochs without a better validation loss, counted in the last stage alone: the
    others end at their epoch, whatever the loss does."""

    def __init__(self, patience: int, first_epoch: int) -> None:
        super().__init__("val_loss", patience=patience)
        self.first_epoch = first_epoch

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the count of a resumed run; the patience is this run's own, which may have been raised."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop a resumed run that had been stopped already."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience

    @override
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the epoch's validation loss, from the last stage's first epoch on."""
        if trainer.current_epoch >= self.first_epoch:
            super().on_train_epoch_end(trainer, pl_module)
