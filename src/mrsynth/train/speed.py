"""How long a step of a training takes on this machine, measured on batches of noise: images do not matter."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mrsynth.recipes.recipe import Recipe
from mrsynth.train.machine import quiet, trainer
from mrsynth.train.method import method_of

TIMED = 5
"""Batches that are timed, after one that is not: as many as a critic takes for one step of the generator."""


class _Clock(L.Callback):
    """Notes the processor's seconds at the end of each batch."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Note the time."""
        self.ends.append(time.process_time())


def step_core_seconds(recipe: Recipe, space: Sequence[int]) -> float:
    """Return the core-seconds of one batch: forward, backward and optimisers, on the CPU, in float32.

    They are seconds of the processor over all threads, so that other programs on the machine do not count. Reading the
    samples and validation are not in it.

    Args:
        recipe: the recipe.
        space: voxels of a sample, (x, y) or (x, y, z).

    Raises:
        RecipeError: a loss looks through a feature network, which is made of a prepared cohort.
        MrsynthError: memory runs out.
    """
    method = method_of(recipe)
    settings = recipe.train.model_copy(
        update={"accelerator": "cpu", "devices": 1, "nodes": 1, "strategy": "auto", "precision": "32-true"}
    )
    clock = _Clock()
    with quiet(), torch.random.fork_rng():
        run = trainer(
            settings,
            max_epochs=1,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[clock],
        )
        batches: Any = [_noise(recipe, space)] * (TIMED + 1)
        loader = DataLoader(batches, batch_size=None)
        run.fit(method.module(), train_dataloaders=loader, val_dataloaders=loader)
    return (clock.ends[-1] - clock.ends[0]) / TIMED


def _noise(recipe: Recipe, space: Sequence[int]) -> tuple[Tensor, ...]:
    """Return a batch of noise as the recipe's samples have it."""
    batch, channels = recipe.train.batch_size, len(recipe.task.inputs) * (2 * recipe.samples.neighbours + 1)
    told = len(getattr(recipe.method, "TELLS", ()))
    parts = [torch.rand(batch, channels, *space), torch.rand(batch, 1, *space)]
    return (*parts, torch.rand(batch, told)) if told else tuple(parts)
