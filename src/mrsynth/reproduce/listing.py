"""What study.json says: what a study ran, on what, in which version and time, and how each item ended."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import mrsynth
from mrsynth.io import CaseRow, Cohort
from mrsynth.io.run import Run, Training
from mrsynth.reproduce.given import taken
from mrsynth.reproduce.halfway import up_to
from mrsynth.reproduce.plan import Cell, Item, Job
from mrsynth.reproduce.records import CellChange, Changes, ItemEntry, State, StudyRecord
from mrsynth.reproduce.study import Scale, Study
from mrsynth.train.record import commit


def write_study_record(
    out: Path, study: Study, scale: Scale, items: Sequence[Item], cohort: tuple[Path, Cohort], phantom: bool
) -> StudyRecord:
    """Write out/study.json from what lies in the study's folder.

    Args:
        out: the study's folder.
        study: the study.
        scale: at which it runs.
        items: its cells, jobs and data.
        cohort: the cohort table and what it holds.
        phantom: whether the cohort is the scale's phantoms.

    Returns:
        The record.
    """
    settings = study.scales[scale]
    phantoms = settings.phantoms
    table, scans = cohort
    cells = {name: CellChange(**cell.model_dump(mode="json")) for name, cell in settings.cells.items()}
    record = StudyRecord(
        study=study.name,
        title=study.title,
        recipe=study.recipe,
        scale=scale,
        cohort=str(table),
        phantoms=phantoms.model_dump(mode="json", exclude_unset=True) if phantom and phantoms else None,
        patients=_patients(scans.rows),
        groups={group: _patients(rows) for group, rows in _groups(scans).items()},
        changes=Changes(variants=settings.variants, set=settings.set, cells=cells, steps=settings.steps),
        seeds=settings.seeds,
        left_out=settings.leave_out,
        weights=taken(item.recipe for item in items if isinstance(item, Cell)),
        tables=list(study.all_tables(scale)),
        items=[_entry(item, out) for item in items],
        commit=commit(),
        versions={
            "mrsynth": mrsynth.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "lightning", "numpy")},
        },
        cores=os.cpu_count(),
        updated=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    record.write(out / StudyRecord.FILE)
    return record


def _patients(rows: Iterable[CaseRow]) -> dict[str, int]:
    """Return split → how many patients."""
    seen: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for row in rows:
        seen[row.split].add(row.patient)
    return {split: len(patients) for split, patients in seen.items()}


def _groups(scans: Cohort) -> dict[str, list[CaseRow]]:
    """Return group → its rows, where the cohort table has groups."""
    groups: dict[str, list[CaseRow]] = {}
    for row in scans.rows:
        if group := row.metadata.get("group"):
            groups.setdefault(group, []).append(row)
    return groups


def header_lines(record: StudyRecord) -> list[str]:
    """Return the lines about a study that stand above each of its tables."""
    patients, phantoms = record.patients, record.phantoms
    on = f"phantoms of {phantoms['spacing_mm']:g} mm (profile {phantoms['profile']})" if phantoms else "a given cohort"
    seeds = len(record.seeds)
    groups = [f"{group} {' / '.join(map(str, of.values()))}" for group, of in record.groups.items()]
    in_groups = f" ({', '.join(groups)})" if groups else ""
    return [
        f"Study {record.study}, scale {record.scale}, on {on}: {patients['train']} patients to train, "
        f"{patients['val']} to choose the epoch, {patients['test']} to test{in_groups}. Mean ± SD over test patients"
        + (f" (each the mean over {seeds} seeds)" if seeds > 1 else "")
        + "; below it the paper's and the best simple rival of the same run.",
        "",
        changes_line(record.changes),
    ]


def changes_line(changes: Changes) -> str:
    """Return in a line what the scale changed of the paper's recipe."""
    single = [name for name, cell in changes.cells.items() if cell.variants or cell.set or cell.steps]
    more = f"; more in {', '.join(single)}" if single else ""
    everywhere = [*changes.variants, *changes.set, *([f"{changes.steps} steps"] if changes.steps else [])]
    return f"Changed of the paper's recipe: {', '.join(everywhere) or 'nothing'}{more}."


def _entry(item: Item, out: Path) -> ItemEntry:
    """Return how a cell, a job or data stands."""
    state, cell, run = State.of(item.place), item.maker, Run(item.maker.run)
    known = {}
    if (training := item.training) is not None:
        known = {key: getattr(training, key) for key in ("device", "parameters", "epochs", "best_epoch")}
    begun = "begun" if state.state == "not run" and Run(item.place).recipe.exists() else state.state
    return ItemEntry(
        name=item.name,
        label=item.label,
        kind=item.kind,
        folder=str(item.place.relative_to(out)),
        seed=cell.seed,
        inputs=cell.recipe.task.inputs,
        target=cell.recipe.task.target,
        net=cell.recipe.net.name,
        state=begun,
        **state.model_dump(include={"why", "seconds", "failed_cases", "finished", "commit", "imported"}),
        report=str(run.report.relative_to(out)) if item.kind == "cell" and run.report.exists() else None,
        started_from=item.started_from,
        job=item.job,
        convergence=convergence_words(training),
        **known,
    )


def trained(item: Item) -> Training | None:
    """Return what is known of the training that made an item's model: of a job, up to the stage that it predicts with.

    Args:
        item: a cell, a job or data.
    """
    training = item.maker.training
    if training is None or not isinstance(item, Job) or item.settings.stage is None:
        return training
    return up_to(training, item.settings.stage)


def convergence_words(training: Training | None) -> str:
    """Return how the stages of a training ended, in words, "" where nobody knows."""
    stages = training.convergence if training is not None else []
    return "; ".join(f"stage {one.stage + 1}: {one.words}" if len(stages) > 1 else one.words for one in stages)


def has_converged(training: Training | None) -> bool | None:
    """Say whether every stage of a training came to rest, None where nobody knows."""
    verdicts = {one.verdict for one in training.convergence} if training is not None else set()
    if "falling" in verdicts:
        return False
    return True if verdicts == {"converged"} else None
