"""What critic and generator lower in a game: Wasserstein with gradient penalty (pinetz2023, equation 1), and the patch
game of Pix2Pix, LA-GANs and MedGAN."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.losses.float32 import in_float32

SMALLEST_SQUARE = 1e-12
"""Added to the squared norm before its root: where the gradient vanishes, the penalty's own gradient stays finite."""


@in_float32
def critic_loss(real: Float[Tensor, " b"], fake: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Return what the critic lowers: mean score of the synthesized minus mean score of the real images (−L_GAN).

    Args:
        real: scores of real images.
        fake: scores of synthetic ones.
    """
    return fake.mean() - real.mean()


@in_float32
def generator_loss(fake: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Return what the generator lowers: minus the mean score of its images."""
    return -fake.mean()


def gradient_penalty(
    critic: Callable[..., Tensor],
    real: Sequence[Float[Tensor, "b ..."]],
    fake: Sequence[Float[Tensor, "b ..."]],
    alpha: Float[Tensor, " b"],
) -> Float[Tensor, ""]:
    """Return the mean of (‖∇critic‖₂ − 1)² at α·fake + (1 − α)·real (pinetz2023 §2.1; Gulrajani et al. 2017).

    The critic runs in float32 also under autocast: a penalty in half precision overflows or rounds to 0.

    Args:
        critic: the critic.
        real: its arguments in its order (image, condition images, metadata); all are interpolated with the one α of
            their sample, and the norm is that of the gradient with respect to all of them together.
        fake: the same with the synthetic image.
        alpha: drawn uniformly from [0, 1].
    """
    with torch.autocast(alpha.device.type, enabled=False), torch.enable_grad():
        points = [_between(r, f, alpha).requires_grad_() for r, f in zip(real, fake, strict=True)]
        gradients = torch.autograd.grad(critic(*points).sum(), points, create_graph=True)
        square = torch.stack([g.square().flatten(1).sum(1) for g in gradients]).sum(0)
        return ((square + SMALLEST_SQUARE).sqrt() - 1).square().mean()


def _between(
    real: Float[Tensor, "b ..."], fake: Float[Tensor, "b ..."], alpha: Float[Tensor, " b"]
) -> Float[Tensor, "b ..."]:
    weight = alpha.float().reshape(-1, *[1] * (real.ndim - 1))
    return weight * fake.detach().float() + (1 - weight) * real.detach().float()


@in_float32
def patch_critic_loss(real: Float[Tensor, "b 1 *patches"], fake: Float[Tensor, "b 1 *patches"]) -> Float[Tensor, ""]:
    """Mean cross entropy of telling real patches (1) from synthetic ones (0), halved (Isola et al. 2017, §3.3).

    Args:
        real: logits of real patches.
        fake: logits of synthetic ones.
    """
    return (_entropy(real, 1.0) + _entropy(fake, 0.0)) / 2


@in_float32
def patch_generator_loss(fake: Float[Tensor, "b 1 *patches"]) -> Float[Tensor, ""]:
    """Mean cross entropy of passing synthetic patches as real: it does not saturate (Goodfellow et al. 2014, §3)."""
    return _entropy(fake, 1.0)


def _entropy(logits: Tensor, label: float) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
