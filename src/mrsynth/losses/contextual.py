"""The contextual loss of li2022 (equations 3–8; Mechrez et al. 2018), tiled so that large feature maps fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from mrsynth.losses.float32 import in_float32
from mrsynth.losses.pixel import Loss
from mrsynth.losses.term import FeatureSource, FeatureTerm

TILE = 2**22
"""Pairs of feature points in memory at once: 16 MiB in float32, a few times that on the way."""

ROUNDING = 1e-6
"""A point nearer to the mean than this share of the mean's length has no direction, only rounding."""


class Contextual(nn.Module):
    """−log CX of the features of prediction and target.

    features: maps images (b, c, …) to feature maps (n, f, …), e.g. VGG-19 up to conv5_4 (the paper's) or a feature
    network trained here; what it expects of its input (channels, mean and deviation) is its own affair. As a module it
    moves with the loss; freeze it before. bandwidth h = 0.5 and epsilon = 1e-5 are the paper's (equations 4, 5).
    tile: pairs of points held at once; memory is linear in the points, the value does not depend on it.
    """

    def __init__(
        self,
        features: Callable[[Tensor], Tensor],
        bandwidth: float = 0.5,
        epsilon: float = 1e-5,
        tile: int = TILE,
    ) -> None:
        super().__init__()
        self.features, self.bandwidth, self.epsilon, self.tile = features, bandwidth, epsilon, tile

    def forward(
        self, prediction: Float[Tensor, "b c *space"], target: Float[Tensor, "b c *space"], inputs: Tensor | None = None
    ) -> Float[Tensor, ""]:
        """Return the mean over the batch; the gradient goes to the prediction alone.

        A perfect match, in any order of the points, costs 0 where no two points of the target are equal. Equal points
        share the similarity: a target against itself costs 0.69 where half of it is constant.

        Args:
            prediction: the network's image.
            target: the true image.
            inputs: not looked at.
        """
        synthetic = self.features(prediction)
        with torch.no_grad():
            real = self.features(target)
        return contextual(synthetic, real, self.bandwidth, self.epsilon, self.tile)


class ContextualTerm(FeatureTerm):
    """li2022's contextual loss.

    Attributes:
        bandwidth, epsilon: h of equation 5 and ε of equation 4; the defaults are the paper's.
    """

    bandwidth: float = Field(default=0.5, gt=0)
    epsilon: float = Field(default=1e-5, gt=0)

    @override
    def build(self, inputs: Sequence[str], features: FeatureSource | None) -> Loss:
        """Return −log CX of the feature maps."""
        return Contextual(self.network(features), self.bandwidth, self.epsilon)


def contextual(
    synthetic: Float[Tensor, "b f *space"],
    real: Float[Tensor, "b f *other"],
    bandwidth: float = 0.5,
    epsilon: float = 1e-5,
    tile: int = TILE,
) -> Float[Tensor, ""]:
    """Return the contextual loss of feature maps, mean over the batch; see Contextual.

    Args:
        synthetic: feature maps of the prediction.
        real: feature maps of the target.
        bandwidth: h of equation 5.
        epsilon: of equation 4.
        tile: pairs of points held at once.
    """
    similarity = Similarity(bandwidth, epsilon, max(1, tile // real[0, 0].numel()))
    pairs = zip(synthetic.flatten(2).mT, real.flatten(2).mT, strict=True)
    return torch.stack([_loss(s, r, similarity) for s, r in pairs]).mean()


@in_float32
def _loss(s: Float[Tensor, "n f"], r: Float[Tensor, "m f"], similarity: Similarity) -> Float[Tensor, ""]:
    """Return −log CX of one sample's points (equation 8)."""
    mean = r.mean(0)
    return -similarity.mean_of_best(_directions(s - mean, mean), _directions(r - mean, mean)).log()


class Similarity:
    """Equations 4 to 7 for unit vectors s (n, f) and r (m, f), `rows` of s at a time."""

    def __init__(self, bandwidth: float, epsilon: float, rows: int) -> None:
        self.bandwidth, self.epsilon, self.rows = bandwidth, epsilon, rows

    def of(self, s: Float[Tensor, "n f"], r: Float[Tensor, "m f"]) -> Float[Tensor, "n m"]:
        """Return CX_ij of equation 6, whole rows.

        With the cosines c = 1 − d (equation 3), (1 − d̃)/h of equations 4 and 5 is c / (h (min d + ε)) plus a constant
        of the row, which equation 6, a softmax, does not see.

        Args:
            s: n directions.
            r: m directions.
        """
        cosine = s @ r.T
        nearest = (1 - cosine.max(dim=1, keepdim=True).values).clamp(min=0)  # below 0 is rounding
        sharpness = 1 / (self.bandwidth * (nearest + self.epsilon))
        return (cosine * sharpness).softmax(dim=1)

    def mean_of_best(self, s: Float[Tensor, "n f"], r: Float[Tensor, "m f"]) -> Float[Tensor, ""]:
        """Return CX of equation 7: the mean over j of max_i CX_ij.

        Args:
            s: n directions.
            r: m directions.
        """
        best, row = self._best(s.detach(), r.detach())
        if not torch.is_grad_enabled() or not (s.requires_grad or r.requires_grad):
            return best.mean()
        total = best.sum()[None]
        slope_s, slope_r = self._slopes(s.detach(), r.detach(), row, r.requires_grad)
        return (with_gradient(total, (s[None], slope_s[None]), (r[None], slope_r[None])) / len(r)).squeeze(0)

    @torch.no_grad()
    def _best(self, s: Float[Tensor, "n f"], r: Float[Tensor, "m f"]) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
        """Return the largest CX_ij of each j and its row i."""
        best, row = torch.full_like(r[:, 0], -1), torch.zeros(len(r), dtype=torch.long, device=r.device)
        for start in range(0, len(s), self.rows):
            value, where = self.of(s[start : start + self.rows], r).max(dim=0)
            better = value > best
            best = torch.where(better, value, best)
            row = torch.where(better, where + start, row)
        return best, row

    def _slopes(
        self, s: Float[Tensor, "n f"], r: Float[Tensor, "m f"], row: Int[Tensor, " m"], for_r: bool
    ) -> tuple[Float[Tensor, "n f"], Float[Tensor, "m f"]]:
        """Return the derivatives of Σ_j CX_{row(j) j}, a tile at a time, computed anew for the rows that are a best."""
        slope_s, slope_r = torch.zeros_like(s), torch.zeros_like(r)
        used, place = torch.unique(row, return_inverse=True)
        column = place.argsort()
        ends = torch.searchsorted(place[column], torch.arange(0, len(used) + self.rows, self.rows, device=s.device))
        for tile, start in enumerate(range(0, len(used), self.rows)):
            rows, mine = used[start : start + self.rows], column[ends[tile] : ends[tile + 1]]
            with torch.enable_grad():
                points = [s[rows].requires_grad_(), r.requires_grad_(for_r)]
                chosen = self.of(points[0], points[1])[place[mine] - start, mine].sum()
                slopes = torch.autograd.grad(chosen, points if for_r else points[:1])
            slope_s[rows] = slopes[0]
            slope_r += slopes[1] if for_r else 0
        return slope_s, slope_r


def _directions(x: Float[Tensor, "n f"], mean: Float[Tensor, " f"]) -> Float[Tensor, "n f"]:
    """Return x divided by its length; a point at the mean has no direction: 0, with gradient 0."""
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    somewhere = length > ROUNDING * torch.linalg.vector_norm(mean)
    return torch.where(somewhere, x, 0) / torch.where(somewhere, length, 1)


def with_gradient(
    value: Float[Tensor, " p"], *known: tuple[Float[Tensor, "p ..."], Float[Tensor, "p ..."]]
) -> Float[Tensor, " p"]:
    """Return values that backpropagate first derivatives which were computed on the way: nothing else is kept for the
    backward pass.

    Args:
        value: p values.
        known: pairs (input, derivative of value[i] with respect to input[i]). Second derivatives are taken as zero.
    """
    for x, derivative in known:
        if x.requires_grad:
            value = value + ((x - x.detach()) * derivative).flatten(1).sum(1)
    return value
