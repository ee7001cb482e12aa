"""Augmentation of batches: what a scanner, a protocol or a patient's position could have changed; draw, then apply.

Background (the least value of the recipe's range) stays background. Intensities change contrast by contrast; contrasts
on one scale (`together`) share their gain, gamma and bias, the target among them where it is one of those. Geometry
moves inputs and target alike; noise and resolution change inputs alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mrsynth.recipes.sections import AugmentSettings

TERMS = {2: 5, 3: 9}
"""Coefficients of a bias field by the number of axes: linear, square and mixed terms."""


@dataclass(frozen=True)
class Draw:
    """What a batch was given, on the CPU.

    Attributes:
        gain: factor of each scale, (b, s).
        gamma: exponent, (b, s).
        bias: coefficients of the logarithm of the field, (b, s, terms).
        noise: standard deviation for each input as a fraction of the range, (b, c).
        resolution: how many voxels become one along each axis, for each input, (b, c).
        angle: of a rotation in rad: in the plane, or about x, y and z, (b, 1 or 3).
        zoom: factor of size, (b,).
        noise_seed: of the noise itself.
    """

    gain: Tensor
    gamma: Tensor
    bias: Tensor
    noise: Tensor
    resolution: Tensor
    angle: Tensor
    zoom: Tensor
    noise_seed: int


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of a recipe.

    Attributes:
        settings: how far each draw may go.
        inputs: the contrasts of the channels in order.
        target: the contrast that comes out.
        slices: channels of each input, those of its neighbouring slices.
        low: least value of the range, that of the background.
        high: greatest value of the range.
    """

    settings: AugmentSettings
    inputs: Sequence[str]
    target: str
    slices: int
    low: float
    high: float

    def __call__(self, inputs: Tensor, target: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """Return an augmented batch.

        Args:
            inputs: (b, c · slices, *space), float32.
            target: (b, 1, *space).
            seed: all that is random follows from it.
        """
        return self.apply(inputs, target, self.draw(len(inputs), inputs.dim() - 2, seed))

    def scales(self) -> list[int | None]:
        """Return the number of the scale on which each input, and last the target, lies: contrasts that stand
        `together` share one; None for a target that has none of the inputs' scales."""
        group = {name: tuple(names) for names in self.settings.together for name in names}
        keys = [group.get(name, (name,)) for name in self.inputs]
        known = list(dict.fromkeys(keys))
        target = group.get(self.target, (self.target,))
        return [*(known.index(key) for key in keys), known.index(target) if target in known else None]

    def draw(self, samples: int, axes: int, seed: int) -> Draw:
        """Draw what a batch is given.

        Args:
            samples: b.
            axes: 2 for slices, 3 for boxes.
            seed: of the draw.
        """
        random = torch.Generator().manual_seed(seed)
        s, scales, inputs = self.settings, len({n for n in self.scales() if n is not None}), len(self.inputs)

        def evenly(*shape: int) -> Tensor:
            return 2 * torch.rand(shape, generator=random) - 1

        return Draw(
            gain=(s.gain * evenly(samples, scales)).exp(),
            gamma=(s.gamma * evenly(samples, scales)).exp(),
            bias=s.bias * evenly(samples, scales, TERMS[axes]),
            noise=s.noise * torch.rand((samples, inputs), generator=random),
            resolution=1 + (s.resolution - 1) * torch.rand((samples, inputs), generator=random),
            angle=torch.deg2rad(s.rotate_deg * evenly(samples, 1 if axes == 2 else 3)),
            zoom=(s.zoom * evenly(samples)).exp(),
            noise_seed=int(torch.randint(2**62, (1,), generator=random)),
        )

    def apply(self, inputs: Tensor, target: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Return a batch as a draw says.

        Args:
            inputs: (b, c · slices, *space).
            target: (b, 1, *space).
            draw: what each sample is given.
        """
        s, width = self.settings, self.high - self.low
        both = (torch.cat([inputs, target], dim=1) - self.low) / width
        if s.rotate_deg or s.zoom:
            both = _moved(both, draw.angle, draw.zoom)
        parts = [*both[:, :-1].chunk(len(self.inputs), dim=1), both[:, -1:]]
        parts = [self._on_scale(x, draw, scale) for x, scale in zip(parts, self.scales(), strict=True)]
        images, true = torch.cat(parts[:-1], dim=1), parts[-1]
        if s.resolution > 1:
            coarse = draw.resolution.repeat_interleave(self.slices, dim=1)
            images = torch.stack([_coarser(x, c) for x, c in zip(images, coarse.tolist(), strict=True)])
        if s.noise:
            random = torch.Generator().manual_seed(draw.noise_seed)
            noise = torch.randn(images.shape, generator=random).to(images)
            sd = _spread(draw.noise.repeat_interleave(self.slices, dim=1), images)
            images = images + torch.where(images > 0, sd * noise, 0)
        return images * width + self.low, true * width + self.low

    def _on_scale(self, x: Tensor, draw: Draw, scale: int | None) -> Tensor:
        """Return images (b, n, *space) from 0 on with gain, gamma and bias of their scale."""
        if scale is None:
            return x
        if self.settings.gamma:
            x = x.sign() * x.abs() ** _spread(draw.gamma[:, scale, None], x)
        factor = _spread(draw.gain[:, scale, None], x)
        if self.settings.bias:
            factor = factor * bias_field(draw.bias[:, scale].to(x), x.shape[2:])
        return x * factor if self.settings.gain or self.settings.bias else x


def bias_field(coefficients: Float[Tensor, "b terms"], space: Sequence[int]) -> Float[Tensor, "b 1 *space"]:
    """Return smooth fields: exp of a polynomial of second order over [−1, 1] on each axis.

    Args:
        coefficients: of x, y (z), x², y² (z²), xy (xz, yz).
        space: voxels along each axis.
    """
    axes = torch.meshgrid(*(torch.linspace(-1, 1, n).to(coefficients) for n in space), indexing="ij")
    mixed = [a * b for k, a in enumerate(axes) for b in axes[k + 1 :]]
    terms = torch.stack([*axes, *(a * a for a in axes), *mixed])
    return torch.einsum("bt,t...->b...", coefficients, terms).exp()[:, None]


def _moved(
    x: Float[Tensor, "b c *space"], angle: Float[Tensor, "b r"], zoom: Float[Tensor, " b"]
) -> Float[Tensor, "b c *space"]:
    """Return images turned and scaled about their centre, linear, 0 from beyond the border."""
    size = torch.tensor(x.shape[2:][::-1], dtype=torch.float32)  # grid_sample counts axes from the last
    matrix = rotation(angle) / zoom[:, None, None]
    matrix = matrix * size[None, None, :] / size[None, :, None]  # from voxels to its units of half the image
    theta = torch.cat([matrix, torch.zeros(len(x), len(size), 1)], dim=2).to(x)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def rotation(angle: Float[Tensor, "b r"]) -> Float[Tensor, "b d d"]:
    """Return rotation matrices: in the plane of one angle, in space of three (about each axis in turn)."""
    cos, sin = angle.cos(), angle.sin()
    if angle.shape[1] == 1:
        return torch.stack([cos, -sin, sin, cos], dim=2).reshape(-1, 2, 2)
    total = torch.eye(3).expand(len(angle), 3, 3)
    for axis in range(3):
        turn = torch.eye(3).repeat(len(angle), 1, 1)
        i, j = (k for k in range(3) if k != axis)
        turn[:, i, i] = turn[:, j, j] = cos[:, axis]
        turn[:, i, j], turn[:, j, i] = -sin[:, axis], sin[:, axis]
        total = total @ turn
    return total


def _coarser(x: Float[Tensor, "c *space"], factors: Sequence[float]) -> Float[Tensor, "c *space"]:
    """Return images as scans with larger voxels would show them: means over factor voxels along each axis, brought back
    linearly. What was background stays it."""
    mode = "bilinear" if x.dim() == 3 else "trilinear"
    found = []
    for image, factor in zip(x, factors, strict=True):
        size = [max(1, round(n / factor)) for n in image.shape]
        pooled = functional.adaptive_avg_pool2d if image.dim() == 2 else functional.adaptive_avg_pool3d
        coarse = pooled(image[None, None], size)  # type: ignore[arg-type]
        fine = functional.interpolate(coarse, size=image.shape, mode=mode, align_corners=False)[0, 0]
        found.append(torch.where(image != 0, fine, 0))
    return torch.stack(found)


def _spread(values: Float[Tensor, "b n"], x: Tensor) -> Tensor:
    """Return numbers (b, n) so that they multiply images (b, n, *space)."""
    return values.to(x).reshape(*values.shape, *[1] * (x.dim() - 2))
