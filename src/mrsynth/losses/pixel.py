"""Pixel losses: mean squared and mean absolute error."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.errors import RecipeError
from mrsynth.settings import nearest

Loss = Callable[[Tensor, Tensor], Tensor]


def mse(prediction: Float[Tensor, "b *shape"], target: Float[Tensor, "b *shape"]) -> Float[Tensor, ""]:
    """Mean squared error over all voxels (osman2022 §2.4)."""
    return nn.functional.mse_loss(prediction, target)


def mae(prediction: Float[Tensor, "b *shape"], target: Float[Tensor, "b *shape"]) -> Float[Tensor, ""]:
    """Mean absolute error over all voxels (osman2022 tried it: inferior to MSE)."""
    return nn.functional.l1_loss(prediction, target)


LOSSES: Mapping[str, Loss] = {"mse": mse, "mae": mae}


def build_loss(weights: Mapping[str, float]) -> Loss:
    """Return the weighted sum of losses by name, e.g. {"mse": 1.0}; raises RecipeError that names the nearest loss."""
    for name in weights:
        if name not in LOSSES:
            raise RecipeError(
                f"Unknown loss '{name}'.", expected="one of " + ", ".join(LOSSES), do=nearest(name, list(LOSSES))
            )
    if not weights:
        raise RecipeError("The recipe names no loss.", expected="one or more of " + ", ".join(LOSSES))
    terms = [(LOSSES[name], float(weight)) for name, weight in weights.items()]

    def total(prediction: Tensor, target: Tensor) -> Tensor:
        """Return the weighted sum."""
        first, *rest = [weight * term(prediction, target) for term, weight in terms]
        for value in rest:
            first = first + value
        return first

    return total
