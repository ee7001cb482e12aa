"""Distances between the values of paired patches: exact 1-D Wasserstein-1, Gaussian Wasserstein-2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SolverName = Literal["exact", "gaussian"]
Solver = Callable[[Tensor, Tensor, Tensor], Tensor]

SMALLEST_VARIANCE = 1e-12
"""Added to a variance before its root: a constant patch has deviation 1e-6 and a finite gradient."""


def exact_w1(
    x: Float[Tensor, "p n"], y: Float[Tensor, "p n"], inside: Bool[Tensor, "p n"] | None = None
) -> Float[Tensor, " p"]:
    """Return the Wasserstein-1 distance of each pair of patches: the mean absolute difference of the sorted values.

    That is the solution of pinetz2023, equation 2, for equally many samples on a line (Villani 2003, remark 2.19).

    Args:
        x: p patches of n values.
        y: their partners.
        inside: voxels that count, the same of both patches (all by default); a patch without any has distance 0.
    """
    if inside is None:
        return (x.sort(dim=1).values - y.sort(dim=1).values).abs().mean(1)
    # Equal atoms in both distributions change no difference of their cumulative functions: outside is 0 in both.
    x, y = x * inside, y * inside
    apart = (x.sort(dim=1).values - y.sort(dim=1).values).abs().sum(1)
    return apart / inside.sum(1).clamp(min=1)


def gaussian_w2(
    x: Float[Tensor, "p n"], y: Float[Tensor, "p n"], inside: Bool[Tensor, "p n"] | None = None
) -> Float[Tensor, " p"]:
    """Return the squared Wasserstein-2 distance of the Gaussians with the patches' moments: (Δμ)² + (Δσ)², with
    population deviations (pinetz2023 §2.2).

    Args:
        x: p patches of n values.
        y: their partners.
        inside: as for exact_w1.
    """
    weight = torch.ones_like(x) if inside is None else inside.to(x.dtype)
    (mean_x, deviation_x), (mean_y, deviation_y) = _moments(x, weight), _moments(y, weight)
    return (mean_x - mean_y) ** 2 + (deviation_x - deviation_y) ** 2


SOLVERS: Mapping[SolverName, Callable[..., Tensor]] = {
    "exact": exact_w1,
    "gaussian": gaussian_w2,
}


def _moments(x: Float[Tensor, "p n"], weight: Float[Tensor, "p n"]) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    count = weight.sum(1).clamp(min=1)
    mean = (x * weight).sum(1) / count
    variance = ((x - mean[:, None]) ** 2 * weight).sum(1) / count
    return mean, (variance + SMALLEST_VARIANCE).sqrt()
