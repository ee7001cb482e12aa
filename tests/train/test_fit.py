from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mrsynth.core.errors import CohortError, MrsynthError, OutputError
from mrsynth.io import PreparedCohort
from mrsynth.losses import build_loss
from mrsynth.nets import build_net
from mrsynth.train.batches import EpochSampler, SliceSet, kept_slices
from mrsynth.train.fit import FitResult, fit
from mrsynth.train.history import read_history
from mrsynth.train.loader import Loader
from mrsynth.train.supervised import Supervised
from tiny import TRAIN, tiny_prepared


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedCohort:
    return tiny_prepared(tmp_path_factory.mktemp("prepared") / "p")


def sets(prepared: PreparedCohort, in_memory_gb: float = 1) -> tuple[SliceSet, SliceSet]:
    return tuple(SliceSet(prepared, s, (["t1"], "t2"), 0.1, in_memory_gb) for s in ("train", "val"))  # type: ignore[return-value]


def run(prepared: PreparedCohort, folder: Path, *, resume: bool = False, **changes: object) -> FitResult:
    settings = TRAIN.model_copy(update=changes)
    torch.manual_seed(0)
    net = build_net("unet2d", widths=[4, 8, 8], dropout=[0.1, 0.1, 0.2])
    module = Supervised(net, build_loss({"mse": 1.0}), settings)
    return fit(module, sets(prepared), settings, folder, resume=resume)


def test_two_runs_with_one_seed_are_identical_and_another_seed_differs(prepared: PreparedCohort, tmp_path: Path):
    a, b = run(prepared, tmp_path / "a"), run(prepared, tmp_path / "b")
    c = run(prepared, tmp_path / "c", seed=4)
    assert all(torch.equal(a.weights[k], b.weights[k]) for k in a.weights)
    assert not all(torch.equal(a.weights[k], c.weights[k]) for k in a.weights)
    losses = [row["train_loss"] for row in read_history(tmp_path / "a" / "log" / "history.csv")]
    assert losses == [row["train_loss"] for row in read_history(tmp_path / "b" / "log" / "history.csv")]
    assert losses[-1] < 0.7 * losses[0]


def test_a_resumed_run_equals_one_that_was_never_stopped(prepared: PreparedCohort, tmp_path: Path):
    whole = run(prepared, tmp_path / "whole")
    run(prepared, tmp_path / "parts", epochs=2)
    resumed = run(prepared, tmp_path / "parts", resume=True)
    assert resumed.epochs == whole.epochs == 4
    assert resumed.best_epoch == whole.best_epoch
    for name, value in whole.weights.items():
        torch.testing.assert_close(resumed.weights[name], value, rtol=0, atol=0)
    rows = read_history(tmp_path / "parts" / "log" / "history.csv")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    whole_rows = read_history(tmp_path / "whole" / "log" / "history.csv")
    assert [row["val_loss"] for row in rows] == [row["val_loss"] for row in whole_rows]
    assert {row["lr"] for row in rows} == {0.002}


def test_epochs_that_were_no_better_are_not_lost(prepared: PreparedCohort, tmp_path: Path):
    """A resumed run goes on from the last finished epoch, also where an earlier one was the best."""
    whole = run(prepared, tmp_path / "whole", epochs=9, learning_rate=0.2)
    rows = read_history(tmp_path / "whole" / "log" / "history.csv")
    losses = [row["val_loss"] for row in rows]
    stop = next(k for k in range(2, 8) if losses[k - 1] > min(losses[: k - 1]))
    run(prepared, tmp_path / "parts", epochs=stop, learning_rate=0.2)
    resumed = run(prepared, tmp_path / "parts", resume=True, epochs=9, learning_rate=0.2)
    again = [row["val_loss"] for row in read_history(tmp_path / "parts" / "log" / "history.csv")]
    assert again == losses
    assert resumed.best_epoch == whole.best_epoch


def test_a_finished_run_that_is_resumed_trains_no_further(prepared: PreparedCohort, tmp_path: Path):
    done = run(prepared, tmp_path)
    before = (tmp_path / "log" / "history.csv").read_bytes()
    again = run(prepared, tmp_path, resume=True)
    assert (tmp_path / "log" / "history.csv").read_bytes() == before
    assert all(torch.equal(done.weights[k], again.weights[k]) for k in done.weights)


def test_a_run_that_stopped_early_goes_on_with_more_patience(prepared: PreparedCohort, tmp_path: Path):
    run(prepared, tmp_path, epochs=12, learning_rate=0.2, patience=1)
    stopped = len(read_history(tmp_path / "log" / "history.csv"))
    assert stopped < 12
    run(prepared, tmp_path, resume=True, epochs=12, learning_rate=0.2, patience=100)
    assert len(read_history(tmp_path / "log" / "history.csv")) == 12


def test_the_best_epoch_is_kept_and_training_stops_early(prepared: PreparedCohort, tmp_path: Path):
    result = run(prepared, tmp_path, epochs=30, learning_rate=0.2, patience=2)
    rows = read_history(tmp_path / "log" / "history.csv")
    best = min(rows, key=lambda row: row["val_loss"])
    assert result.best_epoch == best["epoch"]
    assert result.best_val_loss == pytest.approx(best["val_loss"], rel=1e-6)
    assert len(rows) <= best["epoch"] + 1 + 2
    assert list((tmp_path / "log" / "tensorboard").glob("events*"))


def test_a_run_that_diverges_stops_with_a_sentence_and_keeps_its_last_good_state(
    prepared: PreparedCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Weights that are not finite show in the validation loss first where an epoch has one batch."""
    with pytest.raises(MrsynthError, match=r"diverged in epoch 0[\s\S]*val_loss"):
        run(prepared, tmp_path / "at-once", epochs=2, learning_rate=1e30, samples_per_epoch=1)
    assert not (tmp_path / "at-once" / "checkpoints" / "last.ckpt").exists()
    run(prepared, tmp_path / "later", epochs=1)
    good = (tmp_path / "later" / "checkpoints" / "last.ckpt").read_bytes()
    monkeypatch.setattr(Supervised, "loss_of", lambda *_: torch.tensor(math.nan, requires_grad=True))
    with pytest.raises(MrsynthError, match=r"diverged in epoch 1[\s\S]*train_loss nan"):
        run(prepared, tmp_path / "later", epochs=2, resume=True)
    assert (tmp_path / "later" / "checkpoints" / "last.ckpt").read_bytes() == good


def test_samples_from_memory_and_from_the_memory_maps_are_the_same(prepared: PreparedCohort):
    memory, disk = sets(prepared)[0], sets(prepared, in_memory_gb=0)[0]
    assert memory.memory is not None
    assert disk.memory is None
    chosen = [5, 0, 11]
    for a, b in zip(memory.__getitems__(chosen), disk.__getitems__(chosen), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    inputs, target = memory[5]
    case, k = memory.index[5, :2]
    assert inputs.shape == (1, 32, 32)
    name = prepared.cases("train")[case]
    np.testing.assert_array_equal(target[0], prepared.array(name, "t2")[..., k])


def test_every_slice_comes_once_an_epoch_in_an_order_of_its_own(prepared: PreparedCohort):
    samples = sets(prepared)[0]
    sampler = EpochSampler(len(samples), seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(len(samples)))
    assert first != second
    assert sum(len(batch[0]) for batch in Loader(samples, 8, sampler, 0)) == len(samples)


def test_ranks_share_the_slices_without_overlap():
    parts = [list(EpochSampler(101, seed=1, rank=rank, ranks=3)) for rank in range(3)]
    assert {len(part) for part in parts} == {33}
    assert len(set().union(*parts)) == 99
    assert len(list(EpochSampler(101, seed=1, samples=10))) == 10


def test_kept_slices_hold_enough_brain():
    brain = np.zeros((10, 10, 4), np.uint8)
    brain[:2, :5, 1] = 1
    brain[..., 2] = 1
    assert kept_slices(brain, 0.0).tolist() == [1, 2]
    assert kept_slices(brain, 0.1).tolist() == [1, 2]
    assert kept_slices(brain, 0.11).tolist() == [2]


def test_an_empty_split_is_refused(prepared: PreparedCohort):
    with pytest.raises(CohortError, match="holds no slice"):
        SliceSet(prepared, "validation", (["t1"], "t2"), 0.1, 1)


def test_a_full_disk_keeps_the_last_checkpoint_and_says_so(
    prepared: PreparedCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(prepared, tmp_path, epochs=2)
    last = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()

    def full(checkpoint: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing file")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OutputError, match="no space left"):
            run(prepared, tmp_path, resume=True)
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == last
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert run(prepared, tmp_path, resume=True).epochs == 4


def test_mixed_precision_learns_too(prepared: PreparedCohort, tmp_path: Path):
    run(prepared, tmp_path, precision="bf16-mixed", epochs=3)
    losses = [row["train_loss"] for row in read_history(tmp_path / "log" / "history.csv")]
    assert losses[-1] < losses[0]
