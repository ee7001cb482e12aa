"""What the networks share: the axes they scale, convolution with normalisation, residual blocks, padding to a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

Mode = Literal["2d", "slab", "cube"]
"""Which axes a network halves: 2d (x, y) of slices; slab (x, y) of a few slices (x, y, z); cube all of (x, y, z)."""

Norm = Literal["batch", "instance", "none"]
"""Normalisation. batch and none act voxel by voxel once trained, so that a window's prediction can equal the whole's;
instance takes statistics over whatever it is given, so that it never can."""

HALVED: dict[Mode, tuple[bool, ...]] = {"2d": (True, True), "slab": (True, True, False), "cube": (True, True, True)}


def per_axis(mode: Mode, halved: int, other: int = 1) -> tuple[int, ...]:
    """Return one number a space axis: `halved` for the axes that the mode scales, `other` for the rest.

    Args:
        mode: which axes are scaled.
        halved: the number for those.
        other: the number for the rest.
    """
    if mode not in HALVED:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(HALVED)}")
    return tuple(halved if scaled else other for scaled in HALVED[mode])


def convolution(
    mode: Mode, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = True
) -> nn.Module:
    """Return a zero-padded convolution with an odd kernel on all axes; the stride acts on the mode's scaled axes.

    Args:
        mode: which axes the stride acts on, and how many there are.
        inputs: channels in.
        outputs: channels out.
        kernel: odd edge.
        stride: on the mode's scaled axes.
        bias: whether it has one.
    """
    layer = nn.Conv2d if len(per_axis(mode, 1)) == 2 else nn.Conv3d
    return layer(inputs, outputs, kernel, stride=per_axis(mode, stride), padding=kernel // 2, bias=bias)  # type: ignore[arg-type]


def normalisation(mode: Mode, width: int, norm: Norm) -> nn.Module:
    """Return the normalisation layer, the identity for "none".

    Args:
        mode: 2-D or 3-D.
        width: channels.
        norm: its kind.
    """
    flat = len(per_axis(mode, 1)) == 2
    if norm == "batch":
        return nn.BatchNorm2d(width) if flat else nn.BatchNorm3d(width)
    if norm == "instance":
        return nn.InstanceNorm2d(width, affine=True) if flat else nn.InstanceNorm3d(width, affine=True)
    if norm == "none":
        return nn.Identity()
    raise ValueError(f"norm is {norm!r}, expected batch, instance or none")


class ConvNormReLU(nn.Sequential):
    """ "Conv-BN-ReLU" (chen2022 §III-B). The convolution has a bias only where nothing normalises it away."""

    def __init__(self, inputs: int, width: int, mode: Mode, norm: Norm, stride: int = 1) -> None:
        super().__init__(
            convolution(mode, inputs, width, stride=stride, bias=norm == "none"),
            normalisation(mode, width, norm),
            nn.ReLU(inplace=True),
        )


class ResBlock(nn.Module):
    """Two Conv-BN-ReLU layers and a shortcut, added before the last ReLU (He et al. 2016, CVPR, Figure 2).

    Where the width changes, the shortcut is a 1×1 convolution with normalisation.
    """

    def __init__(self, inputs: int, width: int, mode: Mode, norm: Norm) -> None:
        super().__init__()
        self.first = ConvNormReLU(inputs, width, mode, norm)
        self.second = nn.Sequential(
            convolution(mode, width, width, bias=norm == "none"), normalisation(mode, width, norm)
        )
        self.shortcut = (
            nn.Identity()
            if inputs == width
            else nn.Sequential(
                convolution(mode, inputs, width, kernel=1, bias=norm == "none"), normalisation(mode, width, norm)
            )
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "b i *space"]) -> Float[Tensor, "b w *space"]:
        """Map (b, inputs, *space) to (b, width, *space)."""
        return self.relu(self.second(self.first(x)) + self.shortcut(x))


def pad_to_multiple(x: Float[Tensor, "b c *space"], stride: Sequence[int]) -> Float[Tensor, "b c *padded"]:
    """Append zeros (the background's value) to the far end of each axis, up to a multiple of the stride.

    Args:
        x: images.
        stride: one number an axis.
    """
    pads: list[int] = []
    for size, step in zip(reversed(x.shape[2:]), reversed(stride), strict=True):
        pads += [0, -size % step]
    return nn.functional.pad(x, pads) if any(pads) else x


def crop_to(x: Float[Tensor, "b c *padded"], space: Sequence[int]) -> Float[Tensor, "b c *space"]:
    """Return the near corner of size `space`: undoes `pad_to_multiple`.

    Args:
        x: padded images.
        space: the size to return.
    """
    return x[(slice(None), slice(None), *(slice(size) for size in space))]
