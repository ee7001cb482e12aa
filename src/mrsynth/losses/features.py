"""MedGAN's feature and style losses (Armanious et al. 2020, §3.2–3.3) on the activations of a discriminator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mrsynth.losses.float32 import in_float32

Maps = Sequence[Tensor]
"""Activations, one (b, channels, *space) a layer. Those of the target are to be detached by the caller."""


@in_float32
def feature_loss(prediction: Maps, target: Maps) -> Float[Tensor, ""]:
    """Mean over layers of the mean absolute difference of the activations."""
    _check(prediction, target)
    return torch.stack([(p - t).abs().mean() for p, t in zip(prediction, target, strict=True)]).mean()


@in_float32
def style_loss(prediction: Maps, target: Maps) -> Float[Tensor, ""]:
    """Mean over layers of ‖G(prediction) − G(target)‖² / (4 c²), G the Gram matrix of the c channels.

    It compares which textures occur, not where they are. The paper takes the maps of a VGG-19 trained on photographs.
    """
    _check(prediction, target)
    layers = []
    for p, t in zip(prediction, target, strict=True):
        difference = gram(p) - gram(t)
        layers.append((difference * difference).sum((1, 2)).mean() / (4 * p.shape[1] ** 2))
    return torch.stack(layers).mean()


def gram(maps: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c c"]:
    """Return the channels' inner products, divided by the number of voxels."""
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def _check(prediction: Maps, target: Maps) -> None:
    if not prediction or [p.shape for p in prediction] != [t.shape for t in target]:
        raise ValueError(
            f"activations of {[tuple(p.shape) for p in prediction]} and {[tuple(t.shape) for t in target]}"
        )
