"""mrsynth prepare: a cohort table and a recipe → a prepared cohort. Resumes; never drops a case silently."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mrsynth.errors import CohortError, InputError
from mrsynth.io import Cohort, PreparedCohort, read_case
from mrsynth.io.prepared import case_fingerprint
from mrsynth.prepare import run_steps
from mrsynth.recipes.recipe import Recipe
from mrsynth.recipes.stages.progress import track


@dataclass(frozen=True)
class Prepared:
    """What a preparation did: cases made, cases that were up to date, and (case, why) that could not be prepared."""

    cohort: PreparedCohort
    made: tuple[str, ...]
    unchanged: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]


def prepare(cohort: Cohort, recipe: Recipe, out: Path, *, keep_going: bool = False, progress: bool = True) -> Prepared:
    """Run a recipe's steps over every case of a cohort.

    Cases whose inputs and steps are unchanged are kept as they are. Without keep_going the first broken case ends the
    run with its InputError (what is done stays and is not redone); with it, broken cases are listed in the result.
    """
    prepared = PreparedCohort.create(out, recipe=recipe.name, steps=recipe.prepare, contrasts=recipe.contrasts)
    made, unchanged, failed = [], [], []
    rows = list(cohort.rows)
    for row in track(rows, "prepare", len(rows), progress):
        try:
            fingerprint = case_fingerprint(row, recipe.contrasts, recipe.prepare)
            if prepared.is_current(row.case, fingerprint):
                prepared.keep(row, fingerprint)
                unchanged.append(row.case)
                continue
            case, records = run_steps(read_case(row, recipe.contrasts), recipe.prepare)
            prepared.write_case(row, case, records, fingerprint)
            made.append(row.case)
        except InputError as error:
            if not keep_going:
                raise InputError(
                    f"{row.case} cannot be prepared: {error.what}",
                    found=error.found,
                    expected=error.expected,
                    do=(error.do + "; " if error.do else "") + "or leave broken cases out with --keep-going",
                ) from error
            failed.append((row.case, str(error)))
    prepared.finish([row.case for row in rows])
    if not made and not unchanged:
        raise CohortError("No case could be prepared.", found="\n".join(why for _, why in failed))
    return Prepared(prepared, tuple(made), tuple(unchanged), tuple(failed))
