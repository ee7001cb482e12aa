"""Supervised training of one network with one loss; modality dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from mrsynth.io import PreparedCohort
from mrsynth.losses import build_loss
from mrsynth.losses.pixel import Loss
from mrsynth.losses.term import FeatureSource
from mrsynth.nets import Network
from mrsynth.recipes.methods import SupervisedSettings
from mrsynth.recipes.sections import TrainSettings
from mrsynth.train.method import Method
from mrsynth.train.module import TrainingModule, channels_last, check_finite, weights_channels_last


@dataclass(frozen=True)
class ModalityDropout:
    """What a network sees of its inputs.

    Attributes:
        drop: probability p with which each input of a sample is left out, independently. Where that leaves none of n,
            one is chosen to stay, each equally likely: an input is there with probability 1 − p + pⁿ/n, all of them
            with (1 − p)ⁿ.
        flags: after each image comes a channel that is 1 where the input is there, 0 where it is not.
        absent: the value of an input that is not there, that of the background.
    """

    drop: float
    flags: bool
    absent: float

    def draw(self, samples: int, inputs: int, seed: int) -> Tensor:
        """Return which inputs are there: (samples, inputs), bool, at least one in each row; on the CPU.

        Args:
            samples: of the batch.
            inputs: of a sample.
            seed: of the draw.
        """
        random = torch.Generator().manual_seed(seed)
        there = torch.rand((samples, inputs), generator=random) >= self.drop
        stays = torch.randint(inputs, (samples,), generator=random)
        there[torch.arange(samples), stays] |= ~there.any(dim=1)
        return there

    def seen(self, images: Tensor, there: Tensor | None = None) -> Tensor:
        """Return what the network gets of the images, with flags a channel after each of them.

        Args:
            images: (b, n, *space).
            there: (b, n), bool; None where all of them are.

        Returns:
            (b, n, *space), or with flags (b, 2n, *space): image, flag, image, flag, …
        """
        if there is None:
            there = torch.ones(images.shape[:2], dtype=torch.bool)
        mask = there.to(images.device).reshape(*images.shape[:2], *[1] * (images.dim() - 2))
        kept = torch.where(mask, images, self.absent)
        if not self.flags:
            return kept
        return torch.stack([kept, mask.to(images.dtype).expand_as(images)], dim=2).flatten(1, 2)


class Supervised(TrainingModule):
    """Adam on loss(net(what it sees of inputs), target, inputs); validated with all inputs.

    Dropout of either kind is drawn from (seed, epoch, batch, rank), whatever was drawn before: a resumed run continues
    to the bit.

    Args:
        net: the network.
        loss: of prediction, target and inputs.
        settings: the recipe's section `train`.
        missing: which inputs the network is denied in training; the loss gets them all.
        neighbours: slices on each side among the inputs; the loss gets the middle slice of each contrast.
    """

    def __init__(
        self,
        net: Network,
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

    def loss_of(self, batch: tuple[Tensor, Tensor], there: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            batch: inputs (b, c · (2n + 1), *space) of n neighbours, and target (b, 1, *space).
            there: which inputs the network sees, (b, c) bool; None for all.
        """
        inputs, target = batch
        seen = inputs if self.missing is None else self.missing.seen(inputs, there)
        prediction = self.net(channels_last(seen) if self.settings.channels_last else seen)
        return self.loss(prediction, target, self.middle(inputs))

    def middle(self, inputs: Tensor) -> Tensor:
        """Return the middle slice of each contrast, (b, c, x, y), of inputs (b, c · (2n + 1), x, y)."""
        return inputs[:, self.neighbours :: 2 * self.neighbours + 1]

    @override
    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Return the loss of a batch: inputs (b, c · (2n + 1), *space) of n neighbours, and target (b, 1, *space)."""
        torch.manual_seed(self.seed_of("batch", index))
        samples, inputs = batch[0].shape[:2]
        there = None if self.missing is None else self.missing.draw(samples, inputs, self.seed_of("missing", index))
        value = self.loss_of(self.augmented(*batch, index), there)
        check_finite({"train_loss": value}, self.current_epoch)
        self.log("train_loss", value, on_step=False, on_epoch=True, prog_bar=True, batch_size=samples, sync_dist=True)
        return value

    @override
    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Log the validation loss, averaged over all ranks."""
        value = self.loss_of(batch)
        check_finite({"val_loss": value}, self.current_epoch)
        self.log("val_loss", value, on_epoch=True, prog_bar=True, batch_size=len(batch[0]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        """Adam with the recipe's learning rate and betas."""
        return torch.optim.Adam(self.net.parameters(), lr=self.settings.learning_rate, betas=self.settings.betas)


class SupervisedMethod(Method[SupervisedSettings]):
    """Slices or boxes, one network, one loss; with modality dropout where the recipe asks for it."""

    @override
    def module(self, features: FeatureSource | None = None) -> Supervised:
        """Return the network with its loss."""
        recipe, missing = self.recipe, self.settings.missing
        loss = build_loss(recipe.loss, recipe.task.inputs, features)
        dropout = ModalityDropout(missing.drop, missing.flags, recipe.range[0]) if missing is not None else None
        net = self.drawn(recipe.net, "weights")
        return Supervised(net, loss, recipe.train, dropout, recipe.samples.neighbours)

    def contract(self, prepared: PreparedCohort) -> dict[str, Any]:
        """Return whether the network is told which inputs are there."""
        missing = self.settings.missing
        return super().contract(prepared) | {"flags": missing is not None and missing.flags}

    def note(self) -> str:
        """Return that inputs may be missing."""
        return ", of which any but one may be missing" if self.settings.missing is not None else ""
