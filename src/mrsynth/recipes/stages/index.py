"""mrsynth index and mrsynth check: the cohort table, and what is wrong with it, in words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.progress import Progress

from mrsynth.io import Cohort, check_cohort, index_folder, read_cohort, write_cohort
from mrsynth.recipes.stages.progress import CONSOLE


def index(folder: Path, out: Path, seed: int = 0) -> Cohort:
    """Find the cases below a folder, split them by patient, and write the cohort table."""
    cohort = index_folder(folder, seed=seed)
    write_cohort(cohort, out)
    return cohort


def describe(cohort: Cohort, out: Path) -> list[str]:
    """Return the lines that `mrsynth index` prints: cases, contrasts, splits, and everything left out with why."""
    patients = {row.patient for row in cohort.rows}
    splits = Counter(row.split for row in cohort.rows)
    images = Counter(name for row in cohort.rows for name in row.files)
    lines = [
        f"{len(cohort.rows)} cases of {len(patients)} patients in {out}",
        "  split:  " + ", ".join(f"{name} {n}" for name, n in splits.items()),
        "  images: " + ", ".join(f"{name} {n}" for name, n in images.items()),
    ]
    if cohort.ignored:
        lines.append(f"  left out ({len(cohort.ignored)}):")
        lines += [f"    {item}" for item in cohort.ignored]
    return lines


def check(table: Path, *, progress: bool = True) -> tuple[list[str], int]:
    """Return the lines of a check of a cohort table and the number of errors."""
    cohort = read_cohort(table, allow_unsound=True)
    with Progress(console=CONSOLE, disable=not progress) as bar:
        task = bar.add_task("check", total=len(cohort.rows))
        problems = check_cohort(cohort, progress=lambda case: bar.advance(task))
    errors = sum(problem.severity == "error" for problem in problems)
    lines = [str(problem) for problem in problems]
    lines.append(
        f"{len(cohort.rows)} cases: {errors} errors, {len(problems) - errors} warnings"
        if problems
        else f"{len(cohort.rows)} cases: no problem found"
    )
    return lines, errors
