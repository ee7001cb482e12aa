"""Two processes share one training (gloo on the CPU): what several GPUs do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mrsynth.model import load_contract
from mrsynth.train.history import read_history
from tiny import tiny_prepared, tiny_recipe

GAME = (
    "game={critic: {name: critic_patch, settings: {inputs: 1, widths: [4, 8]}}, weight: 0.01, features: 0, style: 0,"
    " learning_rate: 0.001, betas: [0.5, 0.999]}"
)


@pytest.mark.parametrize("more", [(), (GAME,)], ids=["supervised", "against a critic"])
def test_two_processes_train_one_model(tmp_path: Path, more: tuple[str, ...]):
    recipe, prepared, out = tiny_recipe(tmp_path), tiny_prepared(tmp_path / "p"), tmp_path / "run"
    words = ["train", recipe, "--data", prepared.folder, "--out", out, "--quiet"]
    sets = ("train.accelerator=cpu", "train.devices=2", "train.strategy=ddp", "train.epochs=4", *more)
    words += [word for setting in sets for word in ("--set", setting)]
    command = [sys.executable, "-m", "mrsynth", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The model is in") == 1
    rows = read_history(out / "log" / "history.csv")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert ("critic_loss" in rows[0]) == bool(more)
    assert load_contract(out).target == "t2"
