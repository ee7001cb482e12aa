"""The structural loss of chen2022 (§III-C): one minus the similarity of each slice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic import Field, field_validator
from torch import Tensor, nn
from typing_extensions import override

from mrsynth.core.tensors import Moments, Window, local_moments, ssim_from_moments, window_radius
from mrsynth.losses.float32 import in_float32
from mrsynth.losses.pixel import Loss
from mrsynth.losses.term import FeatureSource, LossTerm

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang, Simoncelli & Bovik 2003, Asilomar, §3.2)."""


class SliceSSIM(LossTerm):
    """Mean over slices of 1 − SSIM(prediction, target), each slice of the plane (x, y) for itself.

    Attributes:
        window: "gaussian" or "uniform". A slice's SSIM is the mean of the map without a border of one window radius:
            the very number that scikit-image returns.
        size: edge of a uniform window, voxels.
        sigma: standard deviation of a gaussian one, voxels: 11 taps for 1.5.
        multiscale: MS-SSIM over five scales instead, as the authors' public code has it.
        data_range: of the images, in their own units.
    """

    window: Window = "gaussian"
    size: int = Field(default=7, ge=3)
    sigma: float = Field(default=1.5, gt=0)
    data_range: float = Field(default=1.0, gt=0)
    multiscale: bool = False

    @field_validator("size")
    @classmethod
    def _odd(cls, size: int) -> int:
        if size % 2 == 0:
            raise ValueError("a window has an odd edge")
        return size

    @override
    def build(self, inputs: Sequence[str], features: FeatureSource | None) -> Loss:
        """Return the loss itself."""
        return self

    @in_float32
    def __call__(
        self,
        prediction: Float[Tensor, "b c *space"],
        target: Float[Tensor, "b c *space"],
        inputs: Tensor | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss of slices (b, c, x, y) or slabs (b, c, x, y, z); ValueError where no window fits."""
        x, y = _slices(prediction), _slices(target)
        border = window_radius(self.window, self.size, self.sigma)
        least = (2 * border + 1) * 2 ** (len(SCALES) - 1 if self.multiscale else 0)
        if min(x.shape[-2:]) < least:
            raise ValueError(f"slices of {tuple(x.shape[-2:])} voxels are too small for slice_ssim: at least {least}")
        similarity = self._multiscale(x, y) if self.multiscale else _mean(self._map(self._moments(x, y)), border)
        return 1 - similarity.mean()

    def _moments(self, x: Tensor, y: Tensor) -> Moments:
        return local_moments(x, y, window=self.window, size=self.size, sigma=self.sigma)

    def _map(self, moments: Moments) -> Tensor:
        return ssim_from_moments(moments, self.data_range)

    def _multiscale(self, x: Tensor, y: Tensor) -> Float[Tensor, "n c"]:
        """Return each slice's MS-SSIM: contrast and structure at every scale, luminance at the coarsest."""
        border = window_radius(self.window, self.size, self.sigma)
        product = torch.ones(x.shape[:2], dtype=x.dtype, device=x.device)
        for scale, exponent in enumerate(SCALES):
            moments = self._moments(x, y)
            last = scale == len(SCALES) - 1
            # Without luminance: the means set equal makes that factor one.
            still = moments if last else moments._replace(mean_x=moments.mean_x * 0, mean_y=moments.mean_y * 0)
            # A structure of opposite sign has no real power: it counts as none.
            product = product * _mean(self._map(still), border).clamp(min=1e-6) ** exponent
            x, y = nn.functional.avg_pool2d(x, 2), nn.functional.avg_pool2d(y, 2)
        return product


def _slices(image: Float[Tensor, "b c *space"]) -> Float[Tensor, "n c x y"]:
    """Return the axial slices of (b, c, x, y, z), or (b, c, x, y) as it is."""
    return image if image.ndim == 4 else image.movedim(-1, 1).flatten(0, 1)


def _mean(similarity: Float[Tensor, "n c x y"], border: int) -> Float[Tensor, "n c"]:
    """Return the mean of a map without its border: there the window hangs over the edge."""
    return similarity[..., border : similarity.shape[-2] - border, border : similarity.shape[-1] - border].mean(
        (-2, -1)
    )
