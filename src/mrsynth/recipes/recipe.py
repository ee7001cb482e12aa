"""The schema of a recipe, and how a recipe is found, varied and overridden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from mrsynth.errors import RecipeError
from mrsynth.settings import Settings, nearest, parse
from mrsynth.train.settings import TrainSettings
from mrsynth.types import contrast_name


class TaskSettings(Settings):
    """Which contrasts go in and which comes out."""

    inputs: list[str] = Field(min_length=1)
    target: str


class SampleSettings(Settings):
    """Which slices are trained and evaluated on: those whose brain covers at least this share of the slice."""

    min_brain_fraction: float = Field(ge=0, le=1)


class NetSettings(Settings):
    """The network by name and its constructor's arguments."""

    name: str
    settings: dict[str, Any]


class EvaluateSettings(Settings):
    """The metric presets that `mrsynth evaluate` and `mrsynth reproduce` use."""

    presets: list[str] = Field(min_length=1)


class PublishedTable(Settings):
    """The paper's own numbers: translation → metric → (mean, SD)."""

    source: str
    n: int
    translations: dict[str, dict[str, tuple[float, float]]]


class ScaleSettings(Settings):
    """One size of a reproduction: the phantom cohort it makes (where none is given), and how the recipe is changed."""

    subjects: int = Field(ge=3)
    spacing_mm: float = Field(ge=1)
    variants: list[str]
    set: list[str]


class ReproduceSettings(Settings):
    """What `mrsynth reproduce` runs: every translation at a scale. The scale `paper` wants the paper's own cohort."""

    translations: list[str] = Field(min_length=1)
    scales: dict[Literal["smoke", "small", "paper"], ScaleSettings]


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
    loss: dict[str, float | dict[str, Any]]
    train: TrainSettings
    evaluate: EvaluateSettings
    variants: dict[str, dict[str, Any]]
    reproduce: ReproduceSettings
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
    prepare/defaults.yaml. Raises RecipeError that names the nearest valid recipe, variant or
    key.
    """
    path, variants = _find(name)
    try:
        data = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML.", found=str(error).splitlines()[0]) from error
    except OSError as error:
        raise RecipeError(f"{path} cannot be read.", found=error.strerror) from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path} is not a recipe.", found=type(data).__name__, expected="a mapping of sections")
    from mrsynth.prepare import complete_steps

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
    try:
        data: Any = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {text}: the value is not YAML.", found=value) from error
    for part in reversed(key.split(".")):
        data = {part: data}
    return dict(data)


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return base with the keys of change; mappings are merged, everything else (lists too) is replaced."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        # `loss` and a net's `settings` are tables of free keys, but a change of one entry still means that entry alone.
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def check_recipe(recipe: Recipe) -> None:
    """Raise RecipeError where a name in the recipe does not exist or its parts do not fit together."""
    import torch

    from mrsynth.evaluate.presets import PRESETS
    from mrsynth.losses import build_loss
    from mrsynth.nets import build_net

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
    channels = recipe.net.settings.get("inputs")
    if channels is not None and channels != len(task.inputs):
        raise RecipeError(
            f"Recipe {recipe.name}: the network's inputs do not fit the task.",
            found=f"net.settings.inputs={channels}, task.inputs={task.inputs}",
            do=f"--set net.settings.inputs={len(task.inputs)}",
        )
    build_loss(recipe.loss, task.inputs)
    with torch.device("meta"):  # the shapes alone: large networks would take seconds and gigabytes
        build_net(recipe.net.name, **recipe.net.settings)
    for preset in recipe.evaluate.presets:
        if preset not in PRESETS:
            raise RecipeError(
                f"Recipe {recipe.name}: unknown preset '{preset}'.",
                expected=", ".join(PRESETS),
                do=nearest(preset, list(PRESETS)),
            )


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML that `load_recipe` reads back."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
