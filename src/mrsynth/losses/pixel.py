"""Pixel losses: mean squared and mean absolute error."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.losses.float32 import in_float32

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What training calls: (prediction (b, 1, *space), target (b, 1, *space), inputs (b, c, *space)) → scalar.

inputs: the contrasts in the recipe's order, as they were before any of them was dropped."""


@in_float32
def mse(
    prediction: Float[Tensor, "b *shape"], target: Float[Tensor, "b *shape"], inputs: Tensor | None = None
) -> Float[Tensor, ""]:
    """Mean squared error over all voxels (osman2022 §2.4)."""
    return nn.functional.mse_loss(prediction, target)


@in_float32
def mae(
    prediction: Float[Tensor, "b *shape"], target: Float[Tensor, "b *shape"], inputs: Tensor | None = None
) -> Float[Tensor, ""]:
    """Mean absolute error over all voxels (chen2022 §III-C; osman2022 tried it: inferior to MSE)."""
    return nn.functional.l1_loss(prediction, target)
