"""Two processes share one training (gloo on the CPU): what several GPUs do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mrsynth.model import load_contract
from mrsynth.train.history import read_history
from tiny import tiny_prepared, tiny_recipe


def test_two_processes_train_one_model(tmp_path: Path):
    recipe, prepared, out = tiny_recipe(tmp_path), tiny_prepared(tmp_path / "p"), tmp_path / "run"
    words = ["train", recipe, "--data", prepared.folder, "--out", out, "--quiet"]
    for setting in ("accelerator=cpu", "devices=2", "strategy=ddp", "epochs=4"):
        words += ["--set", f"train.{setting}"]
    command = [sys.executable, "-m", "mrsynth", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("The model is in") == 1
    rows = read_history(out / "log" / "history.csv")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert load_contract(out).target == "t2"
