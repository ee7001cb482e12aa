"""How pinetz2023's networks know dose and field strength: an embedding, projected into every residual block."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

CONDITION = ("dose", "b0_tesla")
"""What the networks are told, in this order: the dose as a fraction of the full one, the field strength in tesla."""

FEATURES = 128
"""Width of the embedding (supplement, implementation details)."""

SLOPE = 0.2
"""Negative slope of every LeakyReLU, as GAN critics commonly have it; the paper names none."""


class Embedding(nn.Module):
    """The metadata (dose as a fraction of the full one, b0_tesla) through two linear layers of 128 features.

    The field goes in as (B0 − 2.25)/0.75: −1 at 1.5 T, 1 at 3 T. Generator and critic have one each by default; Table 3
    compares one for both: give the same module to both constructors.
    """

    def __init__(self, features: int = FEATURES) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, features), nn.Linear(features, features)

    def forward(self, condition: Float[Tensor, "b 2"]) -> Float[Tensor, "b e"]:
        """Return the embedding of (dose, b0_tesla), one row a sample."""
        dose, b0_tesla = condition.unbind(1)
        scaled = torch.stack([dose, (b0_tesla - 2.25) / 0.75], dim=1)
        return self.second(nn.functional.leaky_relu(self.first(scaled), SLOPE))


class Convolution(nn.Conv3d):
    """A 3-D convolution with replicated borders that keeps the size."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__(
            inputs, outputs, kernel, padding=kernel // 2, padding_mode="replicate" if kernel > 1 else "zeros"
        )

    def forward(self, x: Float[Tensor, "b i x y z"]) -> Float[Tensor, "b o x y z"]:
        """Return the convolved features. Of one voxel (the coarsest scale of a small box) all neighbours are itself."""
        if x.shape[2:].numel() > 1:
            return super().forward(x)
        return nn.functional.linear(x.flatten(1), self.weight.sum((2, 3, 4)), self.bias)[:, :, None, None, None]


class ConditionalResidual(nn.Module):
    """CRB: activation, 3³ convolution, + projected embedding, activation, 3³ convolution; added to its input.

    The embedding's linear projection shifts every channel by one number; a 1³ convolution carries the input over where
    the widths differ.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.first, self.second = Convolution(inputs, width), Convolution(width, width)
        self.project = nn.Linear(FEATURES, width)
        self.shortcut = nn.Identity() if inputs == width else Convolution(inputs, width, 1)

    def forward(self, x: Float[Tensor, "b i x y z"], embedding: Float[Tensor, "b e"]) -> Float[Tensor, "b w x y z"]:
        """Return the block's features.

        Args:
            x: features.
            embedding: of dose and field.
        """
        inner = self.first(nn.functional.leaky_relu(x, SLOPE)) + self.project(embedding)[:, :, None, None, None]
        return self.shortcut(x) + self.second(nn.functional.leaky_relu(inner, SLOPE))
