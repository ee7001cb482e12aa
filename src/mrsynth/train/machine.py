"""The machine that a training asks for: what it lacks is said before anything is computed, in sentences."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch

from mrsynth.core.errors import MrsynthError, RecipeError
from mrsynth.recipes.recipe import Recipe
from mrsynth.recipes.sections import TrainSettings
from mrsynth.volume.engine import is_out_of_memory

NOISE = (
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*GPU available but not used.*",
    ".*treespec, LeafSpec.*",  # Lightning 2.6 beside torch 2.13
)
"""What Lightning says about things that are chosen here or that a user cannot change."""

ASKED = ("accelerator", "devices", "nodes", "strategy", "precision")

BARE = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
"""Arguments of a trainer that is made to see whether the machine has what is asked for."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence NOISE and Lightning's tips."""
    log = logging.getLogger("lightning.pytorch")
    level = log.level
    with warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", message=message)
        log.setLevel(logging.WARNING)
        try:
            yield
        finally:
            log.setLevel(level)


def trainer(settings: TrainSettings, **more: Any) -> L.Trainer:
    """Return Lightning's trainer on the machine that the settings ask for.

    Args:
        settings: the recipe's section `train`, its precision no longer "auto".
        more: further arguments of Lightning's.

    Raises:
        RecipeError: where this machine has no such accelerator, devices, strategy or precision. What Lightning has to
            say of `more` goes through as it is.
    """
    try:
        with quiet():
            return L.Trainer(
                accelerator=settings.accelerator,
                devices=settings.devices,
                num_nodes=settings.nodes,
                strategy=settings.strategy,
                precision=settings.precision,  # type: ignore[arg-type]
                **more,
            )
    except Exception as error:  # Lightning raises of every kind: MisconfigurationException, ValueError, ImportError …
        if more != BARE:
            trainer(settings, **BARE)
            raise  # the machine is not to blame
        found = ", ".join(f"train.{name}={getattr(settings, name)}" for name in ASKED)
        raise RecipeError(
            "This machine cannot train as the recipe asks.",
            found=f"{found}: {' '.join(str(error).split())[:300]}",
            expected="an accelerator, devices and a strategy that are there: " + available(),
            do="--set train.accelerator=auto --set train.devices=1 --set train.strategy=auto",
        ) from error


def check_machine(settings: TrainSettings) -> None:
    """Check, before anything is written, that this machine has what a training asks for; raises as `trainer` does."""
    trainer(settings, **BARE)
    if settings.precision == "16-mixed" and settings.accelerator in ("cpu", "auto") and not torch.cuda.is_available():
        raise RecipeError(
            "Half precision needs a GPU.",
            found=f"train.precision=16-mixed, {available()}",
            do="--set train.precision=auto, which takes what this machine computes in",
        )


def available() -> str:
    """Return the accelerators of this machine in words."""
    gpus = torch.cuda.device_count()
    found = [f"{gpus} CUDA GPU" + ("s" if gpus > 1 else "")] if gpus else []
    found += ["mps"] if torch.backends.mps.is_available() else []
    return ", ".join(["cpu", *found])


def settled(recipe: Recipe, before: Recipe | None = None) -> Recipe:
    """Return the recipe with its precision decided: "auto" becomes what this machine computes in.

    Args:
        recipe: the recipe.
        before: that of the run that is resumed, which decided already.
    """
    if recipe.train.precision != "auto":
        return recipe
    precision = before.train.precision if before is not None else fast_precision(recipe.train.accelerator)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"precision": precision})})


def fast_precision(accelerator: str) -> str:
    """Return bf16-mixed where the device has instructions for it (AVX-512 BF16, AMX, a GPU's), else 32-true.

    Where they are missing, bfloat16 is computed in float32 and rounded: slower and no more exact.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bf16-mixed" if has else "32-true"
    return "32-true"


@contextmanager
def memory_in_words(settings: TrainSettings) -> Iterator[None]:
    """Turn the errors of torch and Python that mean "memory ran out" into a sentence.

    Args:
        settings: the recipe's section `train`, for the message.

    Raises:
        MrsynthError: where memory runs out in the block.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise MrsynthError(
            "Memory ran out in training.",
            found=" ".join(str(error).split())[:200] or type(error).__name__,
            do=f"--set train.batch_size={max(1, settings.batch_size // 2)} (now {settings.batch_size}), smaller "
            "samples.patch or a smaller network; --set train.in_memory_gb=0 keeps no samples in memory. "
            "What was trained before stays: --resume goes on from the last whole epoch",
        ) from error
