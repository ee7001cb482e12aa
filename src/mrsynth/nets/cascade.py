"""Networks in a row (chen2022, Table IV): U-blocks that refine an image (Pix2Pix, MedGAN), and auto-context."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.core.errors import RecipeError
from mrsynth.nets.blocks import Mode, Norm
from mrsynth.nets.protocol import Network
from mrsynth.nets.ublock import UBlock


class Cascade(Network):
    """U-blocks in a row; each hands one image to the next, the last ends in tanh.

    blocks=1 is Pix2Pix's generator (Isola et al. 2017, supplement 6.1.1), blocks=6 MedGAN's CasNet (Armanious et al.
    2020, §3.4), trained as one. The images between blocks are linear: six tanh in a row would flatten the gradient.
    """

    first_weights = "dcgan"

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
        nets = [UBlock(1 if k else inputs, 1, widths, mode, norm) for k in range(blocks)]
        self.blocks = nn.Sequential(*nets)
        self.inputs, self.stride = inputs, nets[0].stride

    def forward(self, x: Float[Tensor, "b i *space"]) -> Float[Tensor, "b 1 *space"]:
        """Map (b, inputs, *space) in [0, 1] to (b, 1, *space) in (−1, 1)."""
        return torch.tanh(self.blocks(x))


class AutoContext(Network):
    """Networks in a row, each of which sees the images and the estimate of the one before (Tu & Bai 2010, IEEE TPAMI
    32:1744).

    build: (inputs) → network (b, inputs, *space) → (b, 1, *space). The originals train round by round; here they are
    trained as one, so that every recipe is a single run.
    """

    def __init__(self, build: Callable[[int], Network], inputs: int, rounds: int) -> None:
        super().__init__()
        if rounds < 1:
            raise RecipeError(f"{rounds} rounds of auto-context.", expected="1 at least")
        nets = [build(inputs + (k > 0)) for k in range(rounds)]
        self.rounds = nn.ModuleList(nets)
        self.inputs, self.stride, self.first_weights = inputs, nets[0].stride, nets[0].first_weights

    def forward(self, x: Float[Tensor, "b i *space"]) -> Float[Tensor, "b 1 *space"]:
        """Map (b, inputs, *space) to the last round's estimate (b, 1, *space)."""
        estimate = self.rounds[0](x)
        for net in self.rounds[1:]:
            estimate = net(torch.cat([x, estimate], dim=1))
        return estimate
