"""The U-Nets that chen2022 compares with: the originals of 2015 (2-D) and 2016 (3-D) with more convolutions a block."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.blocks import ConvNormReLU, Mode, Norm, convolution, crop_to, pad_to_multiple, per_axis
from mrsynth.nets.protocol import Network


class UNetDeep(Network):
    """U-Net with max-pooling, transposed convolutions (kernel and stride 2) and concatenated skips; linear output.

    convolutions: a block; the originals have two, so that the paper's "2×" and "1.5× depth" (§IV-A) are four and
    three. half_first: as the original 3-D net, the first convolution of an encoder block has half its width and the
    transposed one keeps the width and has no bias (Çiçek et al. 2016, §2.1); without it, as the original 2-D net, the
    transposed one halves it (Ronneberger et al. 2015, §2). mode: the axes that are pooled. Zero padding instead of
    shrinking maps.
    """

    first_weights = "he_normal"
    stride: tuple[int, ...]

    def __init__(
        self,
        inputs: int = 3,
        outputs: int = 1,
        mode: Mode = "slab",
        widths: Sequence[int] = (64, 128, 256, 512),
        convolutions: int = 3,
        half_first: bool = True,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        if len(widths) < 2 or convolutions < 1:
            raise ValueError(f"expected 2 widths and 1 convolution a block at least: {list(widths)}, {convolutions}")
        self.inputs, self.stride = inputs, per_axis(mode, 2 ** (len(widths) - 1))

        def block(before: int, width: int, first: int) -> nn.Sequential:
            chain = [before, first, *[width] * (convolutions - 1)]
            return nn.Sequential(*(ConvNormReLU(i, o, mode, norm) for i, o in pairwise(chain)))

        self.down = nn.ModuleList(
            block(before, width, width // 2 if half_first and convolutions > 1 else width)
            for before, width in zip([inputs, *widths[:-1]], widths, strict=True)
        )
        pool, transposed = (nn.MaxPool2d, nn.ConvTranspose2d) if mode == "2d" else (nn.MaxPool3d, nn.ConvTranspose3d)
        halves = per_axis(mode, 2)
        self.pool = pool(halves)  # type: ignore[arg-type]
        self.up, self.join = nn.ModuleList(), nn.ModuleList()
        for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True):
            up = deep if half_first else skip
            self.up.append(transposed(deep, up, halves, stride=halves, bias=not half_first))  # type: ignore[arg-type]
            self.join.append(block(up + skip, skip, skip))
        self.head = convolution(mode, widths[0], outputs, kernel=1)

    def forward(self, x: Float[Tensor, "b i *space"]) -> Float[Tensor, "b o *space"]:
        """Map (b, inputs, *space) to (b, outputs, *space), unbounded; any size: padded to the stride and cropped."""
        space = x.shape[2:]
        x = pad_to_multiple(x, self.stride)
        skips: list[Tensor] = []
        for place, block in enumerate(self.down[:-1]):
            x = self.after(block(x), place)
            skips.append(x)
            x = self.pool(x)
        x = self.after(self.down[-1](x), len(skips))
        for place, (up, join) in enumerate(zip(self.up, self.join, strict=True), start=len(skips) + 1):
            x = self.after(join(torch.cat([skips.pop(), up(x)], dim=1)), place)
        return crop_to(self.head(x), space)

    def after(self, x: Float[Tensor, "b c *space"], place: int) -> Float[Tensor, "b c *space"]:
        """Return what goes on behind a block; a subclass may change it.

        Args:
            x: the block's maps.
            place: the block's number, down and up again; the first is 0.
        """
        return x
