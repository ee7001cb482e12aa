"""The generator of pinetz2023 (Figure 5): native and standard-dose T1 and noise → the residual at any dose."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.nets.attention import LocalAttention
from mrsynth.nets.condition import CONDITION, SLOPE, ConditionalResidual, Convolution, Embedding
from mrsynth.nets.protocol import Network


class Scale(nn.Module):
    """What happens at one scale: two CRBs and, at the coarser scales, a LAB."""

    def __init__(self, inputs: int, width: int, attention: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([ConditionalResidual(inputs, width), ConditionalResidual(width, width)])
        self.attention = LocalAttention(width) if attention else nn.Identity()

    def forward(self, x: Float[Tensor, "b i x y z"], embedding: Float[Tensor, "b e"]) -> Float[Tensor, "b w x y z"]:
        """Return the scale's features.

        Args:
            x: features.
            embedding: of dose and field.
        """
        for block in self.blocks:
            x = block(x, embedding)
        return self.attention(x)


class LowDose(Network):
    """U-Net of conditional residual blocks: 12 features at the finest scale, doubled after each 2× max-pooling.

    The result is the residual to the native image: low dose = native + residual. width: features at the finest scale.
    embedding: one that is shared with the critic; by default its own.
    """

    told = CONDITION
    inputs = 3  # noise, native, standard
    stride: int

    def __init__(self, width: int = 12, scales: int = 4, embedding: Embedding | None = None) -> None:
        super().__init__()
        widths = [width * 2**k for k in range(scales)]
        self.stride = 2 ** (scales - 1)
        self.embedding = Embedding() if embedding is None else embedding
        self.down = nn.ModuleList(
            Scale(inputs, w, attention=k > 0) for k, (inputs, w) in enumerate(zip([3, *widths], widths, strict=False))
        )
        self.up = nn.ModuleList(
            Scale(widths[k + 1] + widths[k], widths[k], attention=k > 0) for k in reversed(range(scales - 1))
        )
        self.heads = nn.ModuleList(Convolution(w, 1) for w in widths)

    def forward(
        self,
        noise: Float[Tensor, "b 1 x y z"],
        native: Float[Tensor, "b 1 x y z"],
        standard: Float[Tensor, "b 1 x y z"],
        condition: Float[Tensor, "b 2"],
    ) -> list[Tensor]:
        """Return the residuals of all scales, finest first.

        Sizes that the coarsest scale does not divide are padded by their border, and the residuals are cut again.

        Args:
            noise: drawn from N(0, 1).
            native: the scan without contrast agent, in units of the native brain's 0.95 quantile.
            standard: the scan after the full dose, in the same units.
            condition: (dose, b0_tesla).

        Returns:
            (b, 1, x, y, z) at the finest scale; scale k has the size divided by 2^k, rounded up.
        """
        size = native.shape[2:]
        x = _padded(torch.cat([noise, native, standard], dim=1), self.stride)
        embedding = self.embedding(condition)
        skips = []
        for number, scale in enumerate(self.down):
            x = scale(nn.functional.max_pool3d(x, 2) if number else x, embedding)
            skips.append(x)
        found = [skips.pop()]
        for scale in self.up:
            fine = nn.functional.interpolate(found[0], scale_factor=2, mode="trilinear", align_corners=False)
            found.insert(0, scale(torch.cat([fine, skips.pop()], dim=1), embedding))
        residuals = []
        for k, (head, features) in enumerate(zip(self.heads, found, strict=True)):
            nx, ny, nz = (-(-edge // 2**k) for edge in size)
            residuals.append(head(nn.functional.leaky_relu(features, SLOPE))[..., :nx, :ny, :nz])
        return residuals


class LowDoseImage(nn.Module):
    """The generator as a function of one volume: the scan at a dose instead of residuals."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Float[Tensor, "b 3 x y z"], condition: Float[Tensor, "b 2"]) -> Float[Tensor, "b 1 x y z"]:
        """Return the scan at a dose.

        Args:
            x: noise, native and standard dose.
            condition: (dose, b0_tesla).

        Returns:
            native + the finest residual.
        """
        native = x[:, 1:2]
        return native + self.net(x[:, :1], native, x[:, 2:3], condition)[0]


def _padded(x: Float[Tensor, "b c x y z"], multiple: int) -> Float[Tensor, "b c u v w"]:
    """Return x with its far borders repeated up to a multiple."""
    missing = [-edge % multiple for edge in x.shape[2:]]
    return nn.functional.pad(x, [0, missing[2], 0, missing[1], 0, missing[0]], mode="replicate") if any(missing) else x
