"""The patch discriminator of Pix2Pix, LA-GANs and MedGAN: is each patch of an image real, given the inputs?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.blocks import Mode, Norm, normalisation, per_axis
from mrsynth.nets.protocol import Network


class PatchCritic(Network):
    """4×4 convolutions with LeakyReLU(0.2) to one logit a patch (Isola et al. 2017, supplement 6.1.2).

    inputs: channels of the condition. widths: feature maps; all but the last layer halve the mode's axes. Patches of
    16 voxels: (64, 128), as MedGAN has them; 70: (64, 128, 256, 512), Pix2Pix. No normalisation in the first layer.
    """

    first_weights = "dcgan"
    judges = "patches"

    def __init__(
        self,
        inputs: int = 3,
        mode: Mode = "2d",
        widths: Sequence[int] = (64, 128, 256, 512),
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        if not widths:
            raise ValueError("expected 1 width at least")
        self.inputs = inputs
        layer, kernel = (nn.Conv2d if mode == "2d" else nn.Conv3d), per_axis(mode, 4, 3)
        self.layers = nn.ModuleList()
        for k, (before, width) in enumerate(zip([inputs + 1, *widths[:-1]], widths, strict=True)):
            stride = per_axis(mode, 1 if k == len(widths) - 1 else 2)
            plain = k == 0 or norm == "none"
            self.layers.append(
                nn.Sequential(
                    layer(before, width, kernel, stride=stride, padding=1, bias=plain),  # type: ignore[arg-type]
                    nn.Identity() if plain else normalisation(mode, width, norm),
                    nn.LeakyReLU(0.2),
                )
            )
        self.head = layer(widths[-1], 1, kernel, padding=1)  # type: ignore[arg-type]

    def features(self, image: Float[Tensor, "b 1 *space"], condition: Float[Tensor, "b i *space"]) -> list[Tensor]:
        """Return every layer's activations (b, width, *patches): what MedGAN's feature and style losses compare.

        Args:
            image: to judge.
            condition: the network's inputs.
        """
        x = torch.cat([image, condition], dim=1)
        maps: list[Tensor] = []
        for layer in self.layers:
            x = layer(x)
            maps.append(x)
        return maps

    def forward(
        self, image: Float[Tensor, "b 1 *space"], condition: Float[Tensor, "b i *space"]
    ) -> Float[Tensor, "b 1 *patches"]:
        """Return one logit a patch, positive for real.

        Args:
            image: to judge.
            condition: the network's inputs.
        """
        return self.head(self.features(image, condition)[-1])
