"""Sections of a recipe: samples, network, train with its stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import Plane, Settings

LossTerms = Mapping[str, float | Mapping[str, Any]]
"""A recipe's weighted sum of losses: name → weight, or name → settings with the weight among them."""


Beta = Annotated[float, Field(ge=0, lt=1)]
"""A decay of Adam's."""


class PatchSettings(Settings):
    """Which boxes are drawn.

    Attributes:
        size: voxels along x, y, z, null for the whole extent: [null, null, 3] is a slab of three whole slices, [64, 64,
            64] a cube.
        per_epoch: boxes an epoch.
        within: the mask in which a box has its centre; null for anywhere.
    """

    size: tuple[int | None, int | None, int | None]
    per_epoch: int = Field(ge=1)
    within: str | None


class AugmentSettings(Settings):
    """How far samples are changed in training, each by a draw of its own (train/augment.py); 0 (1 of resolution) leaves
    them as they are.

    Attributes:
        gain, gamma: factor and exponent of a contrast's values, from exp(−g) to exp(g).
        bias: coefficients of the logarithm of a smooth field.
        noise: largest standard deviation, as a fraction of the recipe's range.
        resolution: up to how many voxels become one along each axis.
        rotate_deg, zoom: of inputs and target alike, up to this angle and from exp(−z) to exp(z).
        together: contrasts on one scale, which share gain, gamma and bias; a target among them has them too.
    """

    gain: float = Field(default=0, ge=0, le=2)
    gamma: float = Field(default=0, ge=0, le=2)
    bias: float = Field(default=0, ge=0, le=2)
    noise: float = Field(default=0, ge=0, le=1)
    resolution: float = Field(default=1, ge=1, le=8)
    rotate_deg: float = Field(default=0, ge=0, le=180)
    zoom: float = Field(default=0, ge=0, le=1)
    together: tuple[tuple[str, ...], ...] = (("t1", "t1ce", "t1ld"),)


class SampleSettings(Settings):
    """What a network is trained on: slices, or boxes where patch says which.

    Keys with a default came later: runs that are older lack them.

    Attributes:
        min_brain_fraction: slices whose brain covers at least this share of the slice are trained (patch null) and
            evaluated on.
        patch: the boxes, null for slices.
        planes: the axes along which slices are taken.
        neighbours: slices on each side that the network sees too, as further channels: all slices of the first input in
            order, then of the second; the target is the middle one.
        rotate90: slices are trained in all four orientations (by 0, 90, 180, 270°), so that there are four times as
            many.
        augment: what else is changed in training, null for nothing.
    """

    min_brain_fraction: float = Field(ge=0, le=1)
    patch: PatchSettings | None
    planes: tuple[Plane, ...] = Field(default=("z",), min_length=1)
    neighbours: int = Field(default=0, ge=0)
    rotate90: bool = False
    augment: AugmentSettings | None = None


class NetSettings(Settings):
    """A network by name and its constructor's arguments.

    Attributes:
        name: a network of the table `NETS`.
        settings: its constructor's arguments.
        weights: weights that others trained, for the part of the network that takes them (DRUNet's encoder): "cache"
            for torchvision's file in PyTorch's cache, or a path; null for drawn ones.
    """

    name: str
    settings: dict[str, Any]
    weights: str | None = None


class StageSettings(Settings):
    """A later part of the training: from an epoch on (the first is 0), another learning rate and other losses.

    Attributes:
        from_epoch, learning_rate: where it begins, and the rate from there on.
        loss: merged by name over the recipe's, so that a loss keeps the settings that are not named here.
    """

    from_epoch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    loss: dict[str, float | dict[str, Any]]


class ScheduleSettings(Settings):
    """How the learning rate goes over the steps of a training.

    Attributes:
        warmup_steps: it rises evenly to its value over the first ones.
        shape: then it stays ("constant"), or falls with a cosine to `final` of its value at the end of each stage
            (Loshchilov & Hutter 2017, equation 5, without restarts).
        final: share of its value that a cosine falls to.
    """

    shape: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    final: float = Field(default=0, ge=0, le=1)


class TrainSettings(Settings):
    """How a network is trained.

    Attributes:
        epochs: at most.
        batch_size: samples an optimiser step and device.
        learning_rate, betas: Adam's.
        patience: epochs without a better validation loss before training stops (in the last stage).
        samples_per_epoch: this many slices, drawn anew each epoch; null takes all (boxes: samples.patch.per_epoch).
        stages: name → stage in order of time, null leaves it out.
        seed: of all that is drawn.
        in_memory_gb: samples are kept in memory up to this size, beyond it they are read from disk.
        workers: how many read samples beside the training; 0: it reads them itself.
        precision: as Lightning names it, or auto: bfloat16 where the processor or GPU computes in it, else float32.
        accelerator, devices, nodes, strategy: as Lightning names them.
        channels_last: memory layout, faster on most devices.
        schedule: of the learning rate, null for a constant one.
        average: decay a step of a moving average of the weights, which is validated and saved in their place; null for
            none.
        log: where its numbers go; csv is always written.
        validation: whether validation cases choose the epoch; otherwise they train too, for all epochs, and the last
            weights are kept.
    """

    epochs: int = Field(ge=1, le=10**7)
    batch_size: int = Field(ge=1, le=2**16)
    learning_rate: float = Field(gt=0, le=1e30)
    betas: tuple[Beta, Beta]
    patience: int = Field(ge=1)
    samples_per_epoch: int | None = Field(ge=1)
    stages: dict[str, StageSettings | None]
    seed: int = Field(ge=0)
    in_memory_gb: float = Field(ge=0)
    workers: int = Field(ge=0, le=1024)
    channels_last: bool
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"]
    accelerator: str
    devices: int | Literal["auto"]
    nodes: int = Field(ge=1)
    strategy: str
    schedule: ScheduleSettings | None = None
    average: float | None = Field(default=None, gt=0, lt=1)
    validation: bool = True
    log: tuple[Literal["csv", "tensorboard", "wandb", "mlflow"], ...] = ("csv", "tensorboard")


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

    Args:
        recipe: the recipe's losses.
        stage: the stage's.
    """
    terms = {name: dict(spec) if isinstance(spec, Mapping) else {"weight": spec} for name, spec in recipe.items()}
    for name, spec in stage.items():
        terms[name] = {**terms.get(name, {}), **(spec if isinstance(spec, Mapping) else {"weight": spec})}
    return dict(terms)
