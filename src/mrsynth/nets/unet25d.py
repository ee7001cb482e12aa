"""The virtual contrast model of pasumarthi2021: neighbouring slices of two scans → the standard-dose slice."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.protocol import Network


class Convolutions(nn.Sequential):
    """3×3 convolutions with ReLU, zero padding, without normalisation."""

    def __init__(self, inputs: int, width: int, count: int) -> None:
        layers: list[nn.Module] = []
        for before in [inputs, *[width] * (count - 1)]:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class UNet25d(Network):
    """2.5-D U-Net: 7 slices of the native and 7 of the low-dose scan (14 channels) → the middle slice at standard dose.

    32 filters at first, doubled after each of three 2× max-poolings, three 3×3 convolutions a level, no normalisation,
    nearest upsampling, concatenated skips, a linear 1×1 output. The centre block is residual: its first convolution
    widens, the other two add to that.
    """

    first_weights = "he_normal"
    stride: int

    def __init__(self, inputs: int = 14, outputs: int = 1, width: int = 32, poolings: int = 3) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(poolings)]
        self.inputs, self.stride = inputs, 2**poolings
        centre = width * 2**poolings
        self.down = nn.ModuleList(Convolutions(i, w, 3) for i, w in zip([inputs, *widths], widths, strict=False))
        self.widen, self.centre = Convolutions(widths[-1], centre, 1), Convolutions(centre, centre, 2)
        self.up = nn.ModuleList(
            Convolutions(deep + skip, skip, 3)
            for deep, skip in zip([centre, *widths[:0:-1]], widths[::-1], strict=True)
        )
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Float[Tensor, "b c x y"]) -> Float[Tensor, "b o x y"]:
        """Return the slice. Channels: the native scan's slices in order, then the low-dose scan's.

        x and y must be multiples of `stride`; raises ValueError otherwise.
        """
        if x.shape[-1] % self.stride or x.shape[-2] % self.stride:
            raise ValueError(f"in-plane size {tuple(x.shape[-2:])} is not a multiple of {self.stride}")
        skips = []
        for block in self.down:
            skips.append(block(x))
            x = nn.functional.max_pool2d(skips[-1], 2)
        x = self.widen(x)
        x = x + self.centre(x)
        for block in self.up:
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            x = block(torch.cat([x, skips.pop()], dim=1))
        return self.head(x)
