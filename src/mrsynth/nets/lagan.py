"""The generator of LA-GANs, locality-adaptive GANs (Wang et al. 2019, IEEE TMI 38:1328; chen2022, Table IV)."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.blocks import HALVED, Mode, Norm
from mrsynth.nets.cascade import AutoContext
from mrsynth.nets.protocol import Network
from mrsynth.nets.ublock import UBlock


class LocalFusion(nn.Module):
    """A weighted sum of the modalities whose weights depend on the place: one 1×1×1 kernel for each cell of a grid.

    cell: edge of a cell, voxels. cells: how many an axis; the grid repeats beyond, so that its period is cell·cells.
    Starts as the plain mean of the modalities.
    """

    def __init__(self, inputs: int, cell: int, cells: Sequence[int]) -> None:
        super().__init__()
        self.cell = cell
        self.weight = nn.Parameter(torch.full((inputs, *cells), 1 / inputs))

    def forward(self, x: Float[Tensor, "b i *space"]) -> Float[Tensor, "b 1 *space"]:
        """Map (b, inputs, *space) to the fused image (b, 1, *space)."""
        weight: Tensor = self.weight
        for axis, size in enumerate(x.shape[2:], start=1):
            place = torch.arange(size, device=x.device) // self.cell % weight.shape[axis]
            weight = weight.index_select(axis, place)
        return (x * weight).sum(dim=1, keepdim=True)


class LAGenerator(Network):
    """Locality-adaptive fusion to one image, then a U-block; tanh at its end."""

    first_weights = "dcgan"
    stride: tuple[int, ...]

    def __init__(
        self, inputs: int, mode: Mode, widths: Sequence[int], cell: int, cells: Sequence[int], norm: Norm
    ) -> None:
        super().__init__()
        if len(cells) != len(HALVED[mode]):
            raise ValueError(f"cells are {list(cells)}, expected one number an axis of mode {mode}")
        self.fusion = LocalFusion(inputs, cell, cells)
        self.net = UBlock(1, 1, widths, mode, norm)
        self.inputs = inputs
        periods = [1 if n == 1 else cell * n for n in cells]
        self.stride = tuple(lcm(period, step) for period, step in zip(periods, self.net.stride, strict=True))

    def forward(self, x: Float[Tensor, "b i *space"]) -> Float[Tensor, "b 1 *space"]:
        """Map (b, inputs, *space) in [0, 1] to (b, 1, *space) in (−1, 1); any size."""
        return torch.tanh(self.net(self.fusion(x)))


def lagan(
    inputs: int = 3,
    mode: Mode = "cube",
    widths: Sequence[int] = (64, 128, 256, 512, 512, 512),
    cell: int = 8,
    cells: Sequence[int] = (8, 8, 8),
    rounds: int = 2,
    norm: Norm = "batch",
) -> AutoContext:
    """Return the generator of (auto-context) LA-GANs: patches of 64³ in 8³ cells of 8³ voxels, 2 rounds.

    rounds=1 is the net without auto-context. cells: (8, 8, 1) with mode "slab", (8, 8) with "2d".

    Args:
        inputs: channels.
        mode: which axes are halved.
        widths: feature maps a level.
        cell: edge of a cell, voxels.
        cells: cells an axis: (8, 8, 1) with mode slab, (8, 8) with 2d.
        rounds: of auto-context; 1 is the net without.
        norm: normalisation.
    """
    return AutoContext(lambda channels: LAGenerator(channels, mode, widths, cell, cells, norm), inputs, rounds)
