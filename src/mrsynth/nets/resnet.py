"""The encoder of DRUNet: ResNet-18/34/50/101/152 (He et al. 2016), named as torchvision and timm name them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Depth(NamedTuple):
    """What a depth stands for.

    Attributes:
        blocks: of the four layers.
        bottleneck: whether they are bottlenecks (else basic blocks).
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool


DEPTHS: Mapping[int, Depth] = {
    18: Depth((2, 2, 2, 2), False),
    34: Depth((3, 4, 6, 3), False),
    50: Depth((3, 4, 6, 3), True),
    101: Depth((3, 4, 23, 3), True),
    152: Depth((3, 8, 36, 3), True),
}

EXPANSION = 4
"""A bottleneck's output over its inner width."""


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with zero padding and without bias: batch normalisation follows.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: odd edge.
        stride: in the plane.
    """
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def shortcut(inputs: int, outputs: int, stride: int = 1) -> nn.Module | None:
    """Return the projection of a block's input (1×1 convolution), None where input and output have one shape.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: in the plane.
    """
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class Basic(nn.Module):
    """Two 3×3 convolutions; li2022, figure 3B (stride 2) and 3D."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Float[Tensor, "b i x y"]) -> Float[Tensor, "b o v w"]:
        """Return the block's features; a stride of 2 halves the plane."""
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1×1, 3×3 (with the stride), 1×1 convolutions; li2022, figure 3A (stride 2) and 3C."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        width = outputs // EXPANSION
        self.conv1, self.bn1 = conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Float[Tensor, "b i x y"]) -> Float[Tensor, "b o v w"]:
        """Return the block's features; a stride of 2 halves the plane."""
        inner = torch.relu(self.bn1(self.conv1(x)))
        inner = torch.relu(self.bn2(self.conv2(inner)))
        return torch.relu(self.bn3(self.conv3(inner)) + (x if self.downsample is None else self.downsample(x)))


class ResNetEncoder(nn.Module):
    """ResNet without its classifier. `widths` are the channels of its five feature maps, finest first."""

    def __init__(self, depth: int, inputs: int = 3) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"there is no ResNet-{depth}; depths: {', '.join(map(str, DEPTHS))}")
        blocks, bottleneck = DEPTHS[depth]
        block: Callable[..., nn.Module] = Bottleneck if bottleneck else Basic
        layers = [w * (EXPANSION if bottleneck else 1) for w in (64, 128, 256, 512)]
        self.widths = (64, *layers)
        self.conv1, self.bn1 = nn.Conv2d(inputs, 64, 7, 2, padding=3, bias=False), nn.BatchNorm2d(64)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(block(before, width, stride), *(block(width, width) for _ in range(count - 1)))
            for before, width, stride, count in zip(self.widths, layers, (1, 2, 2, 2), blocks, strict=False)
        )

    def forward(self, x: Float[Tensor, "b c x y"]) -> list[Tensor]:
        """Return the maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the plane (DOWN 1 to D-CENTER of li2022, table 1)."""
        maps = [torch.relu(self.bn1(self.conv1(x)))]
        maps.append(self.layer1(nn.functional.max_pool2d(maps[0], 3, 2, padding=1)))
        for layer in (self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        return maps
