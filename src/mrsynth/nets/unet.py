"""The 2-D U-Net of osman2022 (Figure 1, §2.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.protocol import Network


class ConvBlock(nn.Sequential):
    """Two 3×3 convolutions with ReLU, zero padding; dropout between them (§2.3: after the first ReLU)."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(inputs, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(inplace=True),
        )


class UNet2d(Network):
    """U-Net with max-pooling, nearest upsampling, concatenated skips and a 1×1 convolution with tanh.

    The paper's numbers: 19 convolutions, widths 16–256, about 2.0 M parameters. Two convolutions in each of nine blocks
    and the 1×1 give 19 and 1 962 337; with one convolution in the deepest block (as a sentence of §2.3 says) it would
    be 18 and 1.37 M, so the counts are followed. `build_net` draws He-uniform weights and zero biases (§2.4).
    """

    first_weights = "he_uniform"
    stride: int

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        dropout: Sequence[float] = (0.1, 0.1, 0.2, 0.2, 0.3),
    ) -> None:
        super().__init__()
        if len(widths) != len(dropout):
            raise ValueError(f"one dropout rate a width: {len(widths)} widths, {len(dropout)} rates")
        self.inputs, self.stride = inputs, 2 ** (len(widths) - 1)
        before = [inputs, *widths[:-1]]
        self.down = nn.ModuleList(ConvBlock(i, w, d) for i, w, d in zip(before, widths, dropout, strict=True))
        self.up = nn.ModuleList(
            ConvBlock(deep + skip, skip, d)
            for deep, skip, d in zip(widths[:0:-1], widths[-2::-1], dropout[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, x: Float[Tensor, "b c x y"]) -> Float[Tensor, "b o x y"]:
        """Map (b, inputs, x, y) in [0, 1] to (b, outputs, x, y) in (−1, 1); x and y must be multiples of `stride`."""
        if x.shape[-1] % self.stride or x.shape[-2] % self.stride:
            raise ValueError(f"in-plane size {tuple(x.shape[-2:])} is not a multiple of {self.stride}")
        skips = []
        for block in self.down[:-1]:
            x = block(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.down[-1](x)
        for block in self.up:
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
            x = block(torch.cat([x, skips.pop()], dim=1))
        return torch.tanh(self.head(x))
