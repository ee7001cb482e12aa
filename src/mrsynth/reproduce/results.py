"""The numbers of a study apart from its models and images, so that another machine can go on with the rest.

RESULTS/<cell>.json, RESULTS/<cell>--<job>.json   one a finished item: settings, commits, cohort, training, values

A number means something beside others only where it was measured on the same patients by the same settings. So a file
says by what it was made, and what does not fit the study that takes it is refused, with what differs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from mrsynth.core.errors import CohortError, InputError, RecipeError
from mrsynth.core.files import write_text
from mrsynth.core.progress import remark
from mrsynth.core.records import Part
from mrsynth.io import Cohort, read_case
from mrsynth.io.evaluation import Evaluation
from mrsynth.io.run import Began, Run, RunRecord, Training
from mrsynth.metrics import MetricRecord, read_records, write_records
from mrsynth.recipes.recipe import Recipe, dump_recipe, load_recipe
from mrsynth.reproduce.decides import decides, differences, digest, flat
from mrsynth.reproduce.plan import Cell, Item, Job
from mrsynth.reproduce.records import State, StudyFile
from mrsynth.reproduce.study import Study

MEASURED = 4
"""Cases of each split whose scans tell one cohort from another."""

TOLERANCE = 1e-3
"""Means and SDs that differ by less, relative, are those of the same scans: another processor rounds otherwise."""

SERIES = ("metric", "region", "data_range", "dimension", "aggregation", "clip", "contrast", "preset", "predictor")
"""What the values of a series have in common."""


class Series(Part):
    """The values of one metric of one predictor.

    Attributes:
        metric, region, data_range, dimension, aggregation, clip, contrast, preset, predictor: what the values have in
            common, as in `MetricRecord`.
        values: case → value ("inf" for a perfect match) and number of voxels or slices; a value that is missing is left
            out.
    """

    metric: str
    region: str
    data_range: float
    dimension: int
    aggregation: str
    clip: str
    contrast: str
    preset: str
    predictor: str
    values: dict[str, tuple[float | Literal["inf"], int]]


class CohortMark(Part):
    """By what cohorts are told apart.

    Attributes:
        cases: digest of every case, its patient and its split.
        scans: contrast → mean and SD of its voxels, each the mean over some cases.
    """

    cases: str
    scans: dict[str, tuple[float, float]]


class ResultRecord(StudyFile):
    """The numbers of a finished cell or job.

    Attributes:
        study, scale: which study, at which scale.
        item: its name with that of its cell, as in the study's folder.
        seed: with which its cell was trained.
        settings: what decides the weights of its cell, by dotted key.
        cohort: the scans that it ran on.
        state: as the study's folder has it; `commit` is that of the judgement.
        began, training: of its cell, without the scans' checksums.
        history: the losses, a row an epoch, as CSV.
        series: the values, one entry a metric and predictor.
    """

    RECORD: ClassVar[str] = "study result"
    DO: ClassVar[str] = "export it again where it was measured"

    study: str
    scale: str
    item: str
    seed: int
    settings: dict[str, Any]
    cohort: CohortMark
    state: State
    began: Began
    training: Training
    history: str = ""
    series: list[Series] = Field(min_length=1)


def export_results(study: Study, scale: str, items: Iterable[Item], cohort: Cohort, folder: Path) -> list[Path]:
    """Write the numbers of every finished cell and job.

    Only what the study's tables and curves ask for is kept. Items whose numbers came from elsewhere are written again.

    Args:
        study: the study.
        scale: at which it ran.
        items: its cells, jobs and data.
        cohort: the scans that it ran on.
        folder: where the files go, one an item.

    Returns:
        The files.

    Raises:
        OutputError: a file cannot be written.
        InputError: a file of the study is damaged, or a scan cannot be read.
    """
    mark, asked = mark_of(cohort), _asked_of(study)
    paths = []
    for item in items:
        state = State.of(item.place)
        if not state.is_done or not isinstance(item, Cell | Job):
            continue
        run = Run(item.maker.run)
        record = RunRecord.read(run.record)
        if record.training is None:
            raise InputError(f"{run.record} says nothing of a finished training.", do="run the study again")
        history = run.history.read_text(encoding="utf-8") if isinstance(item, Cell) and run.history.exists() else ""
        paths.append(folder / f"{item.label.replace('/', '--')}.json")
        ResultRecord(
            study=study.name,
            scale=scale,
            item=item.label,
            seed=item.maker.seed,
            settings=settings_of(load_recipe(str(run.recipe))),
            cohort=mark,
            state=state,
            began=record.began,
            training=record.training.model_copy(update={"scans": None}),
            history=history,
            series=_series(read_records(Evaluation.in_folder(item.place).table), asked),
        ).write(paths[-1])
    return paths


def import_results(study: Study, scale: str, items: Sequence[Item], cohort: Cohort, folder: Path) -> list[str]:
    """Take the numbers of finished cells and jobs into a study's folder; what is there already stays.

    Args:
        study: the study.
        scale: at which it runs.
        items: its cells, jobs and data, in the order in which they run.
        cohort: the scans that it runs on.
        folder: of the files.

    Returns:
        The items that were taken.

    Raises:
        RecipeError: a file is of another study or scale, or its cell was trained by other settings than it has now.
        CohortError: the numbers were measured on other patients or scans.
        InputError: a file is damaged, or there is none.
    """
    found = {path: ResultRecord.read(path) for path in sorted(folder.glob("*.json"))}
    if not found:
        raise InputError(f"{folder} holds no results.", expected="files that --export-results wrote")
    mark, by_label = mark_of(cohort), {item.label: item for item in items if isinstance(item, Cell | Job)}
    for path, result in found.items():
        if (result.study, result.scale) != (study.name, scale) or result.item not in by_label:
            raise RecipeError(
                f"{path} holds a result that this study does not have.",
                found=f"{result.item} of {result.study}, scale {result.scale}",
                expected=f"a cell or job of {study.name}, scale {scale}",
            )
        _require_same(path, result, by_label[result.item], mark)
    taken = []
    by_item = {result.item: result for result in found.values()}
    for label, item in by_label.items():
        if label in by_item and _take(by_item[label], item):
            taken.append(label)
    return taken


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Return what decides a recipe's weights and how they are judged, by dotted key."""
    dumped = recipe.model_dump(mode="json")
    return flat({**decides(dumped), "presets": dumped["evaluate"]["presets"]})


def mark_of(cohort: Cohort) -> CohortMark:
    """Return by what a cohort is told from others; raises InputError where a scan cannot be read."""
    rows = sorted([row.case, row.patient, row.split] for row in cohort.rows)
    found: dict[str, list[tuple[float, float]]] = {}
    for split in ("train", "val", "test"):
        for row in sorted(cohort.select(split), key=lambda row: row.case)[:MEASURED]:
            for name, image in read_case(row).images.items():
                found.setdefault(name, []).append((float(np.mean(image.data)), float(np.std(image.data))))
    means = {name: np.mean(values, axis=0).tolist() for name, values in sorted(found.items())}
    return CohortMark(
        cases=digest(rows), scans={name: (_short(mean), _short(sd)) for name, (mean, sd) in means.items()}
    )


def _require_same(path: Path, result: ResultRecord, item: Cell | Job, mark: CohortMark) -> None:
    """Raise where a result was made by other settings or of other scans than the study has now."""
    changed = differences(result.settings, settings_of(item.maker.recipe))
    if isinstance(item, Job):
        asked, now = result.state.asked.get("job"), item.settings.model_dump(mode="json", exclude_none=True)
        changed |= {} if asked == now else {"job": (asked, now)}
    if changed:
        first = list(changed.items())[:5]
        raise RecipeError(
            f"{path}: {result.item} was measured with other settings than it has now.",
            found="\n".join(f"{key}: {then}" for key, (then, _) in first),
            expected="\n".join(f"{key}: {now}" for key, (_, now) in first),
            do="take results of this version of the study, or train the item here",
        )
    if result.cohort.cases != mark.cases:
        raise CohortError(
            f"{path}: {result.item} was measured on other patients, or on another split of them.",
            do="give the cohort table that it was measured on with --cohort",
        )
    for name, numbers in mark.scans.items():
        before = result.cohort.scans.get(name)
        if before is None or not np.allclose(before, numbers, rtol=TOLERANCE, atol=1e-9):
            raise CohortError(
                f"{path}: {result.item} was measured on other scans of the same names.",
                found=f"{name}: mean and SD {before}",
                expected=f"{numbers}",
                do="phantoms change with the version that makes them: measure the item anew",
            )


def _take(result: ResultRecord, item: Cell | Job) -> bool:
    """Put a result where the item would have left its own; returns whether that was done."""
    if State.of(item.place).is_done:
        return False
    if isinstance(item, Cell) and Run(item.run).record.exists():
        remark(f"{item.label} was begun here and is left alone")
        return False
    if isinstance(item, Job):
        theirs = result.state.asked.get("weights_sha256", {})
        if any(State.of(cell.run).asked.get("weights_sha256") != theirs.get(cell.name) for cell in item.models):
            remark(f"{item.label} is left out: its cell was not taken, or is of another training")
            return False
    run = Run(item.place)
    if isinstance(item, Cell):
        write_text(run.recipe, dump_recipe(item.recipe))
        RunRecord(began=result.began, training=result.training).write(run.record)
        if result.history:
            write_text(run.history, result.history)
    write_records(_records(result.series), Evaluation.in_folder(item.place).table)
    where = f"trained at {result.training.commit or 'an unknown commit'}, judged at {result.state.commit}"
    result.state.model_copy(update={"imported": where}).write(item.place / State.FILE)
    return True


def _asked_of(study: Study) -> set[tuple[str, str]]:
    """Return the (preset, region) whose values the tables and curves of a study look at."""
    tables = [*study.tables.values(), *(curve.table for curve in study.curves.values())]
    columns = [column for table in tables for column in table.columns.values()]
    return {(c.preset, region) for c in columns for region in (c.region, c.having) if region is not None}


def _series(records: Iterable[MetricRecord], asked: set[tuple[str, str]]) -> list[Series]:
    """Return the values that are there, in series."""
    found: dict[tuple[Any, ...], dict[str, tuple[float | Literal["inf"], int]]] = {}
    for one in records:
        if one.value is None or one.fit != "none" or (one.preset, one.region) not in asked:
            continue
        key = tuple(getattr(one, name) for name in SERIES)
        value: float | Literal["inf"] = _short(one.value) if math.isfinite(one.value) else "inf"
        found.setdefault(key, {})[one.case] = (value, one.n)
    return [Series(**dict(zip(SERIES, key, strict=True)), values=values) for key, values in found.items()]


def _records(series: Iterable[Series]) -> list[MetricRecord]:
    """Return the values as metrics.csv has them."""
    return [
        MetricRecord(**one.model_dump(include=set(SERIES)), value=float(value), case=case, fit="none", n=n)
        for one in series
        for case, (value, n) in one.values.items()
    ]


def _short(value: float) -> float:
    """Return a number with seven digits: more are noise, and a file is read by people too."""
    return float(f"{value:.7g}")
