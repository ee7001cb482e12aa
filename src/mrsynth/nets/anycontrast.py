"""One network for every subset of contrasts and every other one: a residual 2.5-D U-Net that begins at a simple rival.

It is told which images are there and which one to make by a channel beside each image, its role: 1 there, 0 not there,
−1 to be made. What it predicts is added to a simple rival, a function of the inputs' voxels (`nets.starts`; its numbers
are `mix`) that is fitted in seconds to the training cases; its last layer begins at zero, so that it starts *at* this
rival and can only learn from there. How much of what it adds is taken (`trust`, 1 in training) is found by
cross-validation, for each subset and target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mrsynth.nets.protocol import Network
from mrsynth.nets.starts import STARTS, StartName

STRETCH = 7.5
"""What the width of a prepared image's range is inside the network; a unit there is two spreads of the brain (recipe
anycontrast)."""

MIDDLE = 1 / 3
"""The brain's median in a prepared image (recipe anycontrast: `robust`, then a window from −5 to 10)."""

LEAST_LOG, MOST_LOG = -6.0, 3.0
"""Limits of the logarithm of the error's scale, in the network's units."""


class Modulated(nn.Module):
    """Two 3×3 convolutions around a shortcut, normalised in groups, scaled and shifted by what the network is told
    (FiLM: Perez et al., AAAI 2018)."""

    def __init__(self, before: int, width: int, told: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(before, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.norms = nn.ModuleList([nn.GroupNorm(8, width), nn.GroupNorm(8, width)])
        self.tell = nn.Linear(told, 2 * width)
        self.shortcut = nn.Conv2d(before, width, 1) if before != width else nn.Identity()
        _zero(self.tell)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Return the block's maps (b, width, u, v).

        Args:
            x: (b, before, u, v).
            told: (b, told).
        """
        scale, shift = self.tell(told)[:, :, None, None].chunk(2, dim=1)
        y = functional.silu(self.norms[0](self.first(x)) * (1 + scale) + shift)
        return functional.silu(self.norms[1](self.second(y)) + self.shortcut(x))


def _zero(layer: nn.Conv2d | nn.Linear) -> None:
    """Let a layer begin at zero: what it leads to is told nothing at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _through(level: nn.Module, x: Tensor, told: Tensor) -> Tensor:
    """Return what the blocks of a level make, one after the other."""
    for block in cast("Iterable[nn.Module]", level):
        x = block(x, told)
    return x


class AnyContrast(Network):
    """Any subset of contrasts → any other one, and the scale of its error.

    Channels come contrast by contrast: its slices, then as many of its role. The brain is where an image that is there
    is not background; elsewhere the image is 0. In evaluation the prediction is the mean with that of the mirrored
    head.

    Args:
        contrasts: how many.
        slices: of each, the middle one is predicted.
        widths: channels a level; the first at half the images' resolution (pixels are folded into channels).
        blocks: a level, on the way down and up.
        mirrored: whether evaluation averages with the mirrored head.
        start: the rival at which it begins.
    """

    first_weights = None
    brain_alone = True

    def __init__(
        self,
        contrasts: int = 4,
        slices: int = 3,
        widths: Sequence[int] = (32, 64, 96, 128),
        blocks: int = 1,
        mirrored: bool = True,
        start: StartName = "polynomial",
    ) -> None:
        super().__init__()
        self.contrasts, self.slices, self.mirrored = contrasts, slices, mirrored
        self.inputs = 2 * contrasts * slices
        self.stride = self.smallest = 2 ** len(widths)
        self.mix: Tensor
        self.trust: Tensor
        self.start = STARTS[start](contrasts)
        self.register_buffer("mix", torch.zeros(2**contrasts, contrasts, len(self.start.needs)))
        self.register_buffer("trust", torch.ones(2**contrasts, contrasts))
        told = 2 * contrasts
        self.enter = nn.Conv2d(4 * (contrasts * slices + 2), widths[0], 3, padding=1)
        self.down = nn.ModuleList(self._level(w, w, blocks, told) for w in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.widen = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(self._level(2 * w, w, blocks, told) for w in widths[:-1])
        self.leave = nn.Conv2d(widths[0], 8, 3, padding=1)
        _zero(self.leave)

    @staticmethod
    def _level(before: int, width: int, blocks: int, told: int) -> nn.ModuleList:
        return nn.ModuleList(Modulated(before if k == 0 else width, width, told) for k in range(blocks))

    def forward(self, x: Float[Tensor, "b c x y"]) -> Float[Tensor, "b 1 x y"]:
        """Return the image (b, 1, x, y) in the recipe's range, 0 outside the brain.

        Args:
            x: (b, 2 · contrasts · slices, x, y); x and y multiples of `stride`.
        """
        return self.image_and_error(x)[0]

    def image_and_error(self, x: Float[Tensor, "b c x y"]) -> tuple[Float[Tensor, "b 1 x y"], Float[Tensor, "b 1 x y"]]:
        """Return the image and the scale of its error (of a Laplace distribution), both in the recipe's range.

        Args:
            x: as `forward` takes it. In evaluation the scale also holds how far the two views lie apart.
        """
        rival, added, scale, apart, brain = self.parts(x)
        subset, target = self._task(x)
        trust = self.trust[subset, target].to(x.dtype)[:, None, None, None]
        return (rival + trust * added) * brain, (scale + trust * apart) * brain

    def take(self, share: float, given: Iterable[int], target: int) -> None:
        """Set how much is taken of what the network adds in a translation.

        Args:
            share: 0 for the start alone, 1 for all.
            given: the numbers of the contrasts that are there.
            target: that of the contrast that is made.
        """
        self.trust[sum(1 << number for number in given), target] = share

    def parts(self, x: Float[Tensor, "b c x y"]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return what an image and the scale of its error are made of, each (b, 1, x, y), in the recipe's range.

        Args:
            x: as `forward` takes it.

        Returns:
            The rival; what the network adds; the scale of the error; how far the two views of the head lie apart;
            the brain, 0 or 1.
        """
        rival, brain, added, scale = self._once(x)
        if self.training or not self.mirrored:
            return rival, added, scale, torch.zeros_like(added), brain
        _, _, other, other_scale = (seen.flip(2) for seen in self._once(x.flip(2)))
        return rival, (added + other) / 2, (scale + other_scale) / 2, (added - other).abs() / 2, brain

    def _once(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return rival, brain, what the network adds and the scale of the error from one view."""
        b, _, u, v = x.shape
        images, roles = x.reshape(b, self.contrasts, 2, self.slices, u, v).unbind(2)
        there, asked = self._told(roles)
        images = images * there[:, :, None, None, None]
        middle = images[:, :, self.slices // 2]
        brain = (middle.amax(dim=1, keepdim=True) > 0).to(x.dtype)
        values = (images - MIDDLE) * STRETCH * (images > 0)
        subset, target = self._task(x)
        rival = self.start.apply(self.mix[subset, target].to(x.dtype), values[:, :, self.slices // 2]) * brain
        told = torch.cat([there, asked], dim=1)
        residual, log_scale = self._network(torch.cat([values.flatten(1, 2), rival, brain], dim=1), told).chunk(2, 1)
        scale = log_scale.clamp(LEAST_LOG, MOST_LOG).exp() / STRETCH
        return rival / STRETCH + MIDDLE, brain, residual / STRETCH, scale

    @staticmethod
    def _told(roles: Tensor) -> tuple[Tensor, Tensor]:
        """Return which contrasts are there and which one is to be made, each (b, c), of roles (b, c, slices, u, v)."""
        # Slices are filled up with 0 where their size asks for it; so a role is what stands out anywhere.
        return (roles.amax(dim=(2, 3, 4)) > 0).to(roles.dtype), (roles.amin(dim=(2, 3, 4)) < 0).to(roles.dtype)

    def _task(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the number of the subset that is there and that of the target, each (b,)."""
        b, _, u, v = x.shape
        there, asked = self._told(x.reshape(b, self.contrasts, 2, self.slices, u, v)[:, :, 1])
        return (there * self._powers(there)).sum(1).long(), asked.argmax(1)

    def _powers(self, there: Tensor) -> Tensor:
        """Return 1, 2, 4 …: by their sum a subset is known."""
        return 2.0 ** torch.arange(self.contrasts, device=there.device, dtype=there.dtype)

    def _network(self, x: Tensor, told: Tensor) -> Tensor:
        """Return residual and logarithm of the scale (b, 2, x, y)."""
        x, skips = self.enter(functional.pixel_unshuffle(x, 2)), []
        for number, level in enumerate(self.down):
            x = _through(level, x, told)
            if number < len(self.shrink):
                skips.append(x)
                x = self.shrink[number](x)
        for number in reversed(range(len(self.up))):
            x = functional.interpolate(self.widen[number](x), scale_factor=2, mode="bilinear", align_corners=False)
            x = torch.cat([x, skips.pop()], dim=1)
            x = _through(self.up[number], x, told)
        return functional.pixel_shuffle(self.leave(x), 2)


class ErrorOf(Network):
    """What networks say of their own error, as a network of its own: for the error map beside an image.

    Of several, the mean of what each says and how far they lie apart (the mean absolute deviation from their mean).
    """

    first_weights = None
    brain_alone = True

    def __init__(self, *nets: AnyContrast) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)
        self.inputs, self.stride, self.smallest = nets[0].inputs, nets[0].stride, nets[0].smallest

    def forward(self, x: Float[Tensor, "b c x y"]) -> Float[Tensor, "b 1 x y"]:
        """Return the scale of the error (b, 1, x, y) in the recipe's range."""
        found = [cast("AnyContrast", net).image_and_error(x) for net in self.nets]
        images, scales = torch.stack([image for image, _ in found]), torch.stack([scale for _, scale in found])
        return scales.mean(0) + (images - images.mean(0)).abs().mean(0)
