"""Distances of feature maps: the perceptual loss (Johnson et al. 2016; pinetz2023 §3, pasumarthi2021), and MedGAN's
feature and style losses on a critic's activations (Armanious et al. 2020, §3.2–3.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from mrsynth.losses.float32 import in_float32
from mrsynth.losses.pixel import Loss
from mrsynth.losses.term import FeatureSource, FeatureTerm

Norm = Literal["l1", "l2"]


class Perceptual(nn.Module):
    """Mean absolute ("l1", pinetz2023) or mean squared ("l2", Johnson et al.) difference of feature maps.

    features: maps images (b, 1, …) to feature maps (n, f, u, v), e.g. VGG-16 up to relu3_3 (pinetz2023); what it
    expects of its input is its own affair. Freeze it before.
    """

    def __init__(self, features: Callable[[Tensor], Tensor], norm: Norm = "l1") -> None:
        super().__init__()
        self.features, self.norm = features, norm

    def forward(
        self, prediction: Float[Tensor, "b 1 *space"], target: Float[Tensor, "b 1 *space"], inputs: Tensor | None = None
    ) -> Float[Tensor, ""]:
        """Return the distance; 0 at a perfect match, the gradient goes to the prediction alone.

        Args:
            prediction: the network's image.
            target: the true image.
            inputs: not looked at.
        """
        synthetic = self.features(prediction)
        with torch.no_grad():
            real = self.features(target)
        return feature_distance(synthetic, real, self.norm)


@in_float32
def feature_distance(
    synthetic: Float[Tensor, "n f u v"], real: Float[Tensor, "n f u v"], norm: Norm
) -> Float[Tensor, ""]:
    """Return the mean distance over all points and features.

    Args:
        synthetic: maps of the prediction.
        real: maps of the target.
        norm: l1 or l2.
    """
    return DISTANCES[norm](synthetic, real)


DISTANCES: Mapping[Norm, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": nn.functional.l1_loss,
    "l2": nn.functional.mse_loss,
}


class PerceptualTerm(FeatureTerm):
    """The distance of feature maps."""

    norm: Norm = "l1"

    @override
    def build(self, inputs: Sequence[str], features: FeatureSource | None) -> Loss:
        """Return the mean distance of the feature maps."""
        return Perceptual(self.network(features), self.norm)


class Style(nn.Module):
    """`style_loss` of the maps of a feature network (MedGAN §3.3).

    features: maps images (b, 1, …) to feature maps (n, f, u, v).
    """

    def __init__(self, features: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.features = features

    def forward(
        self, prediction: Float[Tensor, "b 1 *space"], target: Float[Tensor, "b 1 *space"], inputs: Tensor | None = None
    ) -> Float[Tensor, ""]:
        """Return the difference of texture; the gradient goes to the prediction alone.

        Args:
            prediction: the network's image.
            target: the true image.
            inputs: not looked at.
        """
        with torch.no_grad():
            real = self.features(target)
        return style_loss([self.features(prediction)], [real])


class StyleTerm(FeatureTerm):
    """The difference of texture: which features occur together, not where."""

    def build(self, inputs: Sequence[str], features: FeatureSource | None) -> Loss:
        """Return the style loss of the feature maps.

        Args:
            inputs: not looked at.
            features: gives the feature network; None where the loss is checked, but not computed.
        """
        return Style(self.network(features))


Maps = Sequence[Tensor]
"""Activations, one (b, channels, *space) a layer. Those of the target are to be detached by the caller."""


@in_float32
def feature_loss(prediction: Maps, target: Maps) -> Float[Tensor, ""]:
    """Mean over layers of the mean absolute difference of the activations.

    Args:
        prediction: activations on the prediction.
        target: activations on the target.
    """
    _check(prediction, target)
    return torch.stack([(p - t).abs().mean() for p, t in zip(prediction, target, strict=True)]).mean()


@in_float32
def style_loss(prediction: Maps, target: Maps) -> Float[Tensor, ""]:
    """Mean over layers of ‖G(prediction) − G(target)‖² / (4 c²), G the Gram matrix of the c channels.

    It compares which textures occur, not where they are. The paper takes the maps of a VGG-19 trained on photographs.

    Args:
        prediction: activations on the prediction.
        target: activations on the target.
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
