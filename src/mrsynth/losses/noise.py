"""The noise-preserving loss of pinetz2023 (§2.2): Wasserstein distance of the values in paired patches."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from mrsynth.losses.float32 import in_float32
from mrsynth.losses.pixel import Loss
from mrsynth.losses.term import FeatureSource, LossTerm
from mrsynth.losses.wasserstein import SOLVERS, SolverName

Offset = tuple[int, ...]
POOLS = {2: nn.functional.avg_pool2d, 3: nn.functional.avg_pool3d}


class PatchWasserstein(LossTerm):
    """Distance between the distributions of values in patches at equal places, over one or several scales.

    Within a patch the place of a value is free: a patch whose noise has the right strength costs little, a smooth one
    costs its missing deviation.

    Attributes:
        patch: edge in voxels.
        solver: exact (sorted values), gaussian ((Δμ)² + (Δσ)²).
        reduction: "sum" adds the patches of a sample and averages over the batch, as the paper writes it; "mean"
            averages over all patches of a scale. Scales are added in both.
    """

    patch: int = Field(default=4, ge=1)
    solver: SolverName = "exact"
    reduction: Literal["sum", "mean"] = "sum"

    @override
    def build(self, inputs: Sequence[str], features: FeatureSource | None) -> Loss:
        """Return the loss itself."""
        return self

    def draw_offsets(self, draw: np.random.Generator, scales: int = 1, dimensions: int = 3) -> list[Offset]:
        """Draw where the patch grid starts, one place a scale, from {0, …, ⌈patch/2⌉} along each axis.

        Args:
            draw: the generator.
            scales: of the prediction.
            dimensions: 2 or 3.
        """
        places = draw.integers(0, -(-self.patch // 2) + 1, size=(scales, dimensions))
        return [tuple(int(start) for start in place) for place in places]

    def __call__(
        self,
        prediction: Float[Tensor, "b c *space"] | Sequence[Tensor],
        target: Float[Tensor, "b c *space"],
        inputs: Tensor | None = None,
        *,
        offsets: Sequence[Offset] | None = None,
        mask: Bool[Tensor, "b #c *space"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of 2-D or 3-D images, in float32 at least.

        prediction: an image, or one a scale, finest first; scale k has the target's shape divided by 2^k, rounded up,
        and is held against the target's means over 2^k voxels along each axis. offsets: where each scale's patch grid
        starts (draw_offsets); left out, at the corner. mask: voxels that count, at coarser scales those at least half
        inside; a patch weighs as the share of it that counts. inputs: not looked at.
        Raises ValueError for shapes that do not fit.
        """
        scales = [prediction] if isinstance(prediction, Tensor) else list(prediction)
        starts = [(0,) * (target.ndim - 2)] * len(scales) if offsets is None else list(offsets)
        if len(starts) != len(scales):
            raise ValueError(f"one offset a scale: {len(scales)} scales, {len(starts)} offsets")
        terms = [
            self._at_scale(image, target, mask, k, start)
            for k, (image, start) in enumerate(zip(scales, starts, strict=True))
        ]
        return torch.stack(terms).sum()

    @in_float32
    def _at_scale(
        self, x: Tensor, target: Tensor, mask: Tensor | None, scale: int, start: Sequence[int]
    ) -> Float[Tensor, ""]:
        y, solve = at_scale(target, scale), SOLVERS[self.solver]
        if x.shape != y.shape:
            raise ValueError(f"the prediction is {tuple(x.shape)}, the target at its scale {tuple(y.shape)}")
        a, b = patches(x, self.patch, start), patches(y, self.patch, start)
        if mask is None:
            distance = solve(a, b)
            return distance.mean() if self.reduction == "mean" else distance.sum() / len(x)
        counts = at_scale(mask.to(x.dtype), scale) >= 0.5
        inside = patches(counts.expand_as(x), self.patch, start)
        share = inside.to(a.dtype).mean(1)
        a, b = (values.masked_fill(~inside, 0) for values in (a, b))  # whatever is there, not a number too
        distance = solve(a, b, inside) * share
        return distance.sum() / (share.sum().clamp(min=1) if self.reduction == "mean" else len(x))


def patches(x: Tensor, edge: int, start: Sequence[int]) -> Tensor:
    """Return the patches of edge^d voxels of (b, c, *space) as rows (patch, voxel), without overlap.

    The grid starts at `start`, the image repeats periodically beyond its borders (pinetz2023 §2.2).

    Args:
        x: (b, c, *space).
        edge: of a patch, voxels.
        start: first voxel along each axis.
    """
    for axis, first in enumerate(start, start=2):
        size = x.shape[axis]
        covered = -(-size // edge) * edge
        if first % size or covered != size:
            x = x.index_select(axis, (torch.arange(covered, device=x.device) + first) % size)
    dimensions = x.ndim - 2
    cut = x.reshape(*x.shape[:2], *itertools.chain.from_iterable((size // edge, edge) for size in x.shape[2:]))
    outer, inner = ([2 + 2 * d + part for d in range(dimensions)] for part in (0, 1))
    return cut.permute(0, 1, *outer, *inner).reshape(-1, edge**dimensions)


def at_scale(x: Float[Tensor, "b c *space"], scale: int) -> Float[Tensor, "b c *coarse"]:
    """Return means over 2^scale voxels along each axis; sizes round up, a border mean is over the voxels there are.

    Args:
        x: images.
        scale: 0 is the finest.
    """
    if scale == 0:
        return x
    return POOLS[x.ndim - 2](x, 2**scale, ceil_mode=True, count_include_pad=False)
