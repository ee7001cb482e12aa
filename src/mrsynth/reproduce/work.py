"""The work of a study on one cell or job, in whatever process it runs: train, synthesize, evaluate, report."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mrsynth.core.errors import CohortError, InputError, ModelError, RecipeError
from mrsynth.core.progress import say, working_on
from mrsynth.evaluate.run import evaluate_run, left_out
from mrsynth.io import Cohort, PreparedCohort, read_cohort
from mrsynth.io.evaluation import Evaluation
from mrsynth.io.run import Run
from mrsynth.model import load_contract
from mrsynth.prepare.plan import Plan
from mrsynth.prepare.run import prepare
from mrsynth.recipes.recipe import Recipe
from mrsynth.report import build_report
from mrsynth.reproduce.data import cases_of, make_images, select
from mrsynth.reproduce.decides import digest
from mrsynth.reproduce.halfway import run_of
from mrsynth.reproduce.plan import Cell, Dataset, Item, Job
from mrsynth.reproduce.records import State
from mrsynth.synthesize.impute import MissingInputs
from mrsynth.synthesize.run import synthesize_cohort
from mrsynth.train.checkpoints import forget_states
from mrsynth.train.folds import split_folds
from mrsynth.train.record import commit
from mrsynth.train.run import train


@dataclass(frozen=True)
class StudyWork:
    """What is done with each cell and job.

    Attributes:
        table: the cohort.
    """

    table: Path

    def __call__(self, item: Item) -> None:
        """Bring a cell or job to its end, or find it there; state.json says so. Raises MrsynthError if it cannot."""
        cohort = read_cohort(self.table)
        if isinstance(item, Dataset):
            run_dataset(item, cohort)
        elif isinstance(item, Cell):
            run_cell(item, cases_of(item.data, cohort))
        else:
            run_job(item, cases_of(item.data or item.cell.data, cohort))


def run_dataset(data: Dataset, cohort: Cohort) -> None:
    """Make the images of some data, and prepare it for the cells that are trained on it.

    Args:
        data: the data; nothing is done where it is there already.
        cohort: the study's cohort.

    Raises:
        ModelError: a cell that makes images has no model.
        CohortError: no case is left of a part of the data.
    """
    clock = Clock(data.label)
    weights = _weights(data.makers.values(), data.name)
    rows = [[row.case, row.split, row.dose] for part in data.parts for row in select(cohort.rows, part.where)]
    parts = [part.model_dump(mode="json") for part in data.parts]
    prepared = [folder.name for folder in data.recipes]
    asked = {"weights_sha256": weights, "parts": parts, "rows": digest(rows), "prepared": prepared}
    if is_same(data.place, asked) and data.table.exists():
        return
    with clock("synthesize"):
        failed = make_images(data, cohort)
    with clock("prepare"):
        for folder, recipe in data.recipes.items():
            prepare(read_cohort(data.table), Plan.of_recipe(recipe), folder)
    _write_done(data.place, asked, clock.seconds, failed)


def run_cell(cell: Cell, cohort: Cohort) -> None:
    """Train a cell (or go on with it), predict the test split, judge it and write its report.

    Args:
        cell: the cell; what is finished of it is kept.
        cohort: its cases.

    Raises:
        CohortError: the cell was trained on other data than are prepared now.
        InputError: no test case could be predicted.
    """
    clock = Clock(cell.label)
    if is_imported(cell.place, {"presets": cell.recipe.evaluate.presets}):
        return
    prepared = PreparedCohort.open(cell.prepared)
    if cell.fold is not None:
        number, folds = cell.fold
        splits = split_folds(cell.recipe, prepared, folds)[number]
        prepared, cohort = prepared.with_splits(splits), cohort.with_splits(splits)
    if not Run(cell.run).is_trained:
        # Without the other's state (it failed, or was not run here) all stages are trained: the same model, later.
        start = cell.checkpoint if cell.checkpoint is not None and cell.checkpoint.exists() else None
        with clock("train"):
            train(_here(cell.recipe), prepared, cell.run, resume=True, start=start)
        forget_states(Run(cell.run).checkpoints)
    contract = load_contract(cell.run)
    if contract.began.data_fingerprint != prepared.fingerprint:
        raise CohortError(
            f"{cell.run} was trained on other prepared data than the study has now.",
            found=f"data fingerprint {prepared.fingerprint}",
            expected=contract.began.data_fingerprint,
            do="give another folder with --out, or the cohort that the study began with",
        )
    presets = cell.recipe.evaluate.presets
    asked = {"weights_sha256": contract.weights_sha256, "presets": presets}
    if is_done(cell.place, asked):
        return
    with clock("synthesize"):
        made, failed = synthesize_cohort(cell.run, cohort, Run(cell.run).predictions, split="test")
        _require_some(made, failed)
    with clock("evaluate"):
        path = evaluate_run(cell.run, cohort, Run(cell.run).predictions, presets)
        failed = each_once(failed, left_out(path))
    with clock("report"):
        build_report(cell.run)
    seconds = {**clock.seconds, "train": contract.training.seconds}
    _write_done(cell.place, asked, seconds, failed)


def run_job(job: Job, cohort: Cohort) -> None:
    """Predict test cases with a cell's model, of other data, with inputs left out or with the weights of an earlier
    stage, and judge that in the job's own folder.

    Args:
        job: the job; nothing is done where it is finished.
        cohort: its cases.

    Raises:
        ModelError: a cell that the job needs has no model, or the state at the end of the stage is not there.
        InputError: no test case could be predicted.
    """
    clock = Clock(job.label)
    presets = job.cell.recipe.evaluate.presets
    settings = job.settings.model_dump(mode="json", exclude_none=True)
    if is_imported(job.place, {"presets": presets, "job": settings}):
        return
    weights = _weights(job.models, job.name)
    asked: dict[str, Any] = {"weights_sha256": weights, "presets": presets, "job": settings}
    if job.data is not None:
        asked["parts"] = [part.model_dump(mode="json") for part in job.data.parts]
        asked["made_by"] = _weights(job.data.makers.values(), job.name)
    if is_done(job.place, asked):
        return
    missing = MissingInputs(
        policy=job.settings.missing,
        imputers={contrast: cell.run for contrast, cell in job.imputers.items()},
        without=tuple(job.settings.without),
    )
    predictions = Run(job.place).predictions
    with run_of(job) as run:
        with clock("synthesize"):
            made, failed = synthesize_cohort(run, cohort, predictions, split="test", missing=missing)
            _require_some(made, failed)
        with clock("evaluate"):
            path = evaluate_run(run, cohort, predictions, presets, out=Evaluation.in_folder(job.place))
            failed = each_once(failed, left_out(path))
    _write_done(job.place, asked, clock.seconds, failed)


def each_once(failed: list[tuple[str, str]], left_out: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return what failed and what was left out; a case that stands in both stands here once.

    Args:
        failed: (case, why) of those that could not be predicted.
        left_out: (case, why) of those that could not be judged.
    """
    known = {case for case, _ in failed}
    return [*failed, *(one for one in left_out if one[0] not in known)]


def _weights(cells: Iterable[Cell], name: str) -> dict[str, str]:
    """Return cell → checksum of its weights; raises ModelError where a cell that `name` needs has no model."""
    found = {}
    for cell in cells:
        if not Run(cell.run).is_trained:
            state = State.of(cell.place)
            raise ModelError(
                f"Cell {cell.label}, which {name} needs, has no model.",
                found=state.why or ("its numbers were imported alone" if state.imported else "it was not trained"),
                do=f"remove {cell.place} and run the study again"
                if state.imported
                else "run the study again; what is finished is kept",
            )
        found[cell.name] = load_contract(cell.run).weights_sha256
    return found


def _here(recipe: Recipe) -> Recipe:
    """Return the recipe as it can be trained in this process: a Dask worker may not have processes of its own, so it
    reads the samples itself."""
    if not multiprocessing.current_process().daemon:
        return recipe
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"workers": 0})})


class Clock:
    """Says what is done with an item and keeps how long it took."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Time a part of the work."""
        with working_on(self.label):
            say(what)
        began = time.monotonic()
        yield
        self.seconds[what] = round(time.monotonic() - began, 1)


def is_done(place: Path, asked: Mapping[str, Any]) -> bool:
    """Say whether the metrics in a folder are there, and of this model, judged in this way.

    Args:
        place: the folder of a cell or job.
        asked: of what the metrics are made, and how they are judged.
    """
    return is_same(place, asked) and Evaluation.in_folder(place).record.exists()


def is_imported(place: Path, asked: Mapping[str, Any]) -> bool:
    """Say whether the numbers in a folder were measured elsewhere, so that nothing is to be done here.

    Args:
        place: the folder of a cell or job.
        asked: how they must have been judged.

    Raises:
        RecipeError: they were judged otherwise.
    """
    state = State.of(place)
    if not state.imported:
        return False
    if wrong := [key for key, value in asked.items() if state.asked.get(key) != value]:
        raise RecipeError(
            f"{place} holds imported numbers that were judged otherwise than the study asks now.",
            found=", ".join(f"{key}: {state.asked.get(key)}" for key in wrong),
            expected=", ".join(f"{key}: {asked[key]}" for key in wrong),
            do="remove the folder and run the study again",
        )
    return True


def is_same(place: Path, asked: Mapping[str, Any]) -> bool:
    """Say whether what lies in a folder is finished, and was asked for in this way.

    Args:
        place: the folder of a cell, job or data.
        asked: of what it is made.
    """
    state = State.of(place)
    return state.is_done and state.asked == asked


def write_failed(place: Path, why: str) -> None:
    """Note why a cell or job failed; it is tried again when the study is run again.

    Args:
        place: its folder.
        why: the reason, in words.

    Raises:
        OutputError: the note cannot be written.
    """
    State(state="failed", why=why).write(place / State.FILE)


def _write_done(place: Path, asked: dict[str, Any], seconds: dict[str, float], failed: list[tuple[str, str]]) -> None:
    State(
        state="done",
        asked=asked,
        seconds=seconds,
        failed_cases=failed,
        commit=commit(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    ).write(place / State.FILE)


def _require_some(made: list[str], failed: list[tuple[str, str]]) -> None:
    """Raise InputError where no case at all could be predicted."""
    if not made:
        case, why = failed[0]
        raise InputError(f"No test case could be synthesized; {case}: {why}")
