"""A 3-D U-Net that says how sure it is: dropout at test time too, and a log scale as second output (kleesiek2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.blocks import Mode, Norm
from mrsynth.nets.unet_deep import UNetDeep

FIRST_SEED = 2019
"""Of the channels that each pass leaves out, so that a prediction is the same every time."""


class BayesianUNet(UNetDeep):
    """U-Net whose blocks lose whole channels, in training at random, in prediction in `samples` fixed ways.

    In training it returns image and log scale, (b, 2, *space). In prediction the image is the mean over the passes and
    the scale that of their mixture, √(mean σ² + variance of the images) (Kendall & Gal 2017, equation 9): what the
    data leave open and what the weights do. Which channels a pass leaves out depends on no voxel, so that windows agree
    where they overlap.

    dropout: share of the channels that is left out after each block. samples: passes of a prediction. The rest as in
    `UNetDeep`.
    """

    def __init__(
        self,
        inputs: int = 3,
        mode: Mode = "cube",
        widths: Sequence[int] = (32, 64, 128, 256),
        convolutions: int = 2,
        norm: Norm = "batch",
        dropout: float = 0.2,
        samples: int = 10,
    ) -> None:
        super().__init__(inputs, 2, mode, widths, convolutions, half_first=True, norm=norm)
        if not 0 <= dropout < 1 or samples < 1:
            raise ValueError(f"expected a dropout in [0, 1) and 1 sample at least: {dropout}, {samples}")
        self.rate, self.samples, self.way = dropout, samples, 0
        draw = torch.Generator().manual_seed(FIRST_SEED)
        for place, width in enumerate([*widths, *widths[-2::-1]]):
            kept = torch.rand(samples, width, generator=draw) >= dropout
            self.register_buffer(f"kept_{place}", kept / (1 - dropout), persistent=False)

    def after(self, x: Float[Tensor, "b c *space"], place: int) -> Float[Tensor, "b c *space"]:
        """Leave out channels: at random in training, those of the pass in prediction.

        Args:
            x: the block's maps.
            place: the block's number.
        """
        if self.training:
            drop = nn.functional.dropout3d if x.ndim == 5 else nn.functional.dropout2d
            return drop(x, self.rate, training=True)
        return x * self.get_buffer(f"kept_{place}")[self.way].reshape(1, -1, *[1] * (x.ndim - 2))

    def forward(self, x: Float[Tensor, "b i *space"]) -> Float[Tensor, "b 2 *space"]:
        """Map (b, inputs, *space) to image and log scale, (b, 2, *space)."""
        if self.training:
            return super().forward(x)
        passes = []
        for way in range(self.samples):
            self.way = way
            passes.append(super().forward(x))
        found = torch.stack(passes)
        images, variances = found[:, :, :1], (2 * found[:, :, 1:]).exp()
        total = variances.mean(dim=0) + images.var(dim=0, correction=0)
        return torch.cat([images.mean(dim=0), total.log() / 2], dim=1)
