"""The local loss of chen2022 (§III-C): the error where the contrast agent shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from typing_extensions import override

from mrsynth.core.errors import RecipeError
from mrsynth.core.tensors import masked_mean
from mrsynth.losses.float32 import in_float32
from mrsynth.losses.pixel import Loss
from mrsynth.losses.term import FeatureSource, LossTerm


class EnhancementMAE(LossTerm):
    """Mean absolute error on M = [target − native > δ].

    Attributes:
        delta: δ, a fraction of the range [0, 1].
        channel: which input is the native T1; null for that of this name, the first where nobody names them.
        mean: over "image" (all voxels, as the paper's equation, whose norm is the one of its MAE: a voxel of M counts 1
            + λ3/λ1 times) or "mask" (the voxels of M: a small tumour weighs as much as a large one). An empty mask
            gives 0 with gradient 0.
        max_difference: voxels whose difference is larger are left out, as in the authors' public code; off by default.
        max_pixels: slices (x, y) whose mask has more pixels are left out, as in their code; off by default.
    """

    delta: float = Field(default=0.1, gt=0, lt=1)
    channel: int | None = Field(default=None, ge=0)
    mean: Literal["image", "mask"] = "image"
    max_difference: float | None = Field(default=None, gt=0)
    max_pixels: int | None = Field(default=None, ge=1)

    @override
    def build(self, inputs: Sequence[str], features: FeatureSource | None) -> Loss:
        """Return the loss, told which channel the native T1 is."""
        if self.channel is not None:
            return self
        if "t1" not in inputs:
            raise RecipeError(
                "Loss enhancement_mae needs the native T1 among the inputs.",
                found=", ".join(inputs) or "no names of inputs",
                expected="t1",
            )
        return self.model_copy(update={"channel": list(inputs).index("t1")})

    def mask(
        self, target: Float[Tensor, "b 1 *space"], inputs: Float[Tensor, "b c *space"]
    ) -> Bool[Tensor, "b 1 *space"]:
        """Return M; ValueError where the inputs have no such channel.

        Args:
            target: the true image.
            inputs: the contrasts, native T1 among them.
        """
        channel = self.channel or 0
        if channel >= inputs.shape[1]:
            raise ValueError(f"enhancement_mae: channel {channel} of {inputs.shape[1]} inputs")
        difference = target - inputs[:, channel : channel + 1]
        mask = difference > self.delta
        if self.max_difference is not None:
            mask = mask & (difference <= self.max_difference)
        if self.max_pixels is not None:
            mask = mask & (mask.sum((2, 3), keepdim=True) <= self.max_pixels)
        return mask

    @in_float32
    def __call__(
        self,
        prediction: Float[Tensor, "b 1 *space"],
        target: Float[Tensor, "b 1 *space"],
        inputs: Float[Tensor, "b c *space"],
    ) -> Float[Tensor, ""]:
        """Return the loss of slices (b, 1, x, y) or volumes (b, 1, x, y, z)."""
        error, mask = (prediction - target).abs(), self.mask(target, inputs)
        return masked_mean(error, mask).mean() if self.mean == "mask" else (error * mask).mean()
