"""VGG (Simonyan & Zisserman 2015) up to a layer: the network whose feature maps perceptual losses compare.

Layers are numbered as torchvision numbers them, so that its ImageNet weights fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

IMAGENET_MEAN, IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of photographs in [0, 1], red, green, blue: what ImageNet weights expect (li2022, "Training details")."""


class Shape(NamedTuple):
    """What a name stands for.

    Attributes:
        convolutions, widths: of each block.
        mean, sd: of each input channel.
    """

    convolutions: tuple[int, ...]
    widths: tuple[int, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]


SHAPES: Mapping[str, Shape] = {
    "vgg16": Shape((2, 2, 3, 3, 3), (64, 128, 256, 512, 512), IMAGENET_MEAN, IMAGENET_SD),
    "vgg19": Shape((2, 2, 4, 4, 4), (64, 128, 256, 512, 512), IMAGENET_MEAN, IMAGENET_SD),
    "small": Shape((2, 2, 2, 2), (16, 32, 64, 128), (0.0,), (1.0,)),  # ours, to be trained on a cohort
}


def layer_names(network: str) -> list[str]:
    """Return the layers in order: conv1_1, relu1_1, … pool1, conv2_1, …; its place is torchvision's number."""
    names = []
    for block, count in enumerate(SHAPES[network].convolutions, start=1):
        for k in range(1, count + 1):
            names += [f"conv{block}_{k}", f"relu{block}_{k}"]
        names.append(f"pool{block}")
    return names


class VGG(nn.Module):
    """Feature maps of images at one layer: (b, 1, x, y) or (b, 1, x, y, z) in [0, 1] → (b or b·z, f, u, v).

    network: vgg16, vgg19 or small; layer: as `layer_names` has them, e.g. conv5_4 (li2022) or relu3_3 (pinetz2023,
    after Johnson et al. 2016). The layers behind it are left out. A volume's axial slices count as images of their own;
    the channel is repeated to three, and normalised by ImageNet's mean and SD, where the network wants that. Frozen: no
    gradient to the weights; it goes to the device of the images. Raises ValueError for an unknown network or layer.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, network: str, layer: str) -> None:
        super().__init__()
        if network not in SHAPES:
            raise ValueError(f"there is no feature network '{network}'; networks: {', '.join(SHAPES)}")
        names = layer_names(network)
        if layer not in names:
            raise ValueError(f"{network} has no layer '{layer}'; layers: {', '.join(names)}")
        self.network, self.layer = network, layer
        depth = names.index(layer) + 1
        self.features = convolutions(SHAPES[network])[:depth]
        self.stride = 2 ** sum(name.startswith("pool") for name in names[:depth])
        for name, values in (("mean", SHAPES[network].mean), ("sd", SHAPES[network].sd)):
            self.register_buffer(name, torch.tensor(values).reshape(1, -1, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, x: Float[Tensor, "b 1 *space"]) -> Float[Tensor, "n f u v"]:
        """Return the feature maps; raises ValueError for planes that the poolings leave nothing of."""
        if x.ndim == 5:
            x = x.movedim(-1, 1).flatten(0, 1)
        if min(x.shape[-2:]) < self.stride:
            raise ValueError(
                f"planes of {tuple(x.shape[-2:])} voxels are too small for {self.layer} of {self.network}: "
                f"at least {self.stride}"
            )
        # A loss is no part of the trained module, so nobody else moves its network.
        if self.mean.device != x.device:
            self.to(x.device)
        return self.features((x - self.mean) / self.sd)


def convolutions(shape: Shape) -> nn.Sequential:
    """Return all layers of a shape: 3×3 convolutions with zero padding and ReLU, a 2× max-pooling after each block."""
    layers: list[nn.Module] = []
    before = len(shape.mean)
    for count, width in zip(shape.convolutions, shape.widths, strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
