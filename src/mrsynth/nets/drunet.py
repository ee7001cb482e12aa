"""DRUNet of li2022 (Figures 3 and 4, Table 1): a U-Net whose encoder is a ResNet and whose decoder is its mirror."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from mrsynth.core.errors import ModelError
from mrsynth.nets.protocol import Network
from mrsynth.nets.resnet import DEPTHS, EXPANSION, Basic, Bottleneck, ResNetEncoder, conv
from mrsynth.nets.vgg import IMAGENET_MEAN, IMAGENET_SD
from mrsynth.nets.weights import read_state

STRIDE = 32

Head = Literal["sigmoid", "linear"]

LEAST_SLOPE = 1e-12
"""PyTorch's binary cross entropy divides its gradient by p (1 − p), by no less than this."""


def twice(x: Float[Tensor, "b c x y"]) -> Float[Tensor, "b c v w"]:
    """Return the nearest-neighbour upsampling to twice the plane."""
    return nn.functional.interpolate(x, scale_factor=2, mode="nearest")


class UpBottleneck(nn.Module):
    """Figure 3E: a bottleneck whose strided 3×3 convolution is nearest upsampling and a 1×1 convolution.

    Every layer of it acts on single pixels and so commutes with nearest upsampling: the block runs on the coarse plane
    and upsamples its result, which is the same map for a quarter of the work.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        width = inputs // EXPANSION
        self.inner = nn.Sequential(
            conv(inputs, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            conv(width, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            conv(width, outputs, 1),
            nn.BatchNorm2d(outputs),
        )
        self.project = nn.Sequential(conv(inputs, outputs, 1), nn.BatchNorm2d(outputs))

    def forward(self, x: Float[Tensor, "b i x y"]) -> Float[Tensor, "b o v w"]:
        """Return features on twice the plane."""
        return twice(torch.relu(self.inner(x) + self.project(x)))


class UpBasic(nn.Module):
    """Figure 3F: a basic block whose strided 3×3 convolution is nearest upsampling and a 1×1 convolution.

    1×1 convolution, normalisation and ReLU come before the upsampling that they commute with.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.before = nn.Sequential(conv(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))
        self.after = nn.Sequential(conv(outputs, outputs, 3), nn.BatchNorm2d(outputs))
        self.project = nn.Sequential(conv(inputs, outputs, 1), nn.BatchNorm2d(outputs))

    def forward(self, x: Float[Tensor, "b i x y"]) -> Float[Tensor, "b o v w"]:
        """Return features on twice the plane."""
        return torch.relu(self.after(twice(self.before(x))) + twice(self.project(x)))


class ImageNetInput(nn.Module):
    """One channel, or three, of values in [0, 1] → three channels less ImageNet's mean, over its SD."""

    weight: Tensor
    bias: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        # By NumPy: arithmetic on the device meta would import torch's compiler, 3 s.
        mean, sd = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_SD, np.float32)
        channels = np.eye(3, dtype=np.float32) if inputs == 3 else np.ones((3, 1), np.float32)
        self.register_buffer("weight", torch.tensor((channels / sd[:, None])[..., None, None]), persistent=False)
        self.register_buffer("bias", torch.tensor(-mean / sd), persistent=False)

    def forward(self, x: Float[Tensor, "b i x y"]) -> Float[Tensor, "b 3 x y"]:
        """Return the three channels; a 1×1 convolution, which needs no further copy of the image."""
        return nn.functional.conv2d(x, self.weight, self.bias)


class DRUNet(Network):
    """Double ResNet U-Net: image (b, inputs, x, y) → (b, outputs, x, y), in (0, 1) where the head is a sigmoid.

    depth: 18, 34, 50, 101 or 152. The decoder has the encoder's numbers of blocks in reverse (3, 23, 4, 3 for 101): in
    each stage the first joins the skip (the "cate" block), the last is an up block. x and y must be multiples of 32.
    imagenet: the image comes as photographs do: one channel is repeated to three, and they are brought to ImageNet's
    mean and SD ("Training details"); three channels are neighbouring slices. `begin_with` puts ImageNet
    weights into the encoder. head: what `forward` ends with, "sigmoid" or "linear"; the paper joins the sigmoid to the
    BCE loss alone.
    """

    first_weights = "he_normal"

    def __init__(
        self, depth: int = 101, inputs: int = 3, outputs: int = 1, imagenet: bool = False, head: Head = "sigmoid"
    ) -> None:
        super().__init__()
        if head not in get_args(Head):
            raise ValueError(f"head is {head!r}, expected one of {', '.join(get_args(Head))}")
        if imagenet and inputs not in (1, 3):
            raise ValueError(f"ImageNet's mean and SD are of 3 channels: inputs must be 1 or 3, not {inputs}")
        self.inputs, self.stride, self.public_weights = inputs, STRIDE, f"resnet{depth}"
        self.ends_in_sigmoid = head == "sigmoid"
        self.imagenet_input = ImageNetInput(inputs) if imagenet else nn.Identity()
        self.encoder = ResNetEncoder(depth, 3 if imagenet else inputs)
        blocks, bottleneck = DEPTHS[depth]
        coarse_first = self.encoder.widths[::-1]
        skips = (0, *coarse_first[1:-1])  # U-CENTER joins nothing; the finest map's stage is the head
        self.decoder = nn.ModuleList(
            _stage(skip, width, finer, count, bottleneck)
            for skip, width, finer, count in zip(skips, coarse_first, coarse_first[1:], blocks[::-1], strict=False)
        )
        # The stem mirrored: 7×7. What it sees is constant in 2×2 pixels (basic blocks) or 4×4 (bottlenecks, whose up
        # block has no 3×3 after its own upsampling); with 1×1 alone so would be the output.
        self.head = nn.Conv2d(64, outputs, 7, padding=3)

    def forward(self, x: Float[Tensor, "b c x y"]) -> Float[Tensor, "b o x y"]:
        """Return the image: `logits`, or their sigmoid in float32: in bfloat16 it has steps of 1/256 near 1."""
        logits = self.logits(x)
        if not self.ends_in_sigmoid:
            return logits
        return sloped_sigmoid(logits.float() if logits.dtype.itemsize < 4 else logits)

    def logits(self, x: Float[Tensor, "b c x y"]) -> Float[Tensor, "b o x y"]:
        """Return the last convolution's output: what a loss with logits takes (BCE, equation 2)."""
        if x.shape[-1] % STRIDE or x.shape[-2] % STRIDE:
            raise ValueError(f"in-plane size {tuple(x.shape[-2:])} is not a multiple of {STRIDE}")
        *skips, x = self.encoder(self.imagenet_input(x))
        for number, stage in enumerate(self.decoder):
            x = stage(torch.cat([x, skips[-number]], dim=1) if number else x)
        return self.head(twice(x))

    @override
    def begin_with(self, weights: Path) -> None:
        """Put a ResNet's weights into the encoder, as torchvision or timm store them (safetensors or a state dict)."""
        kept = {name: value for name, value in read_state(weights).items() if not name.startswith("fc.")}
        own = self.encoder.state_dict()
        # timm drops the counters of batches; nothing depends on them.
        missing = [name for name in own if name not in kept and not name.endswith("num_batches_tracked")]
        strange = [name for name in kept if name not in own]
        other = [name for name in kept if name in own and kept[name].shape != own[name].shape]
        for names, problem in (
            (missing, "it has no"),
            (strange, "the encoder has no"),
            (other, "sizes differ of"),
        ):
            if names:
                raise ModelError(
                    f"The weights {weights} do not fit the encoder: {problem} '{names[0]}'.",
                    found=f"{len(names)} of {len(own)} tensors that do not fit",
                    expected="a ResNet of the same depth and input channels, as torchvision or timm name its weights",
                    do="set the network's depth to that of the weights",
                )
        self.encoder.load_state_dict(kept, strict=False)

    def drawn_layers(self) -> Mapping[str, nn.Module]:
        """Return the encoder's last layer and the decoder's (Figure 9)."""
        return {"lowest": self.encoder.layer4, "last": self.decoder[-1]}

    @override
    def image_filters(self) -> Float[Tensor, "64 7 7"]:
        """Return the first layer's filters as they act on an image of values in [0, 1] that all inputs show alike.

        With `imagenet` each of the three channels is divided by its SD before the layer sees it.
        """
        seen = (
            self.imagenet_input.weight.sum(1) if isinstance(self.imagenet_input, ImageNetInput) else torch.ones(1, 1, 1)
        )
        return (self.encoder.conv1.weight * seen).sum(1).detach()


def sloped_sigmoid(logits: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the sigmoid, of which the backward pass takes the slope as LEAST_SLOPE at least.

    Behind it the gradient of PyTorch's binary cross entropy to the logit is p − t wherever the logit lies, as that of
    its form with logits. The plain sigmoid's is 0 where float32 has p = 1 (logits above 16.6) and fades below −27.6:
    a wrong pixel would stay wrong. Values, and gradients in between, are the plain sigmoid's to the bit.
    """
    p = torch.sigmoid(logits)
    if not logits.requires_grad:
        return p
    lacking = (LEAST_SLOPE - p * (1 - p)).clamp(min=0).detach()
    return p + lacking * (logits - logits.detach()).nan_to_num()  # adds 0, also to the p of an infinite logit


def _stage(skip: int, width: int, finer: int, count: int, bottleneck: bool) -> nn.Sequential:
    """Return U-CENTER or an UP of Table 1: `count` blocks, the last of them an up block."""
    block: Callable[[int, int], nn.Module] = Bottleneck if bottleneck else Basic
    up: Callable[[int, int], nn.Module] = UpBottleneck if bottleneck else UpBasic
    before = [width + skip, *[width] * (count - 2)]
    return nn.Sequential(*(block(inputs, width) for inputs in before), up(width, finer))
