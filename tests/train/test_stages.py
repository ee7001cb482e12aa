from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from mrsynth.core.errors import RecipeError
from mrsynth.io import PreparedCohort
from mrsynth.losses import build_loss
from mrsynth.nets import build_net
from mrsynth.recipes.sections import StageSettings, stage_terms, stages_in_order
from mrsynth.train.batches import SliceSet
from mrsynth.train.fit import FitResult, fit
from mrsynth.train.history import read_history
from mrsynth.train.stages import build_stages
from mrsynth.train.supervised import Supervised
from tiny import TRAIN, tiny_prepared

SETTINGS = TRAIN.model_copy(
    update={
        "epochs": 5,
        "samples_per_epoch": 24,
        "stages": {
            "local": StageSettings(from_epoch=2, learning_rate=0.001, loss={"mse": 100}),
            "left_out": None,
            "last": StageSettings(from_epoch=4, learning_rate=0.0005, loss={"mae": 1}),
        },
    }
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    return tiny_prepared(tmp_path_factory.mktemp("prepared") / "p")


def run(prepared: PreparedCohort, folder: Path, *, resume: bool = False, **changes: object) -> FitResult:
    settings = SETTINGS.model_copy(update=changes)
    torch.manual_seed(0)
    net = build_net("unet2d", widths=[4, 8], dropout=[0.1, 0.1])
    train, val = (SliceSet(prepared, split, (["t1"], "t2"), 0.1, 1) for split in ("train", "val"))
    module = Supervised(net, build_loss({"mse": 1}), settings)
    stages = build_stages(settings, {"mse": 1}, ["t1"])
    return fit(module, (train, val), settings, folder, stages=stages, resume=resume)


@pytest.fixture(scope="module")
def whole(prepared: PreparedCohort, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(prepared, folder)


def column(folder: Path, name: str) -> list[float]:
    return [row[name] for row in read_history(folder / "log" / "history.csv")]


def test_learning_rate_and_losses_change_at_their_epochs(whole: tuple[Path, FitResult]) -> None:
    folder, result = whole
    assert column(folder, "stage") == [0, 0, 1, 1, 2]
    assert column(folder, "lr") == [0.002, 0.002, 0.001, 0.001, 0.0005]
    train, val = column(folder, "train_loss"), column(folder, "val_loss")
    for losses in (train, val):  # the same error, weighed a hundredfold, in training and in validation
        assert 10 < losses[2] / losses[1] < 110
    assert result.epochs == 5
    assert result.best_epoch == 4  # though its loss is not the least of all stages
    assert result.best_val_loss == pytest.approx(val[4], rel=1e-6)
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "stage-0.ckpt", "stage-1.ckpt"}


@pytest.mark.parametrize("stopped_after", [1, 2, 3, 4])
def test_a_run_resumed_in_any_stage_equals_one_that_was_never_stopped(
    prepared: PreparedCohort,
    whole: tuple[Path, FitResult],
    tmp_path: Path,
    stopped_after: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stopped(Exception):
        pass

    step = Supervised.training_step

    def stop(self: Supervised, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        if self.current_epoch == stopped_after and index == 1:
            raise Stopped
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "training_step", stop)
        with pytest.raises(Stopped):
            run(prepared, tmp_path)
    assert len(column(tmp_path, "epoch")) == stopped_after
    resumed = run(prepared, tmp_path, resume=True)
    assert_equal(resumed, whole[1])
    for name in ("epoch", "stage", "train_loss", "val_loss", "lr"):
        assert column(tmp_path, name) == column(whole[0], name)


@pytest.mark.parametrize("name", ["last.ckpt", "stage-1.ckpt"])
def test_a_run_begun_with_another_runs_stage_equals_one_that_trained_it(
    prepared: PreparedCohort, whole: tuple[Path, FitResult], tmp_path: Path, name: str
) -> None:
    """The stage's state is copied as the run's last one, or under its own name."""
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(whole[0] / "checkpoints" / "stage-1.ckpt", tmp_path / "checkpoints" / name)
    assert_equal(run(prepared, tmp_path, resume=True), whole[1])
    assert column(tmp_path, "epoch") == [4]
    assert column(tmp_path, "val_loss") == column(whole[0], "val_loss")[4:]


def assert_equal(a: FitResult, b: FitResult) -> None:
    assert (a.best_epoch, a.best_val_loss, a.epochs) == (b.best_epoch, b.best_val_loss, b.epochs)
    assert a.weights.keys() == b.weights.keys()
    assert all(torch.equal(a.weights[key], b.weights[key]) for key in a.weights)


def test_training_stops_early_in_the_last_stage_alone(prepared: PreparedCohort, tmp_path: Path) -> None:
    """A rate at which nothing improves: the first stage ends at its epoch all the same, the last after the patience."""
    last = {"last": StageSettings(from_epoch=4, learning_rate=1e-12, loss={})}
    changes: dict[str, object] = {"epochs": 12, "patience": 1, "learning_rate": 0.5, "stages": last}
    run(prepared, tmp_path, **changes)
    losses = column(tmp_path, "val_loss")
    assert any(losses[k] >= min(losses[:k]) for k in (1, 2, 3))
    assert 4 < len(losses) < 12
    again = (tmp_path / "log" / "history.csv").read_bytes()
    run(prepared, tmp_path, resume=True, **changes)  # it had stopped: it trains no further
    assert (tmp_path / "log" / "history.csv").read_bytes() == again


def test_a_run_whose_folder_was_moved_keeps_its_best_epoch(prepared: PreparedCohort, tmp_path: Path) -> None:
    changes: dict[str, object] = {"stages": {}, "learning_rate": 0.2}
    whole = run(prepared, tmp_path / "whole", **changes, epochs=6)
    run(prepared, tmp_path / "here", **changes, epochs=3)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert_equal(run(prepared, tmp_path / "there", resume=True, **changes, epochs=6), whole)


@pytest.mark.parametrize(
    ("epochs", "named"), [((2, 2), "second"), ((3, 1), "second"), ((5, 6), "first"), ((1, 5), "second")]
)
def test_stages_that_leave_no_epoch_are_refused(epochs: tuple[int, int], named: str) -> None:
    first, second = (StageSettings(from_epoch=epoch, learning_rate=1, loss={}) for epoch in epochs)
    settings = SETTINGS.model_copy(update={"stages": {"first": first, "second": second}})
    with pytest.raises(RecipeError, match=f"train.stages.{named}"):
        stages_in_order(settings)


def test_a_stage_changes_the_losses_that_it_names() -> None:
    recipe = {"mae": 1, "slice_ssim": 1, "enhancement_mae": {"weight": 1, "delta": 0.2}}
    assert stage_terms(recipe, {"mae": 0.1, "enhancement_mae": 10, "mse": 3}) == {
        "mae": {"weight": 0.1},
        "slice_ssim": {"weight": 1},
        "enhancement_mae": {"weight": 10, "delta": 0.2},
        "mse": {"weight": 3},
    }
    assert stage_terms(recipe, {"enhancement_mae": {"delta": 0.3}})["enhancement_mae"] == {"weight": 1, "delta": 0.3}
