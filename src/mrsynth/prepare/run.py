"""mrsynth prepare: a cohort table and steps → a prepared cohort and its page. Resumes; never drops a case silently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from mrsynth.core.errors import CohortError, InputError
from mrsynth.core.image import Case
from mrsynth.core.jobs import Failure, Workers, guarded, run_each
from mrsynth.core.locks import one_writer
from mrsynth.core.ownership import remove_own
from mrsynth.core.progress import CaseProgress, listening, say, working_on
from mrsynth.io import CaseRow, Cohort, PreparedCohort, read_case
from mrsynth.io.contract import Contract
from mrsynth.io.prepared import case_fingerprint
from mrsynth.io.prepared_inputs import describe_inputs
from mrsynth.likeness import differences, seen_by
from mrsynth.prepare.facts import FACTS, PICTURES, has_pictures, pictures_of
from mrsynth.prepare.page import build_qc
from mrsynth.prepare.pictures import Snapshots
from mrsynth.prepare.plan import Plan
from mrsynth.recipes.recipe import Recipe
from mrsynth.steps import learn_steps, learns, run_steps
from mrsynth.steps.step import Record


@dataclass(frozen=True)
class Prepared:
    """What a preparation did.

    Attributes:
        cohort: the prepared cohort.
        made: cases made.
        unchanged: cases that were up to date.
        failed: (case, why) of what could not be prepared.
        page: to look at.
        unlike: case → what is unlike the training of the model that it was compared with.
    """

    cohort: PreparedCohort
    made: tuple[str, ...]
    unchanged: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    page: Path
    unlike: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseWork:
    """The work on one case, in whatever process it runs.

    Attributes:
        cohort: where the case is written.
        plan: what is done with it.
    """

    cohort: PreparedCohort
    plan: Plan

    def __call__(self, row: CaseRow) -> tuple[Literal["made", "unchanged"], str]:
        """Prepare a case and write it, unless it lies there current; returns which of the two and its fingerprint.

        Where a current case has no pictures, its steps are run for these alone; if that fails the case stays as it is.
        """
        with working_on(row.case):
            return self._prepare(row)

    def _prepare(self, row: CaseRow) -> tuple[Literal["made", "unchanged"], str]:
        say("reading")
        contrasts = self.plan.to_read(row)
        inputs = describe_inputs(row, contrasts)
        fingerprint = case_fingerprint(row, contrasts, self.plan.steps, inputs)
        pictures = pictures_of(self.cohort.folder, row.case)
        if self.cohort.is_current(row.case, fingerprint):
            self.cohort.note_inputs(row.case, inputs)
            if not has_pictures(pictures):
                guarded(self._draw_again, row)
            return "unchanged", fingerprint
        prepared, records, snapshots = self._run(row)
        remove_own(pictures, FACTS, PICTURES)  # killed after the next line, a case must not be left with older ones
        self.cohort.write_case(row, self._filled(prepared), records, fingerprint, inputs)
        snapshots.write(self.cohort.folder, prepared, records)
        return "made", fingerprint

    def _draw_again(self, row: CaseRow) -> None:
        """Run the steps of a case for its pictures alone."""
        prepared, records, snapshots = self._run(row)
        snapshots.write(self.cohort.folder, prepared, records)

    def _run(self, row: CaseRow) -> tuple[Case, Sequence[Record], Snapshots]:
        """Return a case after all steps, their records, and the pictures that were taken on the way."""
        case = read_case(row, self.plan.to_read(row))
        snapshots = Snapshots(case)

        def watch(step: str, now: Case) -> None:
            say(step)
            snapshots.after(step, now)

        prepared, records = run_steps(case, self.plan.steps_for(row), watch=watch)
        return prepared, records, snapshots

    def _filled(self, prepared: Case) -> Case:
        """Return a case with background for each contrast that it lacks."""
        lacking = [name for name in self.plan.contrasts if name not in prepared.images]
        like = next(iter(prepared.images.values()))
        empty = {name: like.with_data(np.zeros_like(like.data), name) for name in lacking}
        return replace(prepared, images={**prepared.images, **empty})


@one_writer("prepare")
def prepare(
    cohort: Cohort,
    plan: Plan | Recipe,
    out: Path,
    *,
    workers: Workers | None = None,
    stop_at_first: bool = False,
    like: Contract | None = None,
) -> Prepared:
    """Run a recipe's (or any) steps over every case of a cohort.

    Cases whose inputs and steps are unchanged are kept as they are, where they are whole to the bit. A broken case
    stops no other. Steps that learn do so from the cases of the training split first.

    Args:
        cohort: the cases.
        plan: the steps and contrasts, or the recipe that has them.
        out: the folder of the prepared cohort.
        workers: where the cases are worked on; here, one after the other, by default.
        stop_at_first: end the run at the first broken case; what is done stays and is not redone.
        like: a model with whose training each prepared case is compared; the plan is that model's (`Plan.of_model`).

    Returns:
        What was made and what failed, with the page to look at.

    Raises:
        ModelError: where `like` does not say what its training's images were like.
        CohortError: where no case could be prepared.
        InputError: of the first broken case, with stop_at_first.
        OutputError: where the folder is another command's, or cannot be written.
    """
    if like is not None:
        seen_by(like)
    asked = Plan.of_recipe(plan) if isinstance(plan, Recipe) else plan
    learned = _learned(asked, cohort, stop_at_first)
    prepared = PreparedCohort.create(
        out, recipe=asked.name, steps=learned.steps, contrasts=asked.contrasts, asked=asked.asked
    )
    done, failed = _prepare_all(prepared, learned, cohort, workers or Workers(), stop_at_first)
    if not prepared.rows:
        raise CohortError("No case could be prepared.", found="\n".join(why for _, why in failed))
    prepared.finish([row.case for row in cohort.rows], failed)
    _remove_old(out / "qc", {row.folder for row in prepared.rows.values()})
    unlike = {} if like is None else _unlike(prepared, like)
    page = build_qc(out, unlike)
    return Prepared(prepared, tuple(done["made"]), tuple(done["unchanged"]), tuple(failed), page, unlike)


def _unlike(prepared: PreparedCohort, like: Contract) -> dict[str, list[str]]:
    """Return case → what is unlike a model's training, of the cases of which something is."""
    found = {}
    known = like.contrasts or like.inputs
    for case in prepared.cases():
        lacking = prepared.record(case).lacking(known)
        images = {name: np.asarray(prepared.array(case, name)) for name in known if name not in lacking}
        told = differences(seen_by(like), images, np.asarray(prepared.array(case, "brain")) > 0)
        if told:
            found[case] = [f"Unlike the training of {like.recipe}: {one.text}" for one in told]
    return found


def _learned(asked: Plan, cohort: Cohort, stop_at_first: bool) -> Plan:
    """Return the plan with what its steps learn from the training cases."""
    if not learns(asked.steps):
        return asked
    seen = partial(_training_cases, cohort, asked, stop_at_first)
    return asked.learned(learn_steps(seen, asked.steps, leave_out_broken=not stop_at_first))


def _prepare_all(
    prepared: PreparedCohort, plan: Plan, cohort: Cohort, workers: Workers, stop_at_first: bool
) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """Prepare each case; returns the cases that were made and that were unchanged, and (case, why) of the others."""
    done: dict[str, list[str]] = {"made": [], "unchanged": []}
    failed = []
    with CaseProgress("prepare", len(cohort.rows)) as bar, listening(bar.tell):
        for row, result in run_each(CaseWork(prepared, plan), cohort.rows, workers):
            bar.advance(row.case)
            if isinstance(result, Failure):
                why = result.reason()
                if stop_at_first:
                    raise InputError(f"{row.case} cannot be prepared: {why}")
                failed.append((row.case, why))
                continue
            how, fingerprint = result
            prepared.keep(row, fingerprint)
            done[how].append(row.case)
    return done, failed


def _remove_old(folder: Path, used: set[str]) -> None:
    """Remove what was kept for the page of cases that the cohort no longer has; what is not ours stays."""
    for place in folder.glob("*"):
        if place.name not in used:
            remove_own(place, FACTS, PICTURES)


def _training_cases(cohort: Cohort, plan: Plan, stop_at_first: bool) -> Iterator[Case]:
    """Yield the cases that a learning step may see; unreadable ones are left out (they are reported when prepared)."""
    for row in cohort.select("train"):
        try:
            yield read_case(row, plan.to_read(row))
        except InputError:
            if stop_at_first:
                raise
