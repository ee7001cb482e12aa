"""The U-Net of strided 4×4 convolutions (Isola et al. 2017): Pix2Pix is one, MedGAN cascades it, LA-GANs: in 3-D."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.blocks import Mode, Norm, crop_to, normalisation, pad_to_multiple, per_axis
from mrsynth.nets.protocol import Network

DROPPED = 3
"""The deepest decoder layers with 50 % dropout (Isola et al. 2017, supplement 6.1.1). Training only: a prediction is
deterministic here, where the original drops at test time too."""


class UBlock(Network):
    """One 4×4 convolution of stride 2 a level down, one transposed up, concatenated skips; linear output.

    widths: feature maps of the encoder's levels; each halves the mode's axes. Axes that are not halved have kernel 3.
    No normalisation in the first level, the deepest (one voxel there has no statistics) and the output.
    """

    stride: tuple[int, ...]

    def __init__(
        self, inputs: int, outputs: int, widths: Sequence[int], mode: Mode = "2d", norm: Norm = "batch"
    ) -> None:
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"expected 2 widths at least, one a level: {list(widths)}")
        self.inputs, self.stride = inputs, per_axis(mode, 2 ** len(widths))
        deepest = len(widths) - 1
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            plain = norm == "none" or level in (0, deepest)
            self.down.append(
                nn.Sequential(
                    nn.LeakyReLU(0.2) if level else nn.Identity(),
                    _halving(mode, widths[level - 1] if level else inputs, width, plain),
                    nn.Identity() if plain else normalisation(mode, width, norm),
                )
            )
        for level in range(deepest, -1, -1):
            before = widths[level] * (1 if level == deepest else 2)
            width = widths[level - 1] if level else outputs
            plain = norm == "none" or level == 0
            self.up.append(
                nn.Sequential(
                    nn.ReLU(),
                    _halving(mode, before, width, plain, transposed=True),
                    nn.Identity() if plain else normalisation(mode, width, norm),
                    nn.Dropout(0.5 if level and deepest - level < DROPPED else 0.0),
                )
            )

    def forward(self, x: Float[Tensor, "b i *space"]) -> Float[Tensor, "b o *space"]:
        """Map (b, inputs, *space) to (b, outputs, *space); any size: padded to the stride and cropped."""
        space = x.shape[2:]
        x = pad_to_multiple(x, self.stride)
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = self.up[0](skips.pop())
        for up in self.up[1:]:
            x = up(torch.cat([x, skips.pop()], dim=1))
        return crop_to(x, space)


def _halving(mode: Mode, inputs: int, outputs: int, bias: bool, transposed: bool = False) -> nn.Module:
    """Return the convolution with kernel 4 and stride 2 on the mode's axes, kernel 3 and stride 1 on the others."""
    kernel, stride = per_axis(mode, 4, 3), per_axis(mode, 2)
    down, up = (nn.Conv2d, nn.ConvTranspose2d) if mode == "2d" else (nn.Conv3d, nn.ConvTranspose3d)
    layer = up if transposed else down
    return layer(inputs, outputs, kernel, stride=stride, padding=1, bias=bias)  # type: ignore[arg-type]
