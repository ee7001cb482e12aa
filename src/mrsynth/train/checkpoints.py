"""What a run keeps of its states: the best model, the last state, and files that are whole or not there."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from typing_extensions import override

from mrsynth.core.errors import ModelError
from mrsynth.core.files import atomic_file


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint under a temporary name and renames it: a full disk or a crash leaves the one before whole."""

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint, whole or not at all."""
        with atomic_file(Path(path)) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # torch's own writer hides the system's error
                raise OSError(errno.ENOSPC, "no space left on device", str(path)) from error

    @override
    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, _: storage,
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Read a checkpoint, by default onto the CPU."""
        try:
            state: object = super().load_checkpoint(path, map_location, weights_only)
        except (FileNotFoundError, PermissionError, IsADirectoryError, MemoryError):
            raise
        except Exception as error:  # a damaged pickle raises anything: KeyError, EOFError, RuntimeError, OSError …
            raise _unusable(Path(path), _in_short(error)) from error
        if not (isinstance(state, dict) and "state_dict" in state):
            raise _unusable(Path(path), f"{type(state).__name__} without the state of a network")
        return state


def _in_short(error: Exception) -> str:
    """Return what PyTorch says of a file, without its advice to load it unsafely."""
    lines = str(error).partition("\n\nCheck the documentation")[0].split("\n")
    said = lines[-1].strip().removeprefix("WeightsUnpickler error: ").partition(". ")[0]
    return f"{type(error).__name__}: {said}".rstrip(" .:")


def _unusable(path: Path, found: str) -> ModelError:
    return ModelError(
        f"{path}: no training can go on from this file.",
        found=found,
        expected="a checkpoint that mrsynth train wrote, whole",
        do="put a copy of best.ckpt in its place to go on from the best epoch, or remove it: then --resume goes on "
        "from the end of the last stage, or begins anew",
    )


class LastState(ModelCheckpoint):
    """Keeps last.ckpt, the state after the last finished epoch, from which a run goes on."""

    def __init__(self, folder: Path, filename: str = "last", monitor: str | None = None) -> None:
        super().__init__(
            folder, filename=filename, monitor=monitor, enable_version_counter=False, save_on_train_epoch_end=True
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore from a checkpoint, also from another run's or of a run whose folder has another name by now."""
        folder = Path(str(self.dirpath))

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else ""

        paths = {key: here(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        scores = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": scores, "dirpath": self.dirpath})


class BestModel(LastState):
    """Keeps best.ckpt, the state with the least validation loss since the stage began."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "best", "val_loss")

    def begin_anew(self) -> None:
        """Forget what was best: the next epoch is. Losses of two stages cannot be compared."""
        self.best_k_models.clear()
        self.best_model_path = self.kth_best_model_path = ""
        self.kth_value = torch.tensor(torch.inf)


def forget_states(folder: Path) -> None:
    """Remove the states from which a training could go on, which are three times the size of its model each; those at
    the end of a stage, with which other runs begin, are kept."""
    for name in ("last", "best"):
        (folder / f"{name}.ckpt").unlink(missing_ok=True)


def latest(folder: Path) -> Path | None:
    """Return the checkpoint to go on from: last.ckpt, else the end of the last stage that is there, else None."""
    if (folder / "last.ckpt").exists():
        return folder / "last.ckpt"
    return max(folder.glob("stage-*.ckpt"), key=lambda path: int(path.stem.partition("-")[2]), default=None)
