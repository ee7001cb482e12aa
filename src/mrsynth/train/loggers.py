"""Where a training's numbers go beside log/history.csv: TensorBoard, Weights & Biases, MLflow."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from lightning.pytorch.loggers import Logger

from mrsynth.core.extras import require_extra
from mrsynth.io.run import Run

PROJECT = "mrsynth"


def loggers_of(names: Sequence[str], run: Run) -> list[Logger]:
    """Return the loggers of a training.

    Args:
        names: of `train.log`; csv is written by `History`, whether it is named or not.
        run: the folder that it leaves.

    Raises:
        RecipeError: the package of a logger is not installed.
    """
    return [LOGGERS[name](run) for name in dict.fromkeys(names) if name in LOGGERS]


def _tensorboard(run: Run) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(run.log, name="", version="tensorboard")


def _wandb(run: Run) -> Logger:
    """Offline, below log/, unless WANDB_MODE says otherwise: nothing of patients leaves the machine unasked."""
    require_extra("wandb", "wandb")
    from lightning.pytorch.loggers import WandbLogger

    offline = os.environ.get("WANDB_MODE", "offline") != "online"
    return WandbLogger(name=run.folder.name, project=PROJECT, save_dir=run.log, offline=offline)


def _mlflow(run: Run) -> Logger:
    """To MLFLOW_TRACKING_URI, else to a data base below log/."""
    require_extra("mlflow", "mlflow")
    from lightning.pytorch.loggers import MLFlowLogger

    where = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(run.log / 'mlflow.db').resolve()}"
    return MLFlowLogger(experiment_name=PROJECT, run_name=run.folder.name, tracking_uri=where)


LOGGERS: Mapping[str, Callable[[Run], Logger]] = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}
