"""One training run: Lightning's trainer with early stopping, the best model kept, exact resume."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from mrsynth.core.memory import keep_freed_memory
from mrsynth.core.progress import is_quiet
from mrsynth.io.run import Run
from mrsynth.recipes.sections import TrainSettings
from mrsynth.train.batches import EpochSampler
from mrsynth.train.checkpoints import AtomicCheckpoints, BestModel, LastState, latest
from mrsynth.train.history import History
from mrsynth.train.loader import Loader, Samples
from mrsynth.train.patches import PatchSampler, PatchSet
from mrsynth.train.stages import Patience, Stage, Stages

NOISE = (
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*GPU available but not used.*",
    ".*treespec, LeafSpec.*",  # Lightning 2.6 beside torch 2.13
)
"""What Lightning says about things that are chosen here or that a user cannot change."""


@dataclass(frozen=True)
class FitResult:
    """weights: the state of the last stage's epoch with the least validation loss; epochs: how many were trained in
    all, also by the run it began from; is_main: False in the helper processes of a run on several devices."""

    weights: Mapping[str, Tensor]
    best_epoch: int
    best_val_loss: float
    epochs: int
    device: str
    is_main: bool


class TrainingData(L.LightningDataModule):
    """Training and validation samples, slices or boxes; each rank takes its share of the training samples."""

    def __init__(self, train: Samples, val: Samples, settings: TrainSettings) -> None:
        super().__init__()
        self.train, self.val, self.settings = train, val, settings

    def train_dataloader(self) -> Any:
        """Chosen and shuffled by (seed, epoch)."""
        s, rank, ranks = self.settings, self.trainer.global_rank, self.trainer.world_size
        sampler = (
            PatchSampler(len(self.train), rank, ranks)
            if isinstance(self.train, PatchSet)
            else EpochSampler(len(self.train), s.seed, s.samples_per_epoch, rank, ranks)
        )
        return Loader(self.train, s.batch_size, sampler, s.workers)

    def val_dataloader(self) -> Any:
        """All validation samples in order, the same in every epoch and on every rank."""
        return Loader(self.val, self.settings.batch_size, None, self.settings.workers)


def fit(
    module: L.LightningModule,
    data: tuple[Samples, Samples],
    settings: TrainSettings,
    run: Path,
    *,
    stages: Sequence[Stage] = (),
    resume: bool = False,
) -> FitResult:
    """Train a network and return its best weights.

    module: its attribute `net` is the network, `loss` is what a stage replaces; it logs train_loss and val_loss. data:
    (training, validation) samples. stages: those after the first. run: checkpoints go to run/checkpoints, logs
    (history.csv, TensorBoard) to run/log. resume: continue from the latest checkpoint (weights, optimisers, learning
    rates, epoch, early stopping; the random state follows from seed and epoch); a run without one starts anew.
    Raises KeyboardInterrupt on Ctrl-C (the last finished epoch is kept), OutputError where the disk is full,
    MrsynthError where the training diverges, ModelError where a checkpoint is damaged.
    """
    folder = Run(run).checkpoints
    best = BestModel(folder)
    with _quiet():
        trainer = _trainer(settings.model_copy(update={"strategy": _strategy(module, settings)}), run, best, stages)
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    handler = signal.getsignal(signal.SIGINT)
    try:
        with _quiet():
            start = latest(folder) if resume else None
            trainer.fit(module, datamodule=TrainingData(*data, settings), ckpt_path=start, weights_only=True)
    except SystemExit:  # Lightning exits on Ctrl-C and leaves SIGINT ignored
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
    kept = AtomicCheckpoints().load_checkpoint(best.best_model_path)
    weights = {k.removeprefix("net."): v for k, v in kept["state_dict"].items() if k.startswith("net.")}
    return FitResult(
        weights=weights,
        best_epoch=int(kept["epoch"]),
        best_val_loss=float(best.best_model_score),
        epochs=trainer.current_epoch,
        is_main=trainer.is_global_zero,
        device=_device_name(trainer.strategy.root_device),
    )


def _trainer(settings: TrainSettings, run: Path, best: BestModel, stages: Sequence[Stage]) -> L.Trainer:
    """Return Lightning's trainer for the settings."""
    callbacks: list[L.Callback] = [
        Stages(stages, best, Run(run).checkpoints),
        History(Run(run).history, stages),
        Patience(settings.patience, stages[-1].from_epoch if stages else 0),
        best,
        LastState(Run(run).checkpoints),  # Lightning's save_last follows the best epoch: those since would be lost
    ]
    callbacks += [RichProgressBar(leave=False)] if not is_quiet() else []
    return L.Trainer(
        max_epochs=settings.epochs,
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        strategy=settings.strategy,
        precision=settings.precision,
        plugins=[AtomicCheckpoints()],
        logger=TensorBoardLogger(Run(run).log, name="", version="tensorboard"),
        callbacks=callbacks,
        enable_progress_bar=not is_quiet(),
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        default_root_dir=run,
    )


def _strategy(module: L.LightningModule, settings: TrainSettings) -> str:
    """Return the strategy. Where a module takes a step for each of two networks (adversarial training), DDP must be
    told that a step leaves the other one's parameters unused."""
    several = settings.devices != 1 or settings.nodes > 1
    if several and not module.automatic_optimization and settings.strategy in ("auto", "ddp"):
        return "ddp_find_unused_parameters_true"
    return settings.strategy


@contextmanager
def _quiet() -> Iterator[None]:
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


def _device_name(device: torch.device) -> str:
    """Return the device in words, for the run's record."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
