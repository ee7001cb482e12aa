"""A moving average of the weights (Polyak & Juditsky 1992; as an exponential average, Tarvainen & Valpola 2017).

Lightning's own WeightAveraging copies the whole module, critic and feature networks with it, and counts a step of each
of two optimisers; this one averages the network that becomes the model.
"""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor
from typing_extensions import override

NAME = "WeightAverage"
"""Under which a checkpoint keeps it."""


class WeightAverage(L.Callback):
    """Averages `net` after each of its steps, and lends it the average for validation.

    The average m of weights w is decay · m + (1 − decay) · w, with a decay of at most (1 + n)/(10 + n) after n steps:
    else it would remember the first weights for long. Running means of normalisation are averaged too, counters taken
    as they are.

    Args:
        decay: in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.average: dict[str, Tensor] | None = None
        self.lent: dict[str, Tensor] | None = None

    @property
    def state_key(self) -> str:
        """The name under which a checkpoint keeps the average."""
        return NAME

    @override
    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Begin with the first weights, or go on with those of a checkpoint."""
        weights = pl_module.net.state_dict()
        known = weights if self.average is None else self.average
        self.average = {name: known[name].detach().to(value.device).clone() for name, value in weights.items()}

    @torch.no_grad()
    @override
    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take the weights after a step of `net` into the average."""
        if self.average is None or not pl_module.steps_at(batch_idx):
            return
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, value in pl_module.net.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    @override
    def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Lend the average to `net`, and keep the weights."""
        if self.average is not None:
            self.lent = {name: value.clone() for name, value in pl_module.net.state_dict().items()}
            pl_module.net.load_state_dict(self.average)

    @override
    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Give the weights back to `net`."""
        if self.lent is not None:
            pl_module.net.load_state_dict(self.lent)
            self.lent = None

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"steps": self.steps, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self.steps, self.average = state_dict["steps"], state_dict["average"]
