"""What every module of training shares: network, settings, seeds, augmentation, and how a step is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping

import lightning as L
import torch
from torch import Tensor, nn

from mrsynth.core.errors import MrsynthError
from mrsynth.core.seeds import derive_seed
from mrsynth.nets import Network
from mrsynth.recipes.sections import TrainSettings
from mrsynth.train.augment import Augmentation

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""By the number of axes, batch and channels among them."""


class TrainingModule(L.LightningModule):
    """A network and what trains it. All that is random follows from (seed, epoch, batch, rank).

    Attributes:
        net: the network; its weights become the model's.
        settings: the recipe's section `train`.
        augmentation: what is changed in training samples, None for nothing; `fit`'s caller sets it.
    """

    net: Network
    settings: TrainSettings
    augmentation: Augmentation | None = None

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rate of each optimiser, that of `net` first."""
        return (self.settings.learning_rate,)

    def steps_at(self, index: int) -> bool:
        """Say whether a batch, by its number in the epoch, moves `net`."""
        return True

    def seed_of(self, purpose: str, index: int) -> int:
        """Return the seed of a purpose at a batch of the epoch; each process (rank) has its own.

        Args:
            purpose: what is drawn, e.g. "augment".
            index: the batch's number in the epoch.
        """
        return derive_seed(self.settings.seed, purpose, self.current_epoch, index, self.global_rank)

    def augmented(self, inputs: Tensor, target: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """Return a training batch with its augmentation.

        Args:
            inputs: (b, c, *space).
            target: (b, 1, *space).
            index: the batch's number in the epoch.
        """
        if self.augmentation is None:
            return inputs, target
        return self.augmentation(inputs, target, self.seed_of("augment", index))


def check_finite(values: Mapping[str, Tensor], epoch: int) -> None:
    """Stop a training whose losses are not finite, before the step and before such a state is kept.

    Args:
        values: scalars by name.
        epoch: for the message.

    Raises:
        MrsynthError: names the values that are not finite.
    """
    numbers = torch.stack([value.detach().float() for value in values.values()]).tolist()  # one wait for the device
    found = [f"{name} {number}" for name, number in zip(values, numbers, strict=True) if not math.isfinite(number)]
    if found:
        raise MrsynthError(
            f"The training diverged in epoch {epoch} and was stopped.",
            found=", ".join(found),
            expected="finite losses",
            do="the best and the last whole epoch are in the run's checkpoints; start a new run with a smaller "
            "train.learning_rate (and method.learning_rate), or with train.precision=32-true",
        )


def channels_last(tensor: Tensor) -> Tensor:
    """Return images (b, c, x, y) or volumes (b, c, x, y, z) with their channels last in memory; same values and shape.

    On a CPU a training step of slabs or cubes is 1.2 to 1.6 times as fast (benchmarks/train_boxes.py).
    """
    return tensor.contiguous(memory_format=FORMATS[tensor.dim()])


def weights_channels_last(net: nn.Module) -> nn.Module:
    """Bring a network's kernels to the same layout, in place; returns the network."""
    for parameter in net.parameters():
        if parameter.dim() in FORMATS:
            parameter.data = channels_last(parameter.data)
    return net
