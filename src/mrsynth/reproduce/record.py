"""study.json: what a study ran, on what, in which version and time, and how each cell and job ended."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mrsynth
from mrsynth.core.files import write_json
from mrsynth.io import CaseRow, Cohort
from mrsynth.io.run import Run, RunRecord
from mrsynth.reproduce.plan import Cell, Item, Job
from mrsynth.reproduce.study import Scale, Study
from mrsynth.reproduce.work import read_state
from mrsynth.train.run import commit


def write_study_record(
    out: Path, study: Study, scale: Scale, items: Sequence[Item], cohort: tuple[Path, Cohort], phantom: bool
) -> None:
    """Write out/study.json from what lies in the study's folder. cohort: the table and what it holds."""
    settings = study.scales[scale]
    phantoms = settings.phantoms
    table, scans = cohort
    write_json(
        out / "study.json",
        {
            "study": study.name,
            "title": study.title,
            "recipe": study.recipe,
            "scale": scale,
            "cohort": str(table),
            "phantoms": phantoms.model_dump(mode="json", exclude_unset=True) if phantom and phantoms else None,
            "patients": _patients(scans.rows),
            "groups": {group: _patients(rows) for group, rows in _groups(scans).items()},
            "changes": {
                "variants": settings.variants,
                "set": settings.set,
                "cells": {name: cell.model_dump(mode="json") for name, cell in settings.cells.items()},
            },
            "seeds": settings.seeds,
            "left_out": settings.leave_out,
            "tables": list(study.all_tables(scale)),
            "items": [_entry(item, out) for item in items],
            "commit": commit(),
            "versions": {
                "mrsynth": mrsynth.__version__,
                "python": platform.python_version(),
                **{name: version(name) for name in ("torch", "lightning", "numpy")},
            },
            "cores": os.cpu_count(),
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


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


def read_study_record(out: Path) -> dict[str, Any]:
    """Return what study.json holds, {} where there is none."""
    try:
        return dict(json.loads((out / "study.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def header_lines(record: Mapping[str, Any]) -> list[str]:
    """Return the lines about a study that stand above each of its tables."""
    patients = record["patients"]
    phantoms = record["phantoms"]
    on = f"phantoms of {phantoms['spacing_mm']:g} mm (profile {phantoms['profile']})" if phantoms else "a given cohort"
    seeds = len(record["seeds"])
    groups = [f"{group} {' / '.join(map(str, of.values()))}" for group, of in record.get("groups", {}).items()]
    changes = [*record["changes"]["variants"], *record["changes"]["set"]]
    single = [name for name, cell in record["changes"]["cells"].items() if cell["variants"] or cell["set"]]
    more = f"; more in {', '.join(single)} (recipe.yaml of each run)" if single else ""
    in_groups = f" ({', '.join(groups)})" if groups else ""
    return [
        f"Study {record['study']}, scale {record['scale']}, on {on}: {patients['train']} patients to train, "
        f"{patients['val']} to choose the epoch, {patients['test']} to test{in_groups}. Mean ± SD over test patients"
        + (f" (each the mean over {seeds} seeds)" if seeds > 1 else "")
        + "; in italics the paper's.",
        "",
        f"Changes to the paper's recipe at this scale: {', '.join(changes) or 'none'}{more}.",
    ]


def _entry(item: Item, out: Path) -> dict[str, Any]:
    """Return how a cell, a job or data stands."""
    state = read_state(item.place)
    cell = item if isinstance(item, Cell) else item.cell if isinstance(item, Job) else next(iter(item.makers.values()))
    run = Run(cell.run)
    training = RunRecord.read(run.record).training if run.is_trained else None
    entry = {
        "name": item.name,
        "label": item.label,
        "kind": "cell" if isinstance(item, Cell) else "job" if isinstance(item, Job) else "data",
        "folder": str(item.place.relative_to(out)),
        "seed": cell.seed,
        "inputs": cell.recipe.task.inputs,
        "target": cell.recipe.task.target,
        "net": cell.recipe.net.name,
        "state": state.get("state", "begun" if Run(item.place).recipe.exists() else "not run"),
        "why": state.get("why", ""),
        "seconds": state.get("seconds", {}),
        "failed_cases": state.get("failed_cases", []),
        "finished": state.get("finished"),
        "commit": state.get("commit"),
    }
    if isinstance(item, Cell):
        entry |= {key: getattr(training, key, None) for key in ("device", "parameters", "epochs", "best_epoch")}
        entry["report"] = str(run.report.relative_to(out)) if run.report.exists() else None
        entry["started_from"] = f"{item.start[0].label}, stage {item.start[1]}" if item.start else None
    elif isinstance(item, Job):
        entry["job"] = item.settings.model_dump(mode="json")
    return entry
