"""The table of losses that compare images: name → loss; a recipe's weighted sum of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import nearest, parse
from mrsynth.losses.enhancement import EnhancementMAE
from mrsynth.losses.entropy import bce
from mrsynth.losses.feature_terms import ContextualTerm, FeatureSource, FeatureTerm, PerceptualTerm
from mrsynth.losses.noise import PatchWasserstein
from mrsynth.losses.pixel import Loss, mae, mse
from mrsynth.losses.structure import SliceSSIM

Term = tuple[float, Loss]
"""A weight above 0 and the loss that it belongs to."""

LOSSES: Mapping[str, Loss | type[SliceSSIM] | type[EnhancementMAE] | type[FeatureTerm] | type[PatchWasserstein]] = {
    "mse": mse,
    "mae": mae,
    "bce": bce,
    "slice_ssim": SliceSSIM,
    "enhancement_mae": EnhancementMAE,
    "contextual": ContextualTerm,
    "perceptual": PerceptualTerm,
    "patch_wasserstein": PatchWasserstein,
}


def build_loss(
    terms: Mapping[str, int | float | Mapping[str, Any]],
    inputs: Sequence[str] = (),
    features: FeatureSource | None = None,
) -> Loss:
    """Return the weighted sum of losses by name.

    terms: {"mse": 1.0}, or a loss's settings beside its weight: {"mae": 1, "enhancement_mae": {"weight": 10, "delta":
    0.1}}; a weight of 0 leaves the term out. inputs: the contrasts of the network's channels in order; enhancement_mae
    finds the native T1 among them. features: gives the networks that contextual and perceptual look through
    (train.features.feature_source); without it their settings are checked, but they cannot be computed. Raises
    RecipeError that names the nearest loss or setting.
    """
    weighted = build_terms(terms, inputs, features)

    def total(prediction: Tensor, target: Tensor, inputs: Tensor) -> Tensor:
        """Return the weighted sum."""
        first, *rest = [weight * term(prediction, target, inputs) for weight, term in weighted]
        for value in rest:
            first = first + value
        return first

    return total


def build_terms(
    terms: Mapping[str, int | float | Mapping[str, Any]],
    inputs: Sequence[str] = (),
    features: FeatureSource | None = None,
) -> list[Term]:
    """Return the losses of which `build_loss` makes the sum, each with its weight."""
    weighted: list[Term] = []
    for name, spec in terms.items():
        weight, term = _term(name, spec, inputs)
        if weight:
            weighted.append((weight, _with_features(name, term, features) if isinstance(term, FeatureTerm) else term))
    if not weighted:
        raise RecipeError("The recipe names no loss.", expected="one or more of " + ", ".join(LOSSES))
    return weighted


def _with_features(name: str, term: FeatureTerm, features: FeatureSource | None) -> Loss:
    """Return a feature loss with its network, or one that refuses to be computed."""

    def refuse(_: Tensor) -> Tensor:
        raise RecipeError(
            f"Loss {name} has no feature network here.", do="train with mrsynth train, which gives it one"
        )

    return term.build(refuse if features is None else features(term.features))


def _term(name: str, spec: int | float | Mapping[str, Any], inputs: Sequence[str]) -> tuple[float, Loss | FeatureTerm]:
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
    if not isinstance(entry, type):
        if settings:
            raise RecipeError(f"Loss {name} has no settings.", found=", ".join(settings), expected="a weight alone")
        return float(weight), entry
    if entry is EnhancementMAE and "channel" not in settings:
        if "t1" not in inputs:
            raise RecipeError(
                "Loss enhancement_mae needs the native T1 among the inputs.",
                found=", ".join(inputs) or "no names of inputs",
                expected="t1",
            )
        settings["channel"] = list(inputs).index("t1")
    return float(weight), parse(entry, settings, f"loss {name}")
