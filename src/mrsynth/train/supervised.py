"""Supervised training of one network with one loss, as a Lightning module."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from mrsynth.losses.pixel import Loss
from mrsynth.seeds import derive_seed
from mrsynth.train.settings import TrainSettings


class Supervised(L.LightningModule):
    """Adam on loss(net(inputs), target, inputs).

    Dropout is drawn from (seed, epoch, batch, rank), whatever was drawn before: a resumed run continues to the bit.
    """

    def __init__(self, net: nn.Module, loss: Loss, settings: TrainSettings) -> None:
        super().__init__()
        self.net, self.loss, self.settings = net, loss, settings
        if settings.channels_last:
            self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, target = batch
        if self.settings.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return self.loss(self.net(inputs), target, inputs)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Return the loss of a batch; raises FloatingPointError where it is not finite."""
        torch.manual_seed(derive_seed(self.settings.seed, "batch", self.current_epoch, index, self.global_rank))
        value = self._loss(batch)
        if not torch.isfinite(value):
            raise FloatingPointError(f"the training loss is {float(value)} in epoch {self.current_epoch}")
        self.log(
            "train_loss", value, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(batch[0]), sync_dist=True
        )
        return value

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Log the validation loss, averaged over all ranks."""
        value = self._loss(batch)
        self.log("val_loss", value, on_epoch=True, prog_bar=True, batch_size=len(batch[0]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Adam with the recipe's learning rate and betas."""
        return torch.optim.Adam(self.net.parameters(), lr=self.settings.learning_rate, betas=self.settings.betas)
