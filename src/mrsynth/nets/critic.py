"""The critic of pinetz2023: the generator's encoder with five scales, without attention, and one score a sample."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.condition import CONDITION, SLOPE, ConditionalResidual, Convolution, Embedding
from mrsynth.nets.protocol import Network

BLOCKS = 2
"""Conditional residual blocks a scale."""


class Critic(Network):
    """Score of a residual, real or synthesized, given what it belongs to; higher for real. No normalisation.

    Two conditional residual blocks a scale; 12 features at the finest, doubled after each 2× max-pooling; a 3³
    convolution to one channel and the mean over space. embedding: one that is shared with the generator.
    """

    told = CONDITION
    judges = "scores"
    inputs = 3  # residual, native, standard

    def __init__(self, width: int = 12, scales: int = 5, embedding: Embedding | None = None) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(scales)]
        self.smallest = 2 ** (scales - 1)
        self.embedding = Embedding() if embedding is None else embedding
        self.down = nn.ModuleList(
            ConditionalResidual(inputs, w)
            for before, w in zip([3, *widths], widths, strict=False)
            for inputs in (before, *[w] * (BLOCKS - 1))
        )
        self.head = Convolution(widths[-1], 1)

    def forward(
        self,
        residual: Float[Tensor, "b 1 x y z"],
        native: Float[Tensor, "b 1 x y z"],
        standard: Float[Tensor, "b 1 x y z"],
        condition: Float[Tensor, "b 2"],
    ) -> Float[Tensor, " b"]:
        """Return one score a sample. condition: (dose, b0_tesla).

        Raises ValueError for images of less than 2^(scales − 1) voxels along an axis.

        Args:
            residual: real or synthetic low dose less native.
            native: scan without agent.
            standard: scan at full dose.
            condition: (dose, b0_tesla).
        """
        if min(residual.shape[2:]) < self.smallest:
            raise ValueError(
                f"the critic needs {self.smallest} voxels along each axis, not {tuple(residual.shape[2:])}"
            )
        x = torch.cat([residual, native, standard], dim=1)
        embedding = self.embedding(condition)
        for number, block in enumerate(self.down):
            coarser = number > 0 and number % BLOCKS == 0
            x = block(nn.functional.max_pool3d(x, 2) if coarser else x, embedding)
        return self.head(nn.functional.leaky_relu(x, SLOPE)).mean((1, 2, 3, 4))
