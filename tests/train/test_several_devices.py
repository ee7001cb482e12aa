"""Two processes share one training (gloo on the CPU): what several GPUs do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mrsynth.model import load_contract
from mrsynth.recipes.recipe import load_recipe
from mrsynth.train.history import read_history
from mrsynth.train.run import train
from tiny import tiny_prepared, tiny_recipe

GAME = (
    "method={kind: adversarial, critic: {name: critic_patch, settings: {inputs: 1, widths: [4, 8]}}, weight: 0.01,"
    " features: 0, style: 0, learning_rate: 0.001, betas: [0.5, 0.999]}"
)
BOXES = (
    "net={name: hrfcn, settings: {inputs: 1, mode: slab, widths: [2, 2, 2], blocks: 1, norm: none}}",
    "samples.patch={size: [null, null, 3], per_epoch: 12, within: brain}",
    "train.stages.second={from_epoch: 2, learning_rate: 0.001, loss: {mse: 10}}",
)
TWO = ("train.accelerator=cpu", "train.devices=2", "train.strategy=ddp", "train.epochs=4")


def train_on_two(recipe: Path, data: Path, out: Path, *sets: str) -> subprocess.CompletedProcess[str]:
    """Run `mrsynth train` with two processes; it says once, by the main one, where the model is."""
    words = ["train", recipe, "--data", data, "--out", out, "--quiet"]
    words += [word for setting in (*TWO, *sets) for word in ("--set", setting)]
    command = [sys.executable, "-m", "mrsynth", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The model is in") == 1
    return done


@pytest.mark.parametrize("more", [(), (GAME,)], ids=["supervised", "against a critic"])
def test_two_processes_train_one_model(tmp_path: Path, more: tuple[str, ...]):
    recipe, prepared, out = tiny_recipe(tmp_path), tiny_prepared(tmp_path / "p"), tmp_path / "run"
    train_on_two(recipe, prepared.folder, out, *more)
    rows = read_history(out / "log" / "history.csv")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert ("critic_loss" in rows[0]) == bool(more)
    assert load_contract(out).target == "t2"


def test_two_processes_with_half_the_batch_train_on_boxes_in_stages_what_one_trains(tmp_path: Path):
    """Without normalisation over the batch the mean of two gradients is the gradient of both batches together."""
    recipe, prepared = tiny_recipe(tmp_path), tiny_prepared(tmp_path / "p")
    train_on_two(recipe, prepared.folder, tmp_path / "two", *BOXES, "train.batch_size=3")
    alone = ("train.accelerator=cpu", "train.epochs=4", "train.batch_size=6")
    train(load_recipe(str(recipe), [*BOXES, *alone]), prepared, tmp_path / "one")
    kept = {}
    for name in ("one", "two"):
        rows = read_history(tmp_path / name / "log" / "history.csv")
        assert [row["stage"] for row in rows] == [0, 0, 1, 1]
        assert [row["lr"] for row in rows] == [0.005, 0.005, 0.001, 0.001]
        assert (tmp_path / name / "checkpoints" / "stage-0.ckpt").is_file()
        kept[name] = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
        state = kept[name]["optimizer_states"][0]["state"]
        assert {int(moments["step"]) for moments in state.values()} == {8}  # two an epoch, not begun anew in a stage
    weights = {name: checkpoint["state_dict"] for name, checkpoint in kept.items()}
    assert weights["one"].keys() == weights["two"].keys()
    for name, value in weights["one"].items():
        torch.testing.assert_close(weights["two"][name], value, atol=1e-4, rtol=1e-3, msg=name)
