"""The perceptual loss: the distance of feature maps (Johnson et al. 2016; pinetz2023 §3, pasumarthi2021)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.losses.float32 import in_float32

Norm = Literal["l1", "l2"]


class Perceptual(nn.Module):
    """Mean absolute ("l1", pinetz2023) or mean squared ("l2", Johnson et al.) difference of feature maps.

    features: maps images (b, 1, …) to feature maps (n, f, u, v), e.g. VGG-16 up to relu3_3 (pinetz2023); what it
    expects of its input is its own affair. Freeze it before.
    """

    def __init__(self, features: Callable[[Tensor], Tensor], norm: Norm = "l1") -> None:
        super().__init__()
        self.features, self.norm = features, norm

    def forward(
        self, prediction: Float[Tensor, "b 1 *space"], target: Float[Tensor, "b 1 *space"], inputs: Tensor | None = None
    ) -> Float[Tensor, ""]:
        """Return the distance; 0 at a perfect match, the gradient goes to the prediction alone."""
        synthetic = self.features(prediction)
        with torch.no_grad():
            real = self.features(target)
        return feature_distance(synthetic, real, self.norm)


@in_float32
def feature_distance(
    synthetic: Float[Tensor, "n f u v"], real: Float[Tensor, "n f u v"], norm: Norm
) -> Float[Tensor, ""]:
    """Return the mean distance over all points and features."""
    return DISTANCES[norm](synthetic, real)


DISTANCES: Mapping[Norm, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": nn.functional.l1_loss,
    "l2": nn.functional.mse_loss,
}
