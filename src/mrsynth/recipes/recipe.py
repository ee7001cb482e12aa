"""The schema of a recipe, and how a recipe is found, varied and overridden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import PredictSettings, Settings, nearest, parse
from mrsynth.core.types import contrast_name
from mrsynth.core.yaml import parse_yaml, read_yaml
from mrsynth.recipes.sections import (
    ConditionSettings,
    GameSettings,
    MissingSettings,
    NetSettings,
    SampleSettings,
    TrainSettings,
    WganSettings,
    stage_terms,
    stages_in_order,
)


class TaskSettings(Settings):
    """Which contrasts go in and which comes out."""

    inputs: list[str] = Field(min_length=1)
    target: str


class EvaluateSettings(Settings):
    """How predictions are judged. presets: the metric presets that `mrsynth evaluate` and `mrsynth reproduce` use.
    data_range: of PSNR and SSIM, in the images' units; null: the width of the recipe's range."""

    presets: list[str] = Field(min_length=1)
    data_range: float | None = Field(default=None, gt=0)


class PublishedTable(Settings):
    """The paper's own numbers: translation → metric → (mean, SD or null)."""

    source: str
    n: int
    translations: dict[str, dict[str, tuple[float, float | None]]]


class Recipe(Settings):
    """One method. The YAML file is the only home of its numbers: no field has a default."""

    name: str
    title: str
    paper: str
    task: TaskSettings
    contrasts: list[str]
    prepare: list[dict[str, dict[str, Any]]]
    range: tuple[float, float]
    samples: SampleSettings
    net: NetSettings
    encoder_weights: str | None = None  # as `predict`: runs that are older lack it
    loss: dict[str, float | dict[str, Any]]
    game: GameSettings | None
    missing: MissingSettings | None
    condition: ConditionSettings | None = None  # as `predict`: runs that are older lack it
    wgan: WganSettings | None = None
    train: TrainSettings
    predict: PredictSettings = PredictSettings()  # runs that are older lack it
    evaluate: EvaluateSettings
    variants: dict[str, dict[str, Any]]
    published: PublishedTable | None

    @property
    def translation(self) -> str:
        """The task as one word, e.g. t1-t2."""
        return "+".join(self.task.inputs) + "-" + self.task.target


def list_recipes() -> dict[str, Path]:
    """Return the recipes that come with mrsynth: name → file."""
    folder = Path(str(resources.files("mrsynth.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe by name or file, with variants and overrides.

    name: `osman2022`, `osman2022/t2-t1/small` (variants, applied in this order) or a path to a YAML file.
    overrides: "train.epochs=5", the value in YAML. Steps come with all their settings, those left out from
    steps/defaults.yaml. Raises RecipeError that names the nearest valid recipe, variant or key.
    """
    from mrsynth.steps import complete_steps  # here: `mrsynth --help` need not load it

    path, variants = _find(name)
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise RecipeError(f"{path} is not a recipe.", found=type(data).__name__, expected="a mapping of sections")
    known = data.get("variants") or {}
    for variant in variants:
        if variant not in known:
            raise RecipeError(
                f"Recipe {path.stem} has no variant '{variant}'.",
                expected="one of " + ", ".join(known),
                do=nearest(variant, list(known)),
            )
        data = merge(data, known[variant])
    for override in overrides:
        data = merge(data, _parse_override(override))
    recipe = parse(Recipe, data, f"recipe {path.stem}")
    recipe = recipe.model_copy(update={"prepare": complete_steps(recipe.prepare)})
    check_recipe(recipe)
    return recipe


def _find(name: str) -> tuple[Path, list[str]]:
    """Return a recipe's file and the variants asked for."""
    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name), []
    first, *variants = name.split("/")
    known = list_recipes()
    if first not in known:
        raise RecipeError(
            f"There is no recipe '{first}'.",
            expected="one of " + ", ".join(known) + ", or a file that ends in .yaml",
            do=nearest(first, list(known)),
        )
    return known[first], variants


def _parse_override(text: str) -> dict[str, Any]:
    """Return {"train": {"epochs": 5}} for "train.epochs=5"."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {text}: not an override.", expected="section.key=value, e.g. train.epochs=5")
    data: Any = parse_yaml(value, f"--set {text[:80]}: the value")
    for part in reversed(key.split(".")):
        data = {part: data}
    return dict(data)


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return base with the keys of change; mappings are merged, everything else (lists too) is replaced.

    A network that comes with another name and settings is replaced too: the old one's settings are not its own.
    """
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        # `loss` and a net's `settings` are tables of free keys, but a change of one entry still means that entry alone.
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not _names_another(old, value):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def _names_another(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Say whether two entries are networks (or the like) of different names, the new one with settings of its own."""
    return "settings" in new and "name" in new and new["name"] != old.get("name")


def check_recipe(recipe: Recipe) -> None:
    """Raise RecipeError where a name in the recipe does not exist or its parts do not fit together."""
    from mrsynth.metrics.presets import PRESETS

    task = recipe.task
    for name in [*task.inputs, task.target, *recipe.contrasts]:
        contrast_name(name)
    if task.target in task.inputs:
        raise RecipeError(f"Recipe {recipe.name}: {task.target} is both input and target.")
    absent = [name for name in [*task.inputs, task.target] if name not in recipe.contrasts]
    if absent:
        raise RecipeError(
            f"Recipe {recipe.name}: the task names contrasts that `contrasts` does not prepare.",
            found=", ".join(absent),
            expected=", ".join(recipe.contrasts),
        )
    _check_training(recipe)
    _check_slices(recipe)
    _check_networks(recipe)
    _check_encoder(recipe)
    _check_critic(recipe)
    _check_conditional(recipe)
    for preset in recipe.evaluate.presets:
        if preset not in PRESETS:
            raise RecipeError(
                f"Recipe {recipe.name}: unknown preset '{preset}'.",
                expected=", ".join(PRESETS),
                do=nearest(preset, list(PRESETS)),
            )


def _check_training(recipe: Recipe) -> None:
    """Check the losses of every stage, and that modality dropout stands where it can be done."""
    from mrsynth.losses import build_loss

    build_loss(recipe.loss, recipe.task.inputs)
    for stage in stages_in_order(recipe.train).values():
        build_loss(stage_terms(recipe.loss, stage.loss), recipe.task.inputs)
    if recipe.missing is not None and recipe.game is not None:
        raise RecipeError(
            f"Recipe {recipe.name}: inputs are not dropped in adversarial training.", do="set game or missing to null"
        )


def _check_slices(recipe: Recipe) -> None:
    """Check that neighbours and planes are asked for only where a network sees slices, and all of its inputs."""
    samples, predict = recipe.samples, recipe.predict
    if samples.patch is not None and (samples.neighbours or samples.planes != ("z",) or not predict.is_axial):
        raise RecipeError(
            f"Recipe {recipe.name}: neighbours, planes and rotations are for networks that see slices.",
            found="boxes (samples.patch)",
            do="set samples.neighbours=0, samples.planes=[z] and predict={planes: [z], rotations_deg: [0]}, or "
            "samples.patch=null and a 2-D network",
        )
    if recipe.missing is not None and (samples.neighbours or len(predict.rotations_deg) > 1):
        raise RecipeError(
            f"Recipe {recipe.name}: inputs with neighbouring or turned slices are not dropped.",
            found=f"samples.neighbours {samples.neighbours}, predict.rotations_deg {list(predict.rotations_deg)}",
            do="set samples.neighbours=0 and predict.rotations_deg=[0], or missing=null",
        )


def _check_networks(recipe: Recipe) -> None:
    """Check that the networks can be built, and that the first one fits the inputs and the samples."""
    import torch
    from torch import nn

    from mrsynth.nets import build_net

    flags = recipe.missing is not None and recipe.missing.flags
    slices, channels = 2 * recipe.samples.neighbours + 1, recipe.net.settings.get("inputs")
    expected = len(recipe.task.inputs) * slices * (2 if flags else 1)
    if channels != expected and (flags or slices > 1 or channels is not None):
        raise RecipeError(
            f"Recipe {recipe.name}: the network's inputs do not fit the task.",
            found=f"net.settings.inputs={channels}, task.inputs={recipe.task.inputs}, flags {str(flags).lower()}, "
            f"{slices} slices",
            expected="a channel an input and slice" + (", and one that says whether it is there" if flags else ""),
            do=f"--set net.settings.inputs={expected}",
        )
    with torch.device("meta"):  # the shapes alone: large networks would take seconds and gigabytes
        net = build_net(recipe.net.name, **recipe.net.settings)
    volumes = any(isinstance(module, nn.Conv3d) for module in net.modules())
    if volumes != (recipe.samples.patch is not None):
        kinds = ("boxes (x, y, z)", "slices (x, y)")
        raise RecipeError(
            f"Recipe {recipe.name}: the network {recipe.net.name} does not fit the samples.",
            found=f"{kinds[volumes]} by samples.patch",
            expected=kinds[not volumes],
            do="set samples.patch to {size: [null, null, 3], per_epoch: 600, within: brain}"
            if volumes
            else "--set samples.patch=null, or take the network's 3-D version",
        )


def _check_encoder(recipe: Recipe) -> None:
    """Check that weights are given only where an encoder is that can take them."""
    if recipe.encoder_weights is not None and recipe.net.name != "drunet":
        raise RecipeError(
            f"Recipe {recipe.name}: the network {recipe.net.name} has no encoder that takes weights of others.",
            found=f"encoder_weights: {recipe.encoder_weights}",
            expected="the network drunet",
            do="--set encoder_weights=null",
        )


def _check_critic(recipe: Recipe) -> None:
    """Check that the critic can be built, and that it takes the samples' inputs and the image to judge."""
    import torch
    from torch import nn

    from mrsynth.nets import build_net

    if recipe.game is None:
        return
    with torch.device("meta"):
        critic = build_net(recipe.game.critic.name, **recipe.game.critic.settings)
    inputs, volumes = len(recipe.task.inputs), recipe.samples.patch is not None
    layer = next(module for module in critic.modules() if isinstance(module, nn.Conv2d | nn.Conv3d))
    if layer.in_channels != inputs + 1 or isinstance(layer, nn.Conv3d) != volumes:
        raise RecipeError(
            f"Recipe {recipe.name}: the critic does not fit the task.",
            found=f"{layer.in_channels} channels, {'3-D' if isinstance(layer, nn.Conv3d) else '2-D'}",
            expected=f"{inputs} inputs and the image to judge, {'3-D' if volumes else '2-D'}",
            do=f"--set game.critic.settings.inputs={inputs}, and game.critic.settings.mode to the network's",
        )


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML that `load_recipe` reads back."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def _check_conditional(recipe: Recipe) -> None:
    """Raise RecipeError where a network that is told dose and field lacks its condition or its game, or stands beside
    what its training knows nothing of."""
    import torch

    from mrsynth.nets import build_net
    from mrsynth.nets.critic import Critic
    from mrsynth.nets.lowdose import LowDose

    where, condition, wgan = f"Recipe {recipe.name}", recipe.condition, recipe.wgan
    with torch.device("meta"):
        told = isinstance(build_net(recipe.net.name, **recipe.net.settings), LowDose)
    if not (told == (condition is not None) == (wgan is not None)):
        raise RecipeError(
            f"{where}: the network lowdose, `condition` and `wgan` go together.",
            found=f"net {recipe.net.name}, condition {condition}, wgan {'null' if wgan is None else 'set'}",
            do="set all three as in pinetz2023, or condition and wgan to null and another network",
        )
    if condition is None or wgan is None:
        return
    with torch.device("meta"):
        critic = build_net(wgan.critic.name, **wgan.critic.settings)
    if not isinstance(critic, Critic):
        raise RecipeError(f"{where}: this network cannot be its critic.", found=wgan.critic.name, expected="critic")
    if len(recipe.task.inputs) != 2:
        raise RecipeError(
            f"{where}: a low dose is made from the native scan and the one at standard dose.",
            found=", ".join(recipe.task.inputs),
            expected="two inputs, t1 and t1ce",
        )
    patch, train = recipe.samples.patch, recipe.train
    others = {"game": recipe.game, "missing": recipe.missing, "train.stages": train.stages or None}
    if found := [name for name, section in others.items() if section is not None]:
        raise RecipeError(f"{where}: `wgan` cannot be trained with {found[0]}.", do=f"set {found[0]} to null")
    if train.devices != 1 or train.nodes != 1:
        raise RecipeError(
            f"{where}: the game with a gradient penalty was not tried on several devices.",
            found=f"train.devices {train.devices}, train.nodes {train.nodes}",
            expected="1 and 1",
        )
    if patch is not None and min(edge or critic.smallest for edge in patch.size) < critic.smallest:
        raise RecipeError(
            f"{where}: the boxes are too small for the critic.",
            found=f"samples.patch.size {list(patch.size)}",
            expected=f"at least {critic.smallest} voxels along each axis",
        )
    needed = (wgan.critic_steps - 1) * train.batch_size + 1
    if patch is not None and patch.per_epoch < needed:
        raise RecipeError(
            f"{where}: an epoch has no step of the generator.",
            found=f"samples.patch.per_epoch {patch.per_epoch}, batches of {train.batch_size}",
            expected=f"at least {needed} boxes: {wgan.critic_steps} batches are one iteration",
        )
