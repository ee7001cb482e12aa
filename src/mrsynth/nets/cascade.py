"""Networks made of U-blocks: Pix2Pix has one, MedGAN's CasNet refines through six (chen2022, Table IV)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.blocks import Mode, Norm
from mrsynth.nets.ublock import UBlock


class Cascade(nn.Module):
    """U-blocks in a row; each hands one image to the next, the last ends in tanh.

    blocks=1 is Pix2Pix's generator (Isola et al. 2017, supplement 6.1.1), blocks=6 MedGAN's CasNet (Armanious et al.
    2020, §3.4), trained as one. The images between blocks are linear: six tanh in a row would flatten the gradient.
    """

    def __init__(
        self,
        inputs: int = 3,
        blocks: int = 1,
        mode: Mode = "2d",
        widths: Sequence[int] = (64, 128, 256, 512, 512, 512, 512, 512),
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        if blocks < 1:
            raise ValueError(f"{blocks} blocks, expected 1 at least")
        self.blocks = nn.Sequential(*(UBlock(1 if k else inputs, 1, widths, mode, norm) for k in range(blocks)))
        self.inputs, self.stride = inputs, self.blocks[0].stride

    def forward(self, x: Float[Tensor, "b i *space"]) -> Float[Tensor, "b 1 *space"]:
        """Map (b, inputs, *space) in [0, 1] to (b, 1, *space) in (−1, 1)."""
        return torch.tanh(self.blocks(x))
