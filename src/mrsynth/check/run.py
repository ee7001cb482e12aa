"""mrsynth check: what is wrong with a cohort, in words; joins the readers' checks and the test of alignment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mrsynth.check.cohort import check_cohort
from mrsynth.check.problem import Problem
from mrsynth.core.errors import InputError
from mrsynth.core.image import Case
from mrsynth.core.text import counted
from mrsynth.io import read_cohort
from mrsynth.steps.alignment import misalignments


def check(table: Path) -> tuple[list[str], int]:
    """Return the lines of a check of a cohort table and the number of errors."""
    cohort = read_cohort(table, allow_unsound=True)
    problems = check_cohort(cohort, compare=alignment_problems)
    errors = sum(problem.severity == "error" for problem in problems)
    lines = [f"note: {table}: {remark}" for remark in cohort.remarks]
    lines += [str(problem) for problem in problems]
    told = f"{counted(errors, 'error')}, {counted(len(problems) - errors, 'warning')}"
    lines.append(f"{counted(len(cohort.rows), 'case')}: {told if problems else 'no problem found'}")
    return lines, errors


def alignment_problems(case: Case) -> Iterator[Problem]:
    """Yield the contrasts that do not lie on the case's first one, or are mirrored left–right against it."""
    for first, name, found in misalignments(case.images):
        if isinstance(found, InputError):
            yield Problem(case.name, "warning", f"{case.name}: {found.what}", str(found.found), do=found.do)
        elif found.mirrored:
            yield Problem(
                case.name,
                "warning",
                f"{case.name}: {name} fits {first} better when it is mirrored left–right.",
                expected="left and right the same in all images of a case",
                do="look at both side by side, and convert the wrong one again from DICOM",
            )
        elif found.shifted:
            yield Problem(
                case.name,
                "warning",
                f"{case.name}: {name} does not lie on {first}.",
                found="about " + " ".join(f"{mm:+.0f}" for mm in found.shift_mm) + " mm along x y z",
                expected="less than 2 mm",
                do="prepare with register and resample",
            )
