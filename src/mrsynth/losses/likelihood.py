"""Negative log-likelihoods of networks that also say how sure they are: a second channel, the log of a scale.

The scale is learned without a truth of its own (Kendall & Gal 2017, §3.1): where it is large an error counts less, and
saying so costs its logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mrsynth.losses.float32 import in_float32
from mrsynth.losses.pixel import Loss
from mrsynth.losses.term import FeatureSource, LossTerm

LOWEST_LOG_SCALE = -7.0
"""Log scales below count as this one, e^−7 = 0.0009 of a range [0, 1]. Background is known to the last digit, so that
without a floor its voxels would be rewarded without end."""


@in_float32
def laplace_nll(
    prediction: Float[Tensor, "b 1 *space"],
    log_scale: Float[Tensor, "b 1 *space"],
    target: Float[Tensor, "b 1 *space"],
    weights: Float[Tensor, "b #one *space"] | None = None,
    lowest: float = LOWEST_LOG_SCALE,
) -> Float[Tensor, ""]:
    """Return the mean of |t − p| / b + log 2b, b = e^log_scale: where b is 1, the mean absolute error plus log 2.

    Args:
        prediction: the medians p of the distributions.
        log_scale: the logarithm of their scales b; the standard deviation is √2 b.
        target: the true image t.
        weights: of each voxel, 0 or more, e.g. a mask; None for the same everywhere. Where all are 0 the loss is 0.
        lowest: log scales below count as this, without a gradient.
    """
    scale = log_scale.clamp(min=lowest)
    return _weighted_mean((target - prediction).abs() * (-scale).exp() + scale + math.log(2), weights)


@in_float32
def gaussian_nll(
    prediction: Float[Tensor, "b 1 *space"],
    log_scale: Float[Tensor, "b 1 *space"],
    target: Float[Tensor, "b 1 *space"],
    weights: Float[Tensor, "b #one *space"] | None = None,
    lowest: float = LOWEST_LOG_SCALE,
) -> Float[Tensor, ""]:
    """Return the mean of (t − p)² / 2σ² + log σ√(2π), σ = e^log_scale: where σ is 1, half the squared error plus 0.92.

    Args:
        prediction: the means p of the distributions.
        log_scale: the logarithm of their standard deviations σ.
        target: the true image t.
        weights: as in `laplace_nll`.
        lowest: as in `laplace_nll`.
    """
    scale = log_scale.clamp(min=lowest)
    squares = (target - prediction).square() * (-2 * scale).exp() / 2
    return _weighted_mean(squares + scale + math.log(2 * math.pi) / 2, weights)


def _weighted_mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """Return Σ w·v / Σ w over all voxels, 0 with gradient 0 where all weights are 0."""
    if weights is None:
        return values.mean()
    total = weights.sum()
    return (values * weights).sum() / total.where(total > 0, 1)


class Likelihood(LossTerm):
    """A negative log-likelihood as a term of a recipe; the network returns two channels: image, log scale.

    Attributes:
        within: the voxels that count: "image", all of them, or "head", those where an input or the target is not the
            background's 0.
        lowest: log scales below count as this.
    """

    TAKES_SCALE: ClassVar[bool] = True
    OF: ClassVar[Callable[..., Tensor]]

    within: Literal["image", "head"] = "image"
    lowest: float = Field(default=LOWEST_LOG_SCALE, ge=-20, le=0)

    def build(self, inputs: Sequence[str], features: FeatureSource | None) -> Loss:
        """Return the loss.

        Args:
            inputs: not looked at.
            features: not looked at.
        """
        return self

    def __call__(
        self,
        prediction: Float[Tensor, "b channels *space"],
        target: Float[Tensor, "b 1 *space"],
        inputs: Float[Tensor, "b c *space"],
    ) -> Float[Tensor, ""]:
        """Return the loss of image and log scale; ValueError where the network returns something else."""
        if prediction.shape[1] != 2:
            raise ValueError(
                f"{type(self).OF.__name__}: the network returns {prediction.shape[1]} channel(s), "
                "expected 2: image, log scale"
            )
        weights = None
        if self.within == "head":
            weights = ((target != 0) | (inputs != 0).any(dim=1, keepdim=True)).to(target.dtype)
        return type(self).OF(prediction[:, :1], prediction[:, 1:], target, weights, self.lowest)


class LaplaceNLL(Likelihood):
    """`laplace_nll` of the network's two channels."""

    OF = staticmethod(laplace_nll)


class GaussianNLL(Likelihood):
    """`gaussian_nll` of the network's two channels."""

    OF = staticmethod(gaussian_nll)
