"""A training whose losses are not finite is stopped, before the step and before such a state is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mrsynth.core.errors import MrsynthError


def check_finite(values: Mapping[str, Tensor], epoch: int) -> None:
    """Raise MrsynthError that names the values (scalars, by name) that are not finite."""
    numbers = torch.stack([value.detach().float() for value in values.values()]).tolist()  # one wait for the device
    found = [f"{name} {number}" for name, number in zip(values, numbers, strict=True) if not math.isfinite(number)]
    if found:
        raise MrsynthError(
            f"The training diverged in epoch {epoch} and was stopped.",
            found=", ".join(found),
            expected="finite losses",
            do="the best and the last whole epoch are in the run's checkpoints; start a new run with a smaller "
            "train.learning_rate (and game.learning_rate, wgan.learning_rate), or with train.precision=32-true",
        )
