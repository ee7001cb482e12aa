"""A checkpoint from which no training can go on: said in a sentence, whatever is wrong; nothing in it is run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from mrsynth.core.errors import ModelError
from mrsynth.losses import build_loss
from mrsynth.nets import build_net
from mrsynth.train.batches import SliceSet
from mrsynth.train.checkpoints import AtomicCheckpoints
from mrsynth.train.fit import FitResult, fit
from mrsynth.train.supervised import Supervised
from tiny import TRAIN, tiny_prepared


class Hostile:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "last.ckpt"
    AtomicCheckpoints().save_checkpoint({"state_dict": {"w": torch.ones(1000)}, "epoch": 1}, path)
    return path


def test_what_is_written_is_read(whole: Path):
    assert AtomicCheckpoints().load_checkpoint(whole)["epoch"] == 1


@pytest.mark.parametrize("kept", [0, 1, 3, 10, 2000, -30, -1])
def test_a_file_that_is_cut_off(whole: Path, kept: int):
    whole.write_bytes(whole.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"last\.ckpt: no training can go on") as told:
        AtomicCheckpoints().load_checkpoint(whole)
    assert "best.ckpt" in str(told.value)
    assert "weights_only" not in str(told.value)
    assert len(str(told.value).splitlines()) == 4


def test_a_file_that_holds_code_or_something_else(whole: Path, tmp_path: Path):
    torch.save({"state_dict": Hostile(tmp_path / "made")}, whole)
    with pytest.raises(ModelError, match="mkdir"):
        AtomicCheckpoints().load_checkpoint(whole)
    assert not (tmp_path / "made").exists()
    whole.write_text("hello\n" * 100)
    with pytest.raises(ModelError, match="no training can go on"):
        AtomicCheckpoints().load_checkpoint(whole)
    for other in ([1, 2], {"weights": 1}):
        torch.save(other, whole)
        with pytest.raises(ModelError, match="without the state of a network"):
            AtomicCheckpoints().load_checkpoint(whole)


def test_a_file_that_is_gone_is_not_called_damaged(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        AtomicCheckpoints().load_checkpoint(tmp_path / "last.ckpt")


def test_what_is_advised_goes_on(tmp_path: Path):
    prepared = tiny_prepared(tmp_path / "prepared")
    checkpoints = tmp_path / "run" / "checkpoints"

    def train(epochs: int) -> FitResult:
        torch.manual_seed(0)
        settings = TRAIN.model_copy(update={"epochs": epochs})
        module = Supervised(build_net("unet2d", widths=[4, 8], dropout=[0.1, 0.1]), build_loss({"mse": 1.0}), settings)
        samples = tuple(SliceSet(prepared, split, (["t1"], "t2"), 0.1, 1) for split in ("train", "val"))
        return fit(module, samples, settings, tmp_path / "run", resume=True)  # type: ignore[arg-type]

    train(2)
    last = checkpoints / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(ModelError, match="no training can go on"):
        train(3)
    shutil.copy(checkpoints / "best.ckpt", last)
    assert train(3).epochs == 3
    last.unlink()
    assert train(1).epochs == 1  # anew
