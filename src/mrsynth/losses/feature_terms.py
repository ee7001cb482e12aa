"""The losses that look through a feature network, as a recipe names them: settings, and what builds the loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from mrsynth.core.settings import Settings
from mrsynth.losses.contextual import Contextual
from mrsynth.losses.perceptual import Norm, Perceptual
from mrsynth.losses.pixel import Loss


class FeatureTraining(Settings):
    """How the network `small` is trained on the cohort (train/features.py says what it learns).

    crop: edge of the square that a slice is cut to, pixels. seed: of first weights, crops and changes.
    """

    steps: int = Field(default=600, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    crop: int = Field(default=64, ge=16)
    min_brain_fraction: float = Field(default=0.1, ge=0, le=1)
    seed: int = Field(default=0, ge=0)


class FeatureSettings(Settings):
    """Which feature network, up to which layer, and where its weights come from.

    network: vgg16 or vgg19 as ImageNet trained them, or `small`, the same kind of network in miniature. layer: conv3_3,
    relu3_3, pool3 … weights: "cache" (PyTorch's own), "download" (into it, where they are not there), the path of a
    file, or "trained": on this cohort before the run, by `training`, and kept in the run.
    """

    network: Literal["vgg16", "vgg19", "small"]
    layer: str = Field(pattern=r"^((conv|relu)[1-5]_[1-4]|pool[1-5])$")
    weights: str
    training: FeatureTraining = FeatureTraining()

    @model_validator(mode="after")
    def _weights_exist(self) -> FeatureSettings:
        if self.network == "small" and self.weights in ("cache", "download"):
            raise ValueError("`small` has no public weights: weights: trained, or a path")
        if self.network != "small" and self.weights == "trained":
            raise ValueError(f"{self.network} is too large to be trained on a cohort: network: small")
        return self


FeatureSource = Callable[[FeatureSettings], Callable[[Tensor], Tensor]]
"""Returns the frozen feature network of some settings: images (b, 1, …) → maps (n, f, u, v)."""


class FeatureTerm(Settings):
    """A loss on feature maps: its settings, complete only with a network."""

    features: FeatureSettings

    @abstractmethod
    def build(self, features: Callable[[Tensor], Tensor]) -> Loss:
        """Return the loss that looks through a feature network."""


class ContextualTerm(FeatureTerm):
    """li2022's contextual loss (losses/contextual.py); bandwidth and epsilon are the paper's."""

    bandwidth: float = Field(default=0.5, gt=0)
    epsilon: float = Field(default=1e-5, gt=0)

    def build(self, features: Callable[[Tensor], Tensor]) -> Loss:
        """Return −log CX of the feature maps."""
        return Contextual(features, self.bandwidth, self.epsilon)


class PerceptualTerm(FeatureTerm):
    """The distance of feature maps (losses/perceptual.py)."""

    norm: Norm = "l1"

    def build(self, features: Callable[[Tensor], Tensor]) -> Loss:
        """Return the mean distance of the feature maps."""
        return Perceptual(features, self.norm)
