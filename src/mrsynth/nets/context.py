"""Auto-context: a network's estimate becomes an input of the next network (Tu & Bai 2010, IEEE TPAMI 32:1744)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.core.errors import RecipeError


class AutoContext(nn.Module):
    """Networks in a row, each of which sees the images and the estimate of the one before.

    build: (inputs) → network (b, inputs, *space) → (b, 1, *space). The originals train round by round; here they are
    trained as one, so that every recipe is a single run.
    """

    def __init__(self, build: Callable[[int], nn.Module], inputs: int, rounds: int) -> None:
        super().__init__()
        if rounds < 1:
            raise RecipeError(f"{rounds} rounds of auto-context.", expected="1 at least")
        self.rounds = nn.ModuleList(build(inputs + (k > 0)) for k in range(rounds))
        self.inputs, self.stride = inputs, self.rounds[0].stride

    def forward(self, x: Float[Tensor, "b i *space"]) -> Float[Tensor, "b 1 *space"]:
        """Map (b, inputs, *space) to the last round's estimate (b, 1, *space)."""
        estimate = self.rounds[0](x)
        for net in self.rounds[1:]:
            estimate = net(torch.cat([x, estimate], dim=1))
        return estimate
