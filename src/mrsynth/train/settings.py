"""The recipe's section `train`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mrsynth.settings import Settings


class TrainSettings(Settings):
    """How a network is trained.

    epochs: at most. batch_size: samples an optimiser step and device. learning_rate, betas: Adam's. patience: epochs
    without a better validation loss before training stops. samples_per_epoch: this many, drawn anew each epoch; null
    takes all. in_memory_gb: samples are kept in memory up to this size, beyond it they are read from disk.
    precision, accelerator, devices, nodes, strategy: as Lightning names them. channels_last: memory layout of 2-D nets.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    betas: tuple[float, float]
    patience: int = Field(ge=1)
    samples_per_epoch: int | None = Field(ge=1)
    seed: int = Field(ge=0)
    in_memory_gb: float = Field(ge=0)
    workers: int = Field(ge=0)
    channels_last: bool
    precision: Literal["32-true", "16-mixed", "bf16-mixed"]
    accelerator: str
    devices: int | Literal["auto"]
    nodes: int = Field(ge=1)
    strategy: str
