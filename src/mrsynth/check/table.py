"""What can be wrong with a cohort table before any image is opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mrsynth.check.problem import Problem
from mrsynth.core.settings import nearest
from mrsynth.core.types import CONTRASTS, MASKS
from mrsynth.io.cohort import SPLITS, Cohort
from mrsynth.io.nifti_stream import is_nifti


def table_problems(cohort: Cohort) -> Iterator[Problem]:
    """Yield names that no folder can have, cases that stand twice, patients in two splits, empty splits, and columns of
    images that are no contrast (a name mistyped)."""
    for case, problem in cohort.unsafe_cases().items():
        yield Problem(
            case,
            "error",
            f"{case}: cannot be the name of a case.",
            found=problem,
            expected="a name that a folder can have",
            do="give it another name in the column case",
        )
    for case in cohort.duplicate_cases():
        yield Problem(
            case,
            "error",
            f"{case}: the case stands in more than one row.",
            expected="one row a case",
            do="give each examination a name of its own",
        )
    for patient, splits in cohort.leaking_patients().items():
        cases = [row.case for row in cohort.rows if row.patient == patient]
        yield Problem(
            cases[0],
            "error",
            f"Patient {patient} stands in more than one split.",
            found=f"{', '.join(cases)} in {', '.join(splits)}",
            expected="all cases of a patient in one split",
            do="correct the split column",
        )
    named = {
        key: str(value) for row in cohort.rows for key, value in row.metadata.items() if is_nifti(Path(str(value)))
    }
    for column, value in named.items():
        yield Problem(
            "cohort",
            "warning",
            f"The column {column} names images, but is no contrast: it is not read.",
            found=value,
            expected=f"one of {', '.join((*CONTRASTS, *MASKS))}, or dwi_b<b-value>",
            do=nearest(column, [*CONTRASTS, *MASKS]) or "give the column another name",
        )
    for split in SPLITS:
        if not cohort.select(split):
            yield Problem(
                "cohort",
                "warning",
                f"The split {split} is empty.",
                found=f"{len({row.patient for row in cohort.rows})} patient(s) in all",
                do="add patients, or move some in the split column",
            )
