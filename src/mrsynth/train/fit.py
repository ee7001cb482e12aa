"""One training run: Lightning's trainer with early stopping, the best model kept, exact resume."""

from __future__ import annotations

import errno
import logging
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from mrsynth.io.files import atomic_file
from mrsynth.losses.pixel import Loss
from mrsynth.train.batches import EpochSampler, SliceSet
from mrsynth.train.history import History, read_history
from mrsynth.train.loader import Loader
from mrsynth.train.memory import keep_freed_memory
from mrsynth.train.settings import TrainSettings
from mrsynth.train.supervised import Supervised

NOISE = (
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*GPU available but not used.*",
    ".*treespec, LeafSpec.*",  # Lightning 2.6 beside torch 2.13
)
"""What Lightning says about things that are chosen here or that a user cannot change."""


@dataclass(frozen=True)
class FitResult:
    """weights: the state of the epoch with the least validation loss; epochs: how many were trained in all; is_main:
    False in the helper processes of a run on several devices."""

    weights: Mapping[str, Tensor]
    best_epoch: int
    best_val_loss: float
    epochs: int
    device: str
    is_main: bool


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name and renames it: a full disk or a crash leaves the one before whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; raises OutputError where the disk is full."""
        with atomic_file(Path(path)) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # torch's own writer hides the system's error
                raise OSError(errno.ENOSPC, "no space left on device", str(path)) from error


class SliceData(L.LightningDataModule):
    """Training and validation slices; each rank takes its share of the training slices."""

    def __init__(self, train: SliceSet, val: SliceSet, settings: TrainSettings) -> None:
        super().__init__()
        self.train, self.val, self.settings = train, val, settings

    def train_dataloader(self) -> Any:
        """Shuffled by (seed, epoch)."""
        s, trainer = self.settings, self.trainer
        sampler = EpochSampler(len(self.train), s.seed, s.samples_per_epoch, trainer.global_rank, trainer.world_size)
        return Loader(self.train, s.batch_size, sampler, s.workers)

    def val_dataloader(self) -> Any:
        """All validation slices in order, on every rank."""
        return Loader(self.val, self.settings.batch_size, None, self.settings.workers)


def fit(
    net: nn.Module,
    loss: Loss,
    data: tuple[SliceSet, SliceSet],
    settings: TrainSettings,
    run: Path,
    *,
    resume: bool = False,
    progress: bool = True,
) -> FitResult:
    """Train a network and return its best weights.

    data: (training, validation) slices. run: checkpoints go to run/checkpoints, logs (history.csv, TensorBoard) to
    run/log. resume: continue from run/checkpoints/last.ckpt (weights, optimiser, learning rate, epoch, early stopping;
    the random state follows from seed and epoch); a run without a checkpoint starts anew.
    Raises KeyboardInterrupt on Ctrl-C (the last finished epoch is kept), OutputError where the disk is full.
    """
    folder = run / "checkpoints"
    best = ModelCheckpoint(folder, filename="best", monitor="val_loss", save_on_train_epoch_end=True)
    with _quiet():
        trainer = _trainer(settings, run, best, progress)
    module = Supervised(net, loss, settings)
    last = folder / "last.ckpt"
    if trainer.strategy.root_device.type == "cpu":
        keep_freed_memory()
    handler = signal.getsignal(signal.SIGINT)
    try:
        with _quiet():
            start = str(last) if resume and last.exists() else None
            trainer.fit(module, datamodule=SliceData(*data, settings), ckpt_path=start, weights_only=True)
    except SystemExit:  # Lightning exits on Ctrl-C and leaves SIGINT ignored
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
    kept = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    weights = {k.removeprefix("net."): v for k, v in kept["state_dict"].items() if k.startswith("net.")}
    return FitResult(
        weights=weights,
        best_epoch=int(kept["epoch"]),
        best_val_loss=float(best.best_model_score),
        epochs=len(read_history(run / "log" / "history.csv")),
        is_main=trainer.is_global_zero,
        device=_device_name(trainer.strategy.root_device),
    )


def _trainer(settings: TrainSettings, run: Path, best: ModelCheckpoint, progress: bool) -> L.Trainer:
    """Return Lightning's trainer for the settings."""
    callbacks: list[L.Callback] = [
        History(run / "log" / "history.csv"),
        EarlyStopping("val_loss", patience=settings.patience),
        best,
        # Not save_last of the one above: that follows the best epoch, and epochs since then would be lost.
        ModelCheckpoint(
            run / "checkpoints", filename="last", enable_version_counter=False, save_on_train_epoch_end=True
        ),
    ]
    callbacks += [RichProgressBar(leave=False)] if progress else []
    return L.Trainer(
        max_epochs=settings.epochs,
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        strategy=settings.strategy,
        precision=settings.precision,
        plugins=[AtomicCheckpoints()],
        logger=TensorBoardLogger(run / "log", name="", version="tensorboard"),
        callbacks=callbacks,
        enable_progress_bar=progress,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        default_root_dir=run,
    )


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
