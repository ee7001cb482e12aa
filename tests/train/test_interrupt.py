"""Ctrl-C in the middle: nothing half-written, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from mrsynth.cli.root import app
from mrsynth.index.find import index_folder
from mrsynth.io import PreparedCohort, write_cohort
from mrsynth.train.history import read_history
from tiny import tiny_prepared, tiny_recipe, tiny_scans


def interrupt(words: list[object], when: Callable[[], bool], timeout_s: float = 240) -> tuple[int, str]:
    """Start a command, press Ctrl-C once `when` holds, and return exit code and what it said."""
    # A test run that was started in the background passes on an ignored SIGINT, which Python leaves ignored.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from mrsynth.cli import main; main()"
    )
    command = [sys.executable, "-c", code, *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    end = time.monotonic() + timeout_s
    while not when():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=timeout_s)[1]
    return process.returncode, said


def again(words: list[object]) -> str:
    """Run a command to its end and return what it said."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_training_goes_on_after_ctrl_c(tmp_path: Path):
    recipe, prepared, out = tiny_recipe(tmp_path), tiny_prepared(tmp_path / "p"), tmp_path / "run"
    history = out / "log" / "history.csv"
    words = ["train", recipe, "--data", prepared.folder, "--out", out, "--set", "train.patience=100000", "--quiet"]
    code, said = interrupt([*words, "--set", "train.epochs=100000"], lambda: len(read_history(history)) >= 3)
    assert code == 130
    assert "--resume" in said
    assert "Traceback" not in said
    done = len(read_history(history))
    assert not (out / "model").exists()
    more = f"train.epochs={done + 2}"
    again([*words, "--set", more, "--resume"])
    assert [row["epoch"] for row in read_history(history)] == list(range(done + 2))
    assert (out / "model" / "weights.safetensors").exists()


def test_preparing_goes_on_after_ctrl_c(tmp_path: Path):
    recipe, out, cases = tiny_recipe(tmp_path), tmp_path / "p", 60
    write_cohort(index_folder(tiny_scans(tmp_path / "scans", cases)), tmp_path / "c.csv")
    words = ["prepare", tmp_path / "c.csv", "--recipe", recipe, "-o", out, "--quiet"]
    code, said = interrupt(words, lambda: len(list(out.glob("cases/*/record.json"))) >= 2)
    assert code == 130
    assert "Traceback" not in said
    finished = {p.parent for p in out.glob("cases/*/record.json")}
    assert 2 <= len(finished) < cases
    times = {p: (p / "record.json").stat().st_mtime_ns for p in finished}
    assert f"{len(finished)} up to date" in again(words)
    assert len(PreparedCohort.open(out).cases()) == cases
    assert all((p / "record.json").stat().st_mtime_ns == t for p, t in times.items())
    assert not [p for p in out.rglob(".*") if p.is_file() or p.is_dir()]
