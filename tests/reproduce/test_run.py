"""A whole study by one call: it resumes, a failure stops no other, tables say all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mrsynth.core.errors import CohortError, OutputError, RecipeError
from mrsynth.reproduce.run import reproduce
from tiny_study import study_cohort, study_data, study_recipe, write_study


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tiny study as data, and its cohort."""
    folder = tmp_path_factory.mktemp("study")
    return {"data": study_data(study_recipe(folder)), "cohort": study_cohort(folder)}


def state(out: Path) -> dict[str, str]:
    return {item["label"]: item["state"] for item in json.loads((out / "study.json").read_text())["items"]}


def weights(out: Path, cell: str) -> Path:
    return out / "runs" / cell / "model" / "weights.safetensors"


def test_a_study_goes_on_and_a_cell_that_fails_stops_no_other(given: dict[str, Any], tmp_path: Path):
    out, data = tmp_path / "out", dict(given["data"])
    # A rate at which the loss is no number any more.
    broken = {"set": ["train.learning_rate=1.0e+30", "task.inputs=[t1]", "net.settings.inputs=1"]}
    study = write_study(tmp_path, data | {"cells": data["cells"] | {"t1": broken}})
    first = reproduce(study, "smoke", out, given["cohort"], only=["strong"])
    assert first.failed == ()
    assert not [*out.glob("runs/*/checkpoints/last.ckpt"), *out.glob("runs/*/checkpoints/best.ckpt")]
    assert state(out)["both"] == "not run"
    made = weights(out, "strong").stat().st_mtime_ns
    done = reproduce(study, "smoke", out, given["cohort"])
    assert [label for label, _ in done.failed] == ["t1"]
    assert "diverged" in done.failed[0][1]
    assert state(out) == {
        "both": "done", "strong": "done", "t1": "failed", "fill": "done", "both/no-t2": "done", "both/filled": "done",
    }  # fmt: skip
    assert weights(out, "strong").stat().st_mtime_ns == made
    text = (out / "tables" / "table1.md").read_text()
    assert "on a given cohort: 3 patients to train, 1 to choose the epoch, 2 to test" in text
    assert "| T1 | failed |" in text
    assert "* T1 failed: " in text
    assert "| identity | " in text
    assert done.page.is_file()
    assert {path.name for path in done.tables} == {"table1.md", "sweep.md"}
    # The broken cell is mended: a changed recipe is not gone on with.
    study = write_study(tmp_path, data)
    with pytest.raises(RecipeError, match=r"Cell t1 was begun(.|\n)*train\.learning_rate: (.|\n)*remove"):
        reproduce(study, "smoke", out, given["cohort"])
    with pytest.raises(RecipeError, match="at another scale"):
        reproduce(study, "small", out, given["cohort"])


def test_tables_of_what_is_there(given: dict[str, Any], tmp_path: Path):
    study, out = write_study(tmp_path, given["data"]), tmp_path / "out"
    with pytest.raises(CohortError, match="holds no study"):
        reproduce(study, "smoke", out, tables_only=True)
    reproduce(study, "smoke", out, given["cohort"], only=["both"])
    for path in (out / "tables").iterdir():
        path.unlink()
    done = reproduce(study, "smoke", out, tables_only=True)
    text = (out / "tables" / "table1.md").read_text()
    assert "| T1 | not run |" in text
    assert "| Both<br>stage 1: too few epochs to say whether it has converged; stage 2: too few epochs" in text
    assert len(done.tables) == 2


def test_what_cannot_be_run_says_why(given: dict[str, Any], tmp_path: Path):
    with pytest.raises(RecipeError, match="needs the paper's cohort"):
        reproduce("osman2022", "paper", tmp_path)
    study = write_study(tmp_path, given["data"])
    with pytest.raises(RecipeError, match="has no scale 'paper'"):
        reproduce(study, "paper", tmp_path)
    table = tmp_path / "cohort.csv"
    table.write_text(given["cohort"].read_text().replace(",test,", ",train,"))
    with pytest.raises(CohortError, match=r"a study needs cases(.|\n)*no case in test"):
        reproduce(study, "smoke", tmp_path / "out", table)


@pytest.mark.parametrize("name", ["study.html", "tables/mine.md", "figures/mine.png", "runs/notes.txt", "prepared/x"])
def test_what_no_study_left_is_neither_written_over_nor_taken_for_its_own(
    given: dict[str, Any], tmp_path: Path, name: str
):
    study, out = write_study(tmp_path, given["data"]), tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    with pytest.raises(OutputError, match=f"{name.split('/')[0]}: is there already"):
        reproduce(study, "smoke", out, given["cohort"])
    assert [str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()] == [name]


def test_a_study_writes_through_no_link(given: dict[str, Any], tmp_path: Path):
    study, out = write_study(tmp_path, given["data"]), tmp_path / "out"
    out.mkdir()
    (out / "runs").symlink_to(tmp_path)
    with pytest.raises(OutputError, match="runs: is a link"):
        reproduce(study, "smoke", out, given["cohort"])
