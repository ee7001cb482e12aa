"""What a run takes from networks that were trained before it: feature networks for its losses, an encoder's weights."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrsynth.core.errors import ModelError
from mrsynth.core.files import atomic_file, sha256_file
from mrsynth.core.progress import remark
from mrsynth.core.settings import parse
from mrsynth.io import PreparedCohort
from mrsynth.io.run import Encoder, FeatureNetwork, Run
from mrsynth.losses.registry import LOSSES
from mrsynth.losses.term import FeatureSettings, FeatureSource, FeatureTerm
from mrsynth.nets import Network
from mrsynth.nets.weights import weights_file
from mrsynth.recipes.recipe import Recipe
from mrsynth.recipes.sections import LossTerms, stage_terms, stages_in_order
from mrsynth.train.feature_network import feature_source, load_features, network_file, train_features

DRAWN_ENCODER = "Encoder: first weights drawn, not ImageNet's as in the paper."
"""What is said of a network that could have begun with weights of others."""

DRAWN_INSTEAD = "or start from drawn weights, as without ImageNet: --set net.weights=null"


def run_features(recipe: Recipe, prepared: PreparedCohort, run: Run) -> FeatureSource:
    """Return what gives the losses of all stages of a run their feature networks, each once.

    A network that another run in the same folder trained on the same data by the same settings is copied from there:
    training would make the same one.

    Args:
        recipe: its losses say which feature networks they need.
        prepared: the cohort to train them on.
        run: the networks come into its folder `features`.
    """

    for settings in _feature_settings(recipe).values():
        if settings.weights == "trained":
            _copy_from_beside(run, network_file(prepared, "train", recipe.contrasts, settings.training))
    return feature_source(prepared, recipe.contrasts, run.features)


def _copy_from_beside(run: Run, name: str) -> None:
    """Bring a feature network and its record from another run of the folder that a run lies in, where one has it."""
    weights = run.features / name
    if weights.with_suffix(".json").exists():
        return
    for other in sorted(run.folder.absolute().parent.glob("*")):
        known = Run(other).features / name
        if not known.is_file():
            continue
        try:
            load_features(known, "conv1_1")
        except ModelError:  # damaged, or not finished yet
            continue
        for suffix in (".safetensors", ".json"):
            with atomic_file(weights.with_suffix(suffix)) as temporary:
                shutil.copyfile(known.with_suffix(suffix), temporary)
        return


def describe_features(recipe: Recipe, prepared: PreparedCohort, folder: Path) -> dict[str, FeatureNetwork]:
    """Return loss → its feature network for the run's record: name, layer, where its weights come from and their
    SHA-256; of one that was trained here, into this folder, also how well it learned.

    Args:
        recipe: the recipe.
        prepared: the cohort.
        folder: RUN/features.
    """
    found: dict[str, FeatureNetwork] = {}
    for loss, settings in _feature_settings(recipe).items():
        known: dict[str, Any] = {"network": settings.network, "layer": settings.layer, "weights": settings.weights}
        if settings.weights == "trained":  # it lies there by now
            record = train_features(prepared, "train", recipe.contrasts, settings.training, folder)
            learned = record.model_dump(mode="json", include={"contrasts", "accuracy", "chance", "seconds"})
            found[loss] = FeatureNetwork(**known, sha256=record.weights_sha256, **learned)
        else:
            file = weights_file(settings.network, settings.weights)
            found[loss] = FeatureNetwork(**known, sha256=sha256_file(file))
    return found


def begin_encoder(net: Network, weights: str | None) -> Encoder | None:
    """Put weights of others into the part of a network that takes them; where there are none the console says so.

    Args:
        net: the network.
        weights: the recipe's `net.weights`, None for none.

    Returns:
        What was asked for, the file and its SHA-256, for the run's record; None where nothing was put in.

    Raises:
        ModelError: says how to get weights that are not there, or what does not fit.
    """
    if net.public_weights is None:
        return None
    if weights is None:
        remark(DRAWN_ENCODER)
        return None
    path = weights_file(net.public_weights, weights, DRAWN_INSTEAD)
    net.begin_with(path)
    return Encoder(weights=weights, file=path.name, sha256=sha256_file(path))


def _feature_settings(recipe: Recipe) -> dict[str, FeatureSettings]:
    """Return loss → feature settings of the losses that have some and count, in any stage."""
    stages: list[LossTerms] = [stage_terms(recipe.loss, s.loss) for s in stages_in_order(recipe.train).values()]
    found = {}
    for terms in (recipe.loss, *stages):
        for name, spec in terms.items():
            entry = LOSSES.get(name)
            if isinstance(entry, type) and issubclass(entry, FeatureTerm) and isinstance(spec, Mapping):
                settings = {key: value for key, value in spec.items() if key != "weight"}
                if spec.get("weight"):
                    found[name] = parse(entry, settings, f"loss {name}").features
    return found
