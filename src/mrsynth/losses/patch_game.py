"""The adversarial game of Pix2Pix, LA-GANs and MedGAN, on the logits of a patch discriminator."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.losses.float32 import in_float32


@in_float32
def patch_critic_loss(real: Float[Tensor, "b 1 *patches"], fake: Float[Tensor, "b 1 *patches"]) -> Float[Tensor, ""]:
    """Mean cross entropy of telling real patches (1) from synthetic ones (0), halved (Isola et al. 2017, §3.3)."""
    return (_entropy(real, 1.0) + _entropy(fake, 0.0)) / 2


@in_float32
def patch_generator_loss(fake: Float[Tensor, "b 1 *patches"]) -> Float[Tensor, ""]:
    """Mean cross entropy of passing synthetic patches as real: it does not saturate (Goodfellow et al. 2014, §3)."""
    return _entropy(fake, 1.0)


def _entropy(logits: Tensor, label: float) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))
