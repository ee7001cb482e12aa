"""mrsynth check: what is wrong with a cohort, in words; joins the readers' checks and the test of alignment."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mrsynth.check.cohort import check_cohort
from mrsynth.check.problem import Problem, of_error
from mrsynth.core.errors import InputError
from mrsynth.core.image import Case
from mrsynth.core.text import counted
from mrsynth.io import read_cohort
from mrsynth.likeness import inputs_at_hand, seen_by, unlike
from mrsynth.model import Contract, load_contract
from mrsynth.steps.alignment import misalignments


def check(table: Path, model: Path | None = None) -> tuple[list[str], int]:
    """Return the lines of a check of a cohort table and the number of errors.

    Args:
        table: the cohort table.
        model: a run with whose training each case is compared.

    Raises:
        CohortError: where the table cannot be read.
        ModelError: where the run holds no model, or one that does not say what it was trained on.
    """
    contract = None if model is None else load_contract(model)
    if contract is not None:
        seen_by(contract)
    cohort = read_cohort(table, allow_unsound=True)
    problems = check_cohort(cohort, compare=partial(_case_problems, contract))
    errors = sum(problem.severity == "error" for problem in problems)
    lines = [f"note: {table}: {remark}" for remark in cohort.remarks]
    lines += [str(problem) for problem in problems]
    told = f"{counted(errors, 'error')}, {counted(len(problems) - errors, 'warning')}"
    lines.append(f"{counted(len(cohort.rows), 'case')}: {told if problems else 'no problem found'}")
    return lines, errors


def _case_problems(contract: Contract | None, case: Case) -> Iterator[Problem]:
    """Yield what is wrong between the images of a case and, where a model is given, with them for that model."""
    yield from alignment_problems(case)
    if contract is not None:
        yield from likeness_problems(contract, case)


def likeness_problems(contract: Contract, case: Case) -> Iterator[Problem]:
    """Yield what is unlike a model's training: an error where `synthesize` would refuse it, else a warning.

    Args:
        contract: of the model.
        case: as it was read.
    """
    inputs = inputs_at_hand(contract, case.images)
    needed = [] if contract.contrasts else contract.inputs  # else any of them may be the one that is made
    if missing := [name for name in needed if name not in inputs]:
        yield Problem(
            case.name,
            "warning",
            f"{case.name}: no {' and no '.join(missing)} for the model {contract.recipe}.",
            do="add it, or fill it in as `mrsynth synthesize` can",
        )
    try:
        found = unlike(contract, case)
    except InputError as error:
        yield of_error(case.name, error)
        return
    do = "check that the input is the contrast that it is called and no normalised or masked copy"
    for one in found:
        yield Problem(case.name, "error" if one.refused else "warning", f"{case.name}: {one.text}", do=do)


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
