"""Lightning's trainer on the CPU, silent, for tests that train a module on batches in memory."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch.utils.data import DataLoader


def fit_batches(
    module: L.LightningModule, given: list[Any], check: list[Any], epochs: int, **trainer: Any
) -> dict[str, float]:
    """Train on the batches `given`, validate on `check`, and return what was logged of the last epoch."""
    run = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **trainer,
    )
    loaders = [DataLoader(part, batch_size=None) for part in (given, check)]  # type: ignore[arg-type,var-annotated]
    run.fit(module, *loaders)
    return {name: float(value) for name, value in run.callback_metrics.items()}
