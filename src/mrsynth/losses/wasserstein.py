"""Distances between the values of paired patches: exact and proximal 1-D Wasserstein-1, Gaussian Wasserstein-2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mrsynth.losses.known_gradient import with_gradient

SolverName = Literal["exact", "ipot", "gaussian"]
Solver = Callable[[Tensor, Tensor, Tensor], Tensor]

SMALLEST_VARIANCE = 1e-12
"""Added to a variance before its root: a constant patch has deviation 1e-6 and a finite gradient."""


def exact_w1(
    x: Float[Tensor, "p n"], y: Float[Tensor, "p n"], inside: Bool[Tensor, "p n"] | None = None
) -> Float[Tensor, " p"]:
    """Return the Wasserstein-1 distance of each pair of patches: the mean absolute difference of the sorted values.

    That is the solution of pinetz2023, equation 2, for equally many samples on a line (Villani 2003, remark 2.19).
    inside: voxels that count, the same of both patches (all by default); a patch without any has distance 0.
    """
    if inside is None:
        return (x.sort(dim=1).values - y.sort(dim=1).values).abs().mean(1)
    # Equal atoms in both distributions change no difference of their cumulative functions: outside is 0 in both.
    x, y = x * inside, y * inside
    apart = (x.sort(dim=1).values - y.sort(dim=1).values).abs().sum(1)
    return apart / inside.sum(1).clamp(min=1)


def proximal_w1(
    x: Float[Tensor, "p n"],
    y: Float[Tensor, "p n"],
    inside: Bool[Tensor, "p n"] | None = None,
    *,
    iterations: int = 100,
    regularisation: float = 0.1,
    chunk: int = 512,
) -> Float[Tensor, " p"]:
    """Return the Wasserstein-1 distance by the inexact proximal point algorithm (Xie et al. 2020, algorithm 1).

    pinetz2023, supplement: 100 iterations, ε = max(C)/10 of each pair. The transport plan is a constant for the
    gradient (envelope theorem); `chunk` pairs at a time hold their n×n matrices, none of which stays for the backward.
    inside: as for exact_w1.
    """
    values, slopes_x, slopes_y = [], [], []
    with torch.no_grad():
        for start in range(0, len(x), chunk):
            part = slice(start, start + chunk)
            weight = torch.ones_like(x[part]) if inside is None else inside[part].to(x.dtype)
            difference = x[part, :, None] - y[part, None, :]
            plan = _proximal_plan(difference.abs(), weight, iterations, regularisation)
            values.append((plan * difference.abs()).sum((1, 2)))
            pull = plan * difference.sign()
            slopes_x.append(pull.sum(2))
            slopes_y.append(-pull.sum(1))
    return with_gradient(torch.cat(values), (x, torch.cat(slopes_x)), (y, torch.cat(slopes_y)))


def gaussian_w2(
    x: Float[Tensor, "p n"], y: Float[Tensor, "p n"], inside: Bool[Tensor, "p n"] | None = None
) -> Float[Tensor, " p"]:
    """Return the squared Wasserstein-2 distance of the Gaussians with the patches' moments: (Δμ)² + (Δσ)².

    pinetz2023 §2.2. Population deviations; inside: as for exact_w1.
    """
    weight = torch.ones_like(x) if inside is None else inside.to(x.dtype)
    (mean_x, deviation_x), (mean_y, deviation_y) = _moments(x, weight), _moments(y, weight)
    return (mean_x - mean_y) ** 2 + (deviation_x - deviation_y) ** 2


SOLVERS: Mapping[SolverName, Callable[..., Tensor]] = {
    "exact": exact_w1,
    "ipot": proximal_w1,
    "gaussian": gaussian_w2,
}


def _proximal_plan(
    cost: Float[Tensor, "p n n"], weight: Float[Tensor, "p n"], iterations: int, regularisation: float
) -> Float[Tensor, "p n n"]:
    """Return the transport plan; both marginals are the weight, scaled to 1 (to 0 where no voxel counts)."""
    marginal = (weight / weight.sum(1, keepdim=True).clamp(min=1))[:, :, None]
    largest = (cost * weight[:, :, None] * weight[:, None, :]).amax((1, 2), keepdim=True)
    tiny = torch.finfo(cost.dtype).tiny  # equal constant patches: every cost is 0, and so must be the exponent
    kernel = torch.exp(-cost / (regularisation * largest).clamp(min=tiny))
    right = marginal
    plan = torch.ones_like(cost)
    for _ in range(iterations):
        plan *= kernel
        left = marginal / (plan @ right).clamp(min=tiny)
        right = marginal / (plan.mT @ left).clamp(min=tiny)
        plan *= left
        plan *= right.mT
    return plan


def _moments(x: Float[Tensor, "p n"], weight: Float[Tensor, "p n"]) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    count = weight.sum(1).clamp(min=1)
    mean = (x * weight).sum(1) / count
    variance = ((x - mean[:, None]) ** 2 * weight).sum(1) / count
    return mean, (variance + SMALLEST_VARIANCE).sqrt()
