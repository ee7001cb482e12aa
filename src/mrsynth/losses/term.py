"""How a recipe names a loss: a plain function, or settings that build one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import Settings
from mrsynth.losses.pixel import Loss


class FeatureTraining(Settings):
    """How the network `small` is trained on the cohort (train/feature_task.py says what it learns).

    Attributes:
        steps, batch_size, learning_rate: of its training.
        crop: edge of the square that a slice is cut to, pixels.
        gain: brightness is multiplied by a factor between these, so that it does not tell the contrast and the network
            learns to look past it; [1, 1] leaves it.
        min_brain_fraction: slices whose brain covers at least this share of the slice are looked at.
        seed: of first weights, crops and changes.
    """

    steps: int = Field(default=600, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    crop: int = Field(default=64, ge=16)
    gain: tuple[PositiveFloat, PositiveFloat] = (0.7, 1.3)
    min_brain_fraction: float = Field(default=0.1, ge=0, le=1)
    seed: int = Field(default=0, ge=0)


class FeatureSettings(Settings):
    """Which feature network, up to which layer, and where its weights come from.

    Attributes:
        network: vgg16 or vgg19 as ImageNet trained them, or `small`, the same kind of network in miniature.
        layer: conv3_3, relu3_3, pool3 …
        weights: "cache" (PyTorch's own), "download" (into it, where they are not there), the path of a file, or
            "trained": on this cohort before the run, by `training`, and kept in the run.
        unit: the maps are divided by their mean absolute value on the cohort's training slices, so that a loss that
            sums them does not grow with the network's own scale (Oxford's VGG-16 has a mean of about 180 at relu3_3).
        training: how `small` is trained.
    """

    network: Literal["vgg16", "vgg19", "small"]
    layer: str = Field(pattern=r"^((conv|relu)[1-5]_[1-4]|pool[1-5])$")
    weights: str
    unit: bool = False
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


class LossTerm(Settings):
    """A loss with settings."""

    @abstractmethod
    def build(self, inputs: Sequence[str], features: FeatureSource | None) -> Loss:
        """Return the loss.

        Args:
            inputs: the contrasts of the network's channels in order.
            features: gives feature networks; None where losses are checked, but not computed.

        Raises:
            RecipeError: where the inputs lack what it needs.
        """


class FeatureTerm(LossTerm):
    """A loss on feature maps."""

    features: FeatureSettings

    def network(self, features: FeatureSource | None) -> Callable[[Tensor], Tensor]:
        """Return the feature network, or without a source one that refuses to be computed."""

        def refuse(_: Tensor) -> Tensor:
            raise RecipeError(
                f"A loss on {self.features.layer} of {self.features.network} has no feature network here.",
                do="train with mrsynth train, which gives it one",
            )

        return refuse if features is None else features(self.features)
