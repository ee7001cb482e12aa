"""One training run: Lightning's trainer with early stopping, the best model kept, exact resume."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from mrsynth.core.memory import keep_freed_memory
from mrsynth.core.progress import is_quiet
from mrsynth.io.run import Run
from mrsynth.recipes.sections import TrainSettings
from mrsynth.train.average import NAME as AVERAGE
from mrsynth.train.average import WeightAverage
from mrsynth.train.batches import EpochSampler
from mrsynth.train.checkpoints import AtomicCheckpoints, BestModel, LastState, latest
from mrsynth.train.history import History
from mrsynth.train.loader import Loader, Samples
from mrsynth.train.loggers import loggers_of
from mrsynth.train.machine import memory_in_words, quiet, trainer
from mrsynth.train.module import TrainingModule
from mrsynth.train.patches import PatchSampler, PatchSet
from mrsynth.train.progress import TrainingProgress
from mrsynth.train.schedule import Schedule
from mrsynth.train.stages import Patience, Stage, Stages


@dataclass(frozen=True)
class FitResult:
    """What came of a training.

    Attributes:
        weights: of the last stage's epoch with the least validation loss, or of the last epoch where nothing was
            validated.
        best_epoch: that epoch, the first is 0.
        best_val_loss: None where nothing was validated.
        epochs: how many were trained in all, also by the run it began from.
        device: in words.
        is_main: False in the helper processes of a run on several devices.
    """

    weights: Mapping[str, Tensor]
    best_epoch: int
    best_val_loss: float | None
    epochs: int
    device: str
    is_main: bool


class TrainingData(L.LightningDataModule):
    """Training and validation samples, slices or boxes; each rank takes its share of the training samples."""

    def __init__(self, train: Samples, val: Samples | None, settings: TrainSettings) -> None:
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
        if self.val is None:
            return []
        return Loader(self.val, self.settings.batch_size, None, self.settings.workers)


def fit(
    module: TrainingModule,
    data: tuple[Samples, Samples | None],
    settings: TrainSettings,
    run: Path,
    *,
    stages: Sequence[Stage] = (),
    resume: bool = False,
) -> FitResult:
    """Train a network and return its best weights.

    Args:
        module: its attribute `net` is the network, `loss` is what a stage replaces; it logs train_loss and val_loss.
        data: training and validation samples; without the latter all epochs are trained and the last weights are taken.
        settings: the recipe's section `train`, its precision no longer "auto".
        run: the run folder: checkpoints go to its checkpoints, logs (history.csv, TensorBoard) to its log.
        stages: those after the first.
        resume: continue from the latest checkpoint (weights, optimisers, learning rates, epoch, average of the weights,
            early stopping; the random state follows from seed and epoch); a run without one starts anew.

    Raises:
        KeyboardInterrupt: on Ctrl-C; the last finished epoch is kept.
        OutputError: where the disk is full.
        MrsynthError: where the training diverges or memory runs out.
        ModelError: where a checkpoint is damaged.
        RecipeError: where this machine lacks what the settings ask for.
    """
    folder = Run(run).checkpoints
    best = BestModel(folder) if data[1] is not None else None
    lightning = _trainer(settings.model_copy(update={"strategy": _strategy(module, settings)}), run, best, stages)
    if lightning.strategy.root_device.type == "cpu":
        keep_freed_memory()
    handler = signal.getsignal(signal.SIGINT)
    try:
        with quiet(), memory_in_words(settings):
            start = latest(folder) if resume else None
            lightning.fit(module, datamodule=TrainingData(*data, settings), ckpt_path=start, weights_only=True)
    except SystemExit:  # Lightning exits on Ctrl-C and leaves SIGINT ignored
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
    kept = AtomicCheckpoints().load_checkpoint(Run(run).last_state if best is None else best.best_model_path)
    return FitResult(
        weights=kept_weights(kept),
        best_epoch=int(kept["epoch"]),
        best_val_loss=None if best is None else float(best.best_model_score),  # type: ignore[arg-type]
        epochs=lightning.current_epoch,
        is_main=lightning.is_global_zero,
        device=_device_name(lightning.strategy.root_device),
    )


def kept_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the network's weights of a checkpoint: their average, where one was taken."""
    average = checkpoint.get("callbacks", {}).get(AVERAGE)
    if average is not None:
        return dict(average["average"])
    return {k.removeprefix("net."): v for k, v in checkpoint["state_dict"].items() if k.startswith("net.")}


def _trainer(settings: TrainSettings, run: Path, best: BestModel | None, stages: Sequence[Stage]) -> L.Trainer:
    """Return Lightning's trainer for the settings; best: None where nothing is validated."""
    callbacks: list[L.Callback] = [Stages(stages, best, Run(run).checkpoints), History(Run(run).history, stages)]
    callbacks += [Schedule(settings, stages)] if settings.schedule is not None else []
    callbacks += [WeightAverage(settings.average)] if settings.average is not None else []
    if best is not None:
        callbacks += [Patience(settings.patience, stages[-1].from_epoch if stages else 0), best]
    callbacks += [LastState(Run(run).checkpoints)]  # Lightning's save_last follows the best epoch: those since are lost
    callbacks += [TrainingProgress()] if not is_quiet() else []
    return trainer(
        settings,
        max_epochs=settings.epochs,
        limit_val_batches=0 if best is None else 1.0,
        plugins=[AtomicCheckpoints()],
        logger=loggers_of(settings.log, Run(run)),
        callbacks=callbacks,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        default_root_dir=run,
    )


def _strategy(module: TrainingModule, settings: TrainSettings) -> str:
    """Return the strategy. Where a module takes a step for each of two networks (adversarial training), DDP must be
    told that a step leaves the other one's parameters unused."""
    several = settings.devices != 1 or settings.nodes > 1
    if several and not module.automatic_optimization and settings.strategy in ("auto", "ddp"):
        return "ddp_find_unused_parameters_true"
    return settings.strategy


def _device_name(device: torch.device) -> str:
    """Return the device in words, for the run's record."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
