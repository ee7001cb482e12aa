"""Supervised training of one network with one loss, as a Lightning module."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from mrsynth.core.seeds import derive_seed
from mrsynth.losses.pixel import Loss
from mrsynth.recipes.sections import TrainSettings
from mrsynth.train.finite import check_finite
from mrsynth.train.layout import channels_last, weights_channels_last
from mrsynth.train.missing import ModalityDropout


class Supervised(L.LightningModule):
    """Adam on loss(net(what it sees of inputs), target, inputs); validated with all inputs.

    missing: which inputs the network is denied in training; the loss gets them all. neighbours: slices on each side
    among the inputs; the loss gets the middle slice of each contrast. Dropout of either kind is drawn
    from (seed, epoch, batch, rank), whatever was drawn before: a resumed run continues to the bit.
    """

    def __init__(
        self,
        net: nn.Module,
        loss: Loss,
        settings: TrainSettings,
        missing: ModalityDropout | None = None,
        neighbours: int = 0,
    ) -> None:
        super().__init__()
        self.net, self.loss, self.settings, self.missing = net, loss, settings, missing
        self.neighbours = neighbours
        if settings.channels_last:
            weights_channels_last(self.net)

    def _loss(self, batch: tuple[Tensor, Tensor], there: Tensor | None = None) -> Tensor:
        inputs, target = batch
        seen = inputs if self.missing is None else self.missing.seen(inputs, there)
        prediction = self.net(channels_last(seen) if self.settings.channels_last else seen)
        return self.loss(prediction, target, self._middle(inputs))

    def _middle(self, inputs: Tensor) -> Tensor:
        """Return the middle slice of each contrast, (b, c, x, y), of inputs (b, c · (2n + 1), x, y)."""
        return inputs[:, self.neighbours :: 2 * self.neighbours + 1]

    def _seed(self, purpose: str, index: int) -> int:
        return derive_seed(self.settings.seed, purpose, self.current_epoch, index, self.global_rank)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Return the loss of a batch; raises MrsynthError where it is not finite."""
        torch.manual_seed(self._seed("batch", index))
        samples, inputs = batch[0].shape[:2]
        there = None if self.missing is None else self.missing.draw(samples, inputs, self._seed("missing", index))
        value = self._loss(batch, there)
        check_finite({"train_loss": value}, self.current_epoch)
        self.log("train_loss", value, on_step=False, on_epoch=True, prog_bar=True, batch_size=samples, sync_dist=True)
        return value

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Log the validation loss, averaged over all ranks; raises MrsynthError where it is not finite."""
        value = self._loss(batch)
        check_finite({"val_loss": value}, self.current_epoch)
        self.log("val_loss", value, on_epoch=True, prog_bar=True, batch_size=len(batch[0]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Adam with the recipe's learning rate and betas."""
        return torch.optim.Adam(self.net.parameters(), lr=self.settings.learning_rate, betas=self.settings.betas)
