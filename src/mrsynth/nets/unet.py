"""The 2-D U-Net of osman2022 (Figure 1, §2.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.blocks import Norm, normalisation
from mrsynth.nets.protocol import Network

Up = Literal["nearest", "transposed"]
Head = Literal["tanh", "linear", "relu", "sigmoid"]

HEADS: dict[Head, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "linear": lambda x: x,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
}
"""What follows the last convolution. The paper takes tanh, after trials with linear and ReLU (§2.3)."""


class ConvBlock(nn.Sequential):
    """Two 3×3 convolutions with ReLU, zero padding; dropout between them (§2.3: after the first ReLU).

    norm: "batch" normalises after each convolution (§4, tried); "none" is the paper's.
    """

    def __init__(self, inputs: int, width: int, dropout: float, norm: Norm = "none") -> None:
        def normed() -> list[nn.Module]:
            return [] if norm == "none" else [normalisation("2d", width, norm)]

        super().__init__(
            *(nn.Conv2d(inputs, width, 3, padding=1), *normed(), nn.ReLU(inplace=True), nn.Dropout(dropout)),
            *(nn.Conv2d(width, width, 3, padding=1), *normed(), nn.ReLU(inplace=True)),
        )


class UNet2d(Network):
    """U-Net with max-pooling, nearest upsampling, concatenated skips and a 1×1 convolution with tanh.

    The paper's numbers: 19 convolutions, widths 16–256, about 2.0 M parameters. Two convolutions in each of nine blocks
    and the 1×1 give 19 and 1 962 337; with one convolution in the deepest block (as a sentence of §2.3 says) it would
    be 18 and 1.37 M, so the counts are followed. `build_net` draws He-uniform weights and zero biases (§2.4).

    norm, up, head: what the paper tried beside it (§2.3, §4): batch normalisation, transposed convolutions ("filter
    size of 2 × 2 and stride = 2"; their width is the map's), and other functions at the end.
    """

    first_weights = "he_uniform"
    stride: int

    def __init__(
        self,
        inputs: int = 1,
        outputs: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        dropout: Sequence[float] = (0.1, 0.1, 0.2, 0.2, 0.3),
        norm: Norm = "none",
        up: Up = "nearest",
        head: Head = "tanh",
    ) -> None:
        super().__init__()
        if len(widths) != len(dropout):
            raise ValueError(f"one dropout rate a width: {len(widths)} widths, {len(dropout)} rates")
        if up not in get_args(Up) or head not in HEADS:
            raise ValueError(f"expected up nearest or transposed, head one of {', '.join(HEADS)}: {up}, {head}")
        self.inputs, self.stride, self.at_end = inputs, 2 ** (len(widths) - 1), head
        before = [inputs, *widths[:-1]]
        self.down = nn.ModuleList(ConvBlock(i, w, d, norm) for i, w, d in zip(before, widths, dropout, strict=True))
        self.larger = nn.ModuleList(
            nn.ConvTranspose2d(deep, deep, 2, stride=2) if up == "transposed" else nn.Upsample(scale_factor=2)
            for deep in widths[:0:-1]
        )
        self.up = nn.ModuleList(
            ConvBlock(deep + skip, skip, d, norm)
            for deep, skip, d in zip(widths[:0:-1], widths[-2::-1], dropout[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], outputs, 1)

    def forward(self, x: Float[Tensor, "b c x y"]) -> Float[Tensor, "b o x y"]:
        """Map (b, inputs, x, y) in [0, 1] to (b, outputs, x, y), with tanh in (−1, 1); x and y must be multiples of
        `stride`."""
        if x.shape[-1] % self.stride or x.shape[-2] % self.stride:
            raise ValueError(f"in-plane size {tuple(x.shape[-2:])} is not a multiple of {self.stride}")
        skips = []
        for block in self.down[:-1]:
            x = block(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.down[-1](x)
        for larger, block in zip(self.larger, self.up, strict=True):
            x = block(torch.cat([larger(x), skips.pop()], dim=1))
        return HEADS[self.at_end](self.head(x))
