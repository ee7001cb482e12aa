"""DECNN, the deep embedding network of chen2022's Table IV (Xiang et al. 2018, Med Image Anal 47:31)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.blocks import ConvNormReLU, Mode, Norm, convolution, per_axis
from mrsynth.nets.cascade import AutoContext
from mrsynth.nets.protocol import Network


class Embedding(nn.Module):
    """An embedding block: a tentative image is computed from the features and embedded back into them."""

    def __init__(self, width: int, mode: Mode, norm: Norm) -> None:
        super().__init__()
        self.tentative = convolution(mode, width, 1)
        self.embed = ConvNormReLU(width + 1, width, mode, norm)
        self.transform = ConvNormReLU(width, width, mode, norm)

    def forward(self, x: Float[Tensor, "b w *space"]) -> Float[Tensor, "b w *space"]:
        """Map features (b, width, *space) to features of the same shape."""
        return self.transform(self.embed(torch.cat([x, self.tentative(x)], dim=1)))


class DECNN(Network):
    """Feature maps, embedding blocks, one convolution to the image; full resolution throughout, linear output."""

    first_weights = "he_normal"

    def __init__(
        self, inputs: int = 3, mode: Mode = "2d", width: int = 64, embeddings: int = 3, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        self.inputs, self.stride = inputs, per_axis(mode, 1)
        self.features = nn.Sequential(ConvNormReLU(inputs, width, mode, norm), ConvNormReLU(width, width, mode, norm))
        self.embeddings = nn.Sequential(*(Embedding(width, mode, norm) for _ in range(embeddings)))
        self.head = convolution(mode, width, 1)

    def forward(self, x: Float[Tensor, "b i *space"]) -> Float[Tensor, "b 1 *space"]:
        """Map (b, inputs, *space) in [0, 1] to (b, 1, *space), unbounded; any size."""
        return self.head(self.embeddings(self.features(x)))


def decnn(
    inputs: int = 3, mode: Mode = "2d", width: int = 64, embeddings: int = 3, rounds: int = 1, norm: Norm = "batch"
) -> AutoContext:
    """Return DECNN. rounds: of auto-context around it; 1 is the published network, whose blocks embed the estimate.

    Args:
        inputs: channels.
        mode: 2-D or 3-D.
        width: feature maps.
        embeddings: embedding blocks.
        rounds: of auto-context around it; 1 is the published network, whose blocks embed the estimate.
        norm: normalisation.
    """
    return AutoContext(lambda channels: DECNN(channels, mode, width, embeddings, norm), inputs, rounds)
