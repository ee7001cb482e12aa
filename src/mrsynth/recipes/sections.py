"""Sections of a recipe: samples, network, train with its stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import Plane, Settings

LossTerms = Mapping[str, float | Mapping[str, Any]]
"""A recipe's weighted sum of losses: name → weight, or name → settings with the weight among them."""


class PatchSettings(Settings):
    """Which boxes are drawn.

    size: voxels along x, y, z, null for the whole extent: [null, null, 3] is a slab of three whole slices, [64, 64, 64]
    a cube. per_epoch: boxes an epoch. within: the mask in which a box has its centre; null for anywhere.
    """

    size: tuple[int | None, int | None, int | None]
    per_epoch: int = Field(ge=1)
    within: str | None


class SampleSettings(Settings):
    """What a network is trained on: slices, or boxes where patch says which.

    min_brain_fraction: slices whose brain covers at least this share of the slice are trained (patch null) and
    evaluated on. planes: the axes along which slices are taken. neighbours: slices on each side that the network sees
    too, as further channels: all slices of the first input in order, then of the second; the target is the middle one.
    rotate90: slices are trained in all four orientations (by 0, 90, 180, 270°), so that there are four times as many.
    (Keys with a default came later: runs that are older lack them.)
    """

    min_brain_fraction: float = Field(ge=0, le=1)
    patch: PatchSettings | None
    planes: tuple[Plane, ...] = Field(default=("z",), min_length=1)
    neighbours: int = Field(default=0, ge=0)
    rotate90: bool = False


class NetSettings(Settings):
    """A network by name and its constructor's arguments.

    weights: weights that others trained, for the part of the network that takes them (DRUNet's encoder): "cache" for
    torchvision's file in PyTorch's cache, or a path; null for drawn ones.
    """

    name: str
    settings: dict[str, Any]
    weights: str | None = None


class StageSettings(Settings):
    """A later part of the training: from an epoch on (the first is 0), another learning rate and other losses.

    loss: merged by name over the recipe's, so that a loss keeps the settings that are not named here.
    """

    from_epoch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    loss: dict[str, float | dict[str, Any]]


class TrainSettings(Settings):
    """How a network is trained.

    epochs: at most. batch_size: samples an optimiser step and device. learning_rate, betas: Adam's. patience: epochs
    without a better validation loss before training stops (in the last stage). samples_per_epoch: this many slices,
    drawn anew each epoch; null takes all (boxes: samples.patch.per_epoch). stages: name → stage in order of time, null
    leaves it out. in_memory_gb: samples are kept in memory up to this size, beyond it they are read from disk.
    precision, accelerator, devices, nodes, strategy: as Lightning names them. channels_last: memory layout, faster on
    most devices.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    betas: tuple[float, float]
    patience: int = Field(ge=1)
    samples_per_epoch: int | None = Field(ge=1)
    stages: dict[str, StageSettings | None]
    seed: int = Field(ge=0)
    in_memory_gb: float = Field(ge=0)
    workers: int = Field(ge=0)
    channels_last: bool
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    accelerator: str
    devices: int | Literal["auto"]
    nodes: int = Field(ge=1)
    strategy: str


def stages_in_order(settings: TrainSettings) -> dict[str, StageSettings]:
    """Return the stages that are not left out; raises RecipeError where their first epochs do not rise from 1 up to the
    last epoch."""
    stages = {name: stage for name, stage in settings.stages.items() if stage is not None}
    before = 0
    for name, stage in stages.items():
        if not before < stage.from_epoch < settings.epochs:
            raise RecipeError(
                f"train.stages.{name}: no epoch is left for this stage, or none for the one before it.",
                found=f"from_epoch {stage.from_epoch}, stages in the order {', '.join(stages)}",
                expected=f"{before} < from_epoch < {settings.epochs} (train.epochs)",
                do=f"set train.stages.{name}.from_epoch, or train.stages.{name}=null to leave it out",
            )
        before = stage.from_epoch
    return stages


def stage_terms(recipe: LossTerms, stage: LossTerms) -> dict[str, float | dict[str, Any]]:
    """Return the losses of a stage: the recipe's, each changed by the stage's entry of its name.

    A number is a weight, so {"enhancement_mae": 10} over {"enhancement_mae": {"weight": 1, "delta": 0.1}} keeps delta.
    """
    terms = {name: dict(spec) if isinstance(spec, Mapping) else {"weight": spec} for name, spec in recipe.items()}
    for name, spec in stage.items():
        terms[name] = {**terms.get(name, {}), **(spec if isinstance(spec, Mapping) else {"weight": spec})}
    return dict(terms)
