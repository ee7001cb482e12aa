"""The table of losses that compare images: name → loss; a recipe's weighted sum of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import nearest, parse
from mrsynth.losses.contextual import ContextualTerm
from mrsynth.losses.enhancement import EnhancementMAE
from mrsynth.losses.likelihood import GaussianNLL, LaplaceNLL
from mrsynth.losses.noise import PatchWasserstein
from mrsynth.losses.perceptual import PerceptualTerm, StyleTerm
from mrsynth.losses.pixel import Loss, bce, mae, mse
from mrsynth.losses.structure import SliceSSIM
from mrsynth.losses.term import FeatureSource, LossTerm

Term = tuple[float, Loss]
"""A weight above 0 and the loss that it belongs to."""

LOSSES: dict[str, Loss | type[LossTerm]] = {
    "mse": mse,
    "mae": mae,
    "bce": bce,
    "slice_ssim": SliceSSIM,
    "enhancement_mae": EnhancementMAE,
    "contextual": ContextualTerm,
    "perceptual": PerceptualTerm,
    "style": StyleTerm,
    "patch_wasserstein": PatchWasserstein,
    "laplace_nll": LaplaceNLL,
    "gaussian_nll": GaussianNLL,
}
"""The table of losses: name → function, or the settings that build one."""


def build_loss(
    terms: Mapping[str, int | float | Mapping[str, Any]],
    inputs: Sequence[str] = (),
    features: FeatureSource | None = None,
) -> Loss:
    """Return the weighted sum of losses by name.

    Args:
        terms: {"mse": 1.0}, or a loss's settings beside its weight: {"mae": 1, "enhancement_mae": {"weight": 10,
            "delta": 0.1}}; a weight of 0 leaves the term out.
        inputs: the contrasts of the network's channels in order; enhancement_mae finds the native T1 among them.
        features: gives the networks that contextual and perceptual look through (train.feature_network); without it
            their settings are checked, but they cannot be computed.

    Raises:
        RecipeError: names the nearest loss or setting.
    """
    weighted = build_terms(terms, inputs, features)
    scaled = any(takes_scale(term) for _, term in weighted)

    def total(prediction: Tensor, target: Tensor, inputs: Tensor) -> Tensor:
        """Return the weighted sum.

        Args:
            prediction: the network's image; of a network that also returns a log scale, that is the second channel,
                which only the losses see that take it.
            target: the true image.
            inputs: the contrasts in the recipe's order, as they were before any of them was dropped.
        """
        image = prediction[:, :1] if scaled else prediction
        first, *rest = [
            weight * term(prediction if takes_scale(term) else image, target, inputs) for weight, term in weighted
        ]
        for value in rest:
            first = first + value
        return first

    return total


def takes_scale(loss: Loss) -> bool:
    """Say whether a loss looks at the log scale that some networks return beside the image."""
    return getattr(loss, "TAKES_SCALE", False)


def build_terms(
    terms: Mapping[str, int | float | Mapping[str, Any]],
    inputs: Sequence[str] = (),
    features: FeatureSource | None = None,
) -> list[Term]:
    """Return the losses of which `build_loss` makes the sum, each with its weight.

    Args:
        terms: as in `build_loss`.
        inputs: as in `build_loss`.
        features: as in `build_loss`.
    """
    weighted = [_term(name, spec, inputs, features) for name, spec in terms.items()]
    counted = [(weight, loss) for weight, loss in weighted if weight]
    if not counted:
        raise RecipeError("The recipe names no loss.", expected="one or more of " + ", ".join(LOSSES))
    return counted


def _term(
    name: str, spec: int | float | Mapping[str, Any], inputs: Sequence[str], features: FeatureSource | None
) -> Term:
    """Return the weight and the loss of one entry."""
    if name not in LOSSES:
        raise RecipeError(
            f"Unknown loss '{name}'.", expected="one of " + ", ".join(LOSSES), do=nearest(name, list(LOSSES))
        )
    settings = dict(spec) if isinstance(spec, Mapping) else {"weight": spec}
    weight = settings.pop("weight", None)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
        raise RecipeError(f"Loss {name}: its weight is not a number of 0 or more.", found=weight)
    entry = LOSSES[name]
    if isinstance(entry, type):
        term: LossTerm = parse(entry, settings, f"loss {name}")
        return float(weight), term.build(inputs, features if weight else None)
    if settings:
        raise RecipeError(f"Loss {name} has no settings.", found=", ".join(settings), expected="a weight alone")
    return float(weight), entry
