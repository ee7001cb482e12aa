"""Killed at any operation on files, a verb that is run again leaves what an undisturbed run leaves.

MRSYNTH_KILLS=30 for the nightly run, in which a study is killed too; 3 a verb by default.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from world import OUTPUTS, VERBS, WHOLE, make_inputs

KILLS = int(os.environ.get("MRSYNTH_KILLS", "3"))
SWEPT = VERBS if KILLS < 10 else {**VERBS, "reproduce": WHOLE["reproduce"]}
TIMED = (
    "run.json", "history.csv", "contract.json", "README.md", "learning_curves.png", "report.html", "study.json",
    "state.json", "study.html",
)  # fmt: skip
"""Files that say when, or how long: of these the name alone is compared."""


def held(world: Path, output: str) -> dict[str, str]:
    """Return every file of an output with what identifies its content, logs of the training left out. Files name others
    by paths, of which the copy's own part is taken out."""
    found, folder = {}, world / output
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "tfevents" not in path.name and path.suffix != ".ckpt":
            text = path.read_bytes().replace(str(world).encode(), b"")
            found[str(path.relative_to(folder))] = "" if path.name in TIMED else hashlib.sha256(text).hexdigest()
    return found


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Path]:
    """Return the world as it is before each verb, and after all of them."""
    import shutil

    folder = make_inputs(tmp_path_factory.mktemp("kills") / "w")
    before = {}
    for verb, do in SWEPT.items():
        before[verb] = folder.with_name(f"before-{verb}")
        shutil.copytree(folder, before[verb])
        do(folder)
    return before, folder


@pytest.mark.parametrize("verb", SWEPT)
def test_a_verb_that_was_killed_is_run_again_and_nothing_differs(steps: tuple[dict[str, Path], Path], verb: str):
    before, _ = steps
    world, script = before[verb], Path(__file__).with_name("killing.py")
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    counts = [1 + number * (7 if KILLS < 10 else 3) for number in range(KILLS)]
    done = subprocess.run(
        [sys.executable, str(script), str(world), verb, "100000", *map(str, counts)],
        capture_output=True,
        text=True,
        timeout=max(540, 60 * KILLS),
        env={**os.environ, "PYTHONPATH": paths},
    )
    outcomes = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.split(" ", 1)[0].isdigit())
    assert done.returncode == 0, done.stderr[-2000:]
    assert "failed" not in str(outcomes), done.stdout
    assert outcomes["1"] == "killed"
    undisturbed = held(world.with_name(f"{world.name}-{verb}-100000"), OUTPUTS[verb])
    for count in counts:
        assert held(world.with_name(f"{world.name}-{verb}-{count}"), OUTPUTS[verb]) == undisturbed, count
