"""The work on one cell or job: done once, gone on with, judged in its own folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
from safetensors.torch import save

from mrsynth.core.errors import CohortError, ModelError
from mrsynth.core.jobs import Workers, run_each
from mrsynth.core.progress import listening
from mrsynth.io import Cohort, read_cohort
from mrsynth.io.predictions import read_predictions
from mrsynth.model import load_contract
from mrsynth.prepare.run import prepare
from mrsynth.recipes.recipe import Recipe
from mrsynth.reproduce.halfway import FOLDER
from mrsynth.reproduce.listing import trained
from mrsynth.reproduce.plan import Cell, Item, Job, plan_study
from mrsynth.reproduce.records import State
from mrsynth.reproduce.study import JobSettings, load_study
from mrsynth.reproduce.work import StudyWork, each_once, is_done, run_cell, run_job
from mrsynth.train.checkpoints import AtomicCheckpoints
from mrsynth.train.fit import kept_weights
from tiny_study import study_cohort, study_data, study_recipe, write_study


@dataclass
class World:
    items: dict[str, Item]
    cohort: Cohort
    folder: Path

    def cell(self, name: str) -> Cell:
        return cast(Cell, self.items[name])


def weights(cell: Cell) -> str:
    return load_contract(cell.run).weights_sha256


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The tiny study with its cohort prepared and three of its cells trained."""
    folder = tmp_path_factory.mktemp("cells")
    table = study_cohort(folder)
    study = load_study(write_study(folder, study_data(study_recipe(folder))))
    items = {item.name: item for item in plan_study(study, "smoke", folder / "out")}
    world = World(items, read_cohort(table), folder)
    prepare(world.cohort, world.cell("both").recipe, world.cell("both").prepared)
    for name in ("both", "strong", "fill"):
        run_cell(world.cell(name), world.cohort)
    return world


def test_a_cell_is_a_run_with_everything(world: World):
    cell = world.cell("both")
    names = {path.name for path in cell.run.iterdir()}
    assert {"model", "predictions", "metrics.csv", "metrics.json", "report.html", "state.json", "recipe.yaml"} <= names
    state = State.of(cell.run)
    assert state.is_done
    assert set(state.seconds) == {"train", "synthesize", "evaluate", "report"}
    assert len(json.loads((cell.run / "predictions" / "predictions.json").read_text())["cases"]) == 2


def test_a_cell_that_shares_a_stage_equals_one_that_is_trained_whole(world: World):
    """The law that lets a sweep cost only its own stage: equal weights, to the bit. Where the other's state is missing
    a cell is trained whole."""
    strong, both = world.cell("strong"), world.cell("both")
    assert strong.start == (both, 0)
    nowhere = replace(both, run=world.folder / "nowhere")
    whole = replace(strong, start=(nowhere, 0), run=world.folder / "whole")
    run_cell(whole, world.cohort)
    assert weights(strong) == weights(whole) != weights(both)


def test_worker_processes_train_to_the_same_bits(world: World):
    """Lightning runs in a thread of a Dask worker; a cell waits for the one that it begins from."""
    both = replace(world.cell("both"), run=world.folder / "there" / "both")
    strong = replace(world.cell("strong"), start=(both, 0), run=world.folder / "there" / "strong")
    work = StudyWork(world.folder / "cohort.csv")
    done = dict(run_each(work, [both, strong], Workers(2), lambda item: item.needs))
    assert done == {both: None, strong: None}
    for name, there in (("both", both), ("strong", strong)):
        assert weights(there) == weights(world.cell(name))
    device = json.loads((both.run / "run.json").read_text())["device"]
    threads = max(1, (os.cpu_count() or 1) // 2)
    assert device == f"CPU, {threads} threads" or not device.startswith("CPU")


def test_a_finished_cell_is_left_alone_and_judged_again_where_the_presets_changed(world: World):
    cell = world.cell("fill")
    files = [cell.run / "model" / "weights.safetensors", cell.run / "metrics.csv"]
    before = [file.stat().st_mtime_ns for file in files]
    said: list[str] = []
    with listening(lambda _, what: said.append(what)):
        run_cell(cell, world.cohort)
    assert said == []
    assert [file.stat().st_mtime_ns for file in files] == before
    evaluate = cell.recipe.evaluate.model_copy(update={"presets": ["default"]})
    other = replace(cell, recipe=cast(Recipe, cell.recipe.model_copy(update={"evaluate": evaluate})))
    with listening(lambda _, what: said.append(what)):
        run_cell(other, world.cohort)
    assert said == ["synthesize", "evaluate", "report"]
    assert files[0].stat().st_mtime_ns == before[0]
    assert json.loads((cell.run / "metrics.json").read_text())["preset"] == ["default"]


def test_a_job_leaves_the_runs_own_metrics_as_they_are(world: World):
    job = cast(Job, world.items["no-t2"])
    own = (job.cell.run / "metrics.csv").read_bytes()
    run_job(job, world.cohort)
    assert (job.cell.run / "metrics.csv").read_bytes() == own
    assert (job.place / "metrics.csv").read_bytes() != own
    assert (job.place / "panels" / "panels.json").exists()
    said: list[str] = []
    with listening(lambda _, what: said.append(what)):
        run_job(job, world.cohort)
    assert said == []


def test_a_job_is_done_again_where_it_has_changed(world: World):
    job = cast(Job, world.items["filled"])
    run_job(job, world.cohort)
    asked = State.of(job.place).asked
    assert set(asked["weights_sha256"]) == {"both", "fill"}
    assert is_done(job.place, asked)
    assert not is_done(job.place, asked | {"presets": ["default"]})


def test_a_job_may_judge_the_weights_at_the_end_of_a_stage(world: World):
    """They are those with which the next stage began, and nothing of them stays but predictions and metrics."""
    cell = world.cell("both")
    early = Job("early", JobSettings(cell="both", stage=1), cell, {})
    assert early.checkpoint is not None
    kept = kept_weights(AtomicCheckpoints().load_checkpoint(early.checkpoint))
    run_job(early, world.cohort)
    made = read_predictions(early.place / "predictions").way.weights_sha256
    digest = hashlib.sha256(save({name: tensor.contiguous() for name, tensor in kept.items()})).hexdigest()
    assert made == digest != weights(cell)
    assert {path.name for path in early.place.iterdir()} >= {"predictions", "metrics.csv", "metrics.json", "state.json"}
    assert not (early.place / FOLDER).exists()
    assert (early.place / "metrics.csv").read_bytes() != (cell.run / "metrics.csv").read_bytes()
    training, whole = trained(early), cell.training
    assert training is not None
    assert whole is not None
    assert [one.stage for one in whole.convergence] == [0, 1]
    assert [one.stage for one in training.convergence] == [0]


def test_a_state_that_is_gone_is_told(world: World, tmp_path: Path):
    moved = replace(world.cell("both"), run=tmp_path / "both")
    shutil.copytree(world.cell("both").run / "model", moved.run / "model")
    with pytest.raises(ModelError, match=r"state at the end of stage 1(.|\n)*no .*stage-0.ckpt"):
        run_job(Job("early", JobSettings(cell="both", stage=1), moved, {}), world.cohort)


def test_a_job_whose_cell_has_no_model_says_so(world: World):
    job = cast(Job, world.items["no-t2"])
    with pytest.raises(ModelError, match=r"Cell t1, which no-t2 needs, has no model(.|\n)*it was not trained"):
        run_job(replace(job, cell=world.cell("t1")), world.cohort)


def test_a_cell_that_was_trained_on_other_data_says_so(world: World, tmp_path: Path):
    cell = world.cell("both")
    fewer = Cohort(tuple(row for row in world.cohort.rows if row is not world.cohort.select("train")[0]))
    prepare(fewer, cell.recipe, tmp_path / "prepared")
    with pytest.raises(CohortError, match="was trained on other prepared data"):
        run_cell(replace(cell, prepared=tmp_path / "prepared"), fewer)


def test_a_case_that_failed_and_is_left_out_counts_once():
    failed = [("case-1", "t2 is missing"), ("case-2", "broken")]
    left_out = [("case-3", "no truth"), ("case-1", "no prediction of it; t2 is missing")]
    assert each_once(failed, left_out) == [*failed, ("case-3", "no truth")]
