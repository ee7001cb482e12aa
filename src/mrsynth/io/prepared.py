"""The prepared cohort on disk: what lies between `mrsynth prepare` and `mrsynth train`.

    PREPARED/prepared.json          format, recipe, steps, contrasts, version; the fingerprint once all is finished
    PREPARED/index.csv              patient, case, split, fingerprint, slices, folder
    PREPARED/cases/<case>/          <contrast>.b2nd, <mask>.b2nd and record.json (see `prepared_case`)

A case folder appears whole or not at all, so that an interrupted preparation goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np

import mrsynth
from mrsynth.core.errors import CohortError, OutputError
from mrsynth.core.files import remove_left, safe_name
from mrsynth.core.image import Case, Image, edges_mm
from mrsynth.core.ownership import holds_only, is_named, remove_own, require_no_link, require_ours
from mrsynth.io.chunks import SUFFIX, fill_box
from mrsynth.io.cohort import CaseRow
from mrsynth.io.prepared_case import (
    RECORD,
    load_array,
    load_image,
    load_record,
    open_array,
    require_intact_case,
    save_case,
)
from mrsynth.io.prepared_index import IndexRow, read_index, write_index
from mrsynth.io.prepared_inputs import Inputs, changed_inputs, describe_inputs
from mrsynth.io.prepared_records import CaseRecord, PreparedRecord

FORMAT = 2
"""Of the arrays, a part of each case's fingerprint; 1 kept plain .npy arrays."""

PREPARED = "prepared.json"
CASE_FILES = (f"*{SUFFIX}", RECORD)
"""What lies in a case's folder."""


class PreparedCohort:
    """A prepared cohort, opened for reading (`open`) or made and continued (`create` … `finish`).

    folder, recipe (name), steps and contrasts as they were given to `create`; asked: the steps before any of them
    learned from the training cases; failed: (case, why) of what could not be prepared; fingerprint: SHA-256 over steps,
    cases, splits and their input files, None before `finish`. A method raises CohortError where there is no such case
    or its record is damaged, OutputError where it cannot write.
    """

    def __init__(self, folder: Path, record: PreparedRecord, rows: Sequence[IndexRow] = ()) -> None:
        self.folder = folder
        self.recipe = record.recipe
        self.steps: list[dict[str, Any]] = list(record.steps)
        self.contrasts = record.contrasts
        self.asked: list[dict[str, Any]] = list(record.asked)
        self.failed = record.failed
        self.fingerprint = record.fingerprint
        self._records: dict[Path, CaseRecord] = {}
        self.rows: dict[str, IndexRow] = {row.case: row for row in rows}

    @classmethod
    def open(cls, folder: Path) -> PreparedCohort:
        """Open a finished prepared cohort; raises CohortError if it is none, unfinished or incomplete."""
        record = _read_record(folder)
        if record is None:
            raise CohortError(
                f"{folder}: is not a prepared cohort.",
                found="no such folder" if not folder.exists() else "no prepared.json",
                expected="a folder made by mrsynth prepare",
                do="mrsynth prepare cohort.csv --recipe RECIPE -o FOLDER",
            )
        if record.fingerprint is None:
            raise CohortError(
                f"{folder}: the preparation was not finished.", do="run mrsynth prepare again; finished cases are kept"
            )
        return cls(folder, record, read_index(folder))

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        recipe: str,
        steps: Sequence[Mapping[str, Any]],
        contrasts: Sequence[str],
        asked: Sequence[Mapping[str, Any]] | None = None,
    ) -> PreparedCohort:
        """Begin a prepared cohort, or go on with the one that is there; it counts as unfinished until `finish`.

        Args:
            folder: its place. One that holds something else, leads elsewhere or cannot be written raises OutputError.
            recipe: the recipe's name.
            steps: of the preparation, with what they learned from the training cases.
            contrasts: those that every case has.
            asked: the steps before any of them learned; by default `steps`.
        """
        if (
            folder.exists()
            and _read_record(folder) is None
            and (not folder.is_dir() or not all(is_named(p.name) for p in folder.iterdir()))
        ):
            raise OutputError(
                f"{folder}: is no place for a prepared cohort.",
                found="a folder with other files" if folder.is_dir() else "a file",
                expected="a new or empty folder, or a prepared cohort",
                do="give another folder",
            )
        for name in ("cases", "qc", "viewer"):
            require_no_link(folder / name)
        record = PreparedRecord(
            made_by=mrsynth.__version__,
            recipe=recipe,
            contrasts=list(contrasts),
            # As they will be read back, so that the comparison with a recipe does not depend on who asks.
            steps=json.loads(json.dumps(list(steps))),
            asked=json.loads(json.dumps(list(steps if asked is None else asked))),
            failed=[],
            fingerprint=None,
        )
        record.write(folder / PREPARED)
        remove_left(folder)
        return cls(folder, record)

    def with_splits(self, split_of: Mapping[str, str]) -> PreparedCohort:
        """Return the same cohort with other splits, patient → split, and another fingerprint; no file changes."""
        rows = [replace(row, split=split_of[row.patient]) for row in self.rows.values()]
        return PreparedCohort(self.folder, self._record(_fingerprint(self.steps, rows)), rows)

    def _record(self, fingerprint: str | None) -> PreparedRecord:
        return PreparedRecord(
            made_by=mrsynth.__version__,
            recipe=self.recipe,
            contrasts=self.contrasts,
            steps=self.steps,
            asked=self.asked,
            failed=self.failed,
            fingerprint=fingerprint,
        )

    def cases(self, split: str | None = None) -> list[str]:
        """Return the names of the cases, of one split where given, in the order of the cohort table."""
        return [row.case for row in self.rows.values() if split in (None, row.split)]

    def patients(self, split: str | None = None) -> list[str]:
        """Return the patients, of one split where given, sorted."""
        return sorted({row.patient for row in self.rows.values() if split in (None, row.split)})

    def array(self, case: str, name: str) -> np.ndarray:
        """Return all voxels of a contrast (float32) or mask (uint8), (x, y, z).

        Args:
            case: the case's name.
            name: the contrast or mask. One that is missing or damaged raises CohortError.
        """
        return load_array(self._place(case), name)

    def read(
        self,
        case: str,
        names: Sequence[str],
        start: Sequence[int],
        size: Sequence[int],
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return a box of contrasts or masks, (len(names), x, y, z), float32, without reading the rest.

        Args:
            case: the case's name.
            names: the contrasts or masks. One that is missing or damaged raises CohortError.
            start: the box's first voxel (x, y, z); what lies outside the volume is 0.
            size: the box's voxels along x, y, z.
            out: an array to put it into, of any type; a new one by default.
        """
        place = self._place(case)
        box = np.empty((len(names), *size), np.float32) if out is None else out
        record = self._known(place)
        for channel, name in zip(box, names, strict=True):
            fill_box(channel, open_array(place, name, record), start)
        return box

    def shape(self, case: str) -> tuple[int, int, int]:
        """Return the voxels along x, y, z of a case's arrays; raises CohortError if there is no such case."""
        return self.record(case).grid.shape

    def voxels_mm(self, split: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return the least and the greatest edges of a split's voxels, (x, y, z) each, in mm."""
        x, y, z = zip(*(edges_mm(self.record(case).grid.affine) for case in self.cases(split)), strict=True)
        return (min(x), min(y), min(z)), (max(x), max(y), max(z))

    def image(self, case: str, name: str) -> Image:
        """Return a contrast or mask as an image on the prepared grid, with the patient's own grid in `native`.

        Args:
            case: the case's name.
            name: the contrast or mask. One that is missing or damaged raises CohortError.
        """
        return load_image(self._place(case), name)

    def record(self, case: str) -> CaseRecord:
        """Return a case's record; raises CohortError if there is no such case or its record is damaged."""
        return load_record(self._place(case))

    def is_current(self, case: str, fingerprint: str) -> bool:
        """Say whether the case lies there whole, to the bit, and was made from the same input files, by the same steps.

        Args:
            case: its name.
            fingerprint: what `case_fingerprint` returns now.
        """
        place = self.folder / "cases" / safe_name(case)
        try:
            if load_record(place).fingerprint != fingerprint:
                return False
            require_intact_case(place)
        except CohortError:
            return False
        return True

    def damaged(self) -> list[tuple[str, str]]:
        """Return (case, why) of the cases of which a record or an array is damaged, in any bit; reads every file."""
        found = []
        for row in self.rows.values():
            try:
                require_intact_case(self.folder / "cases" / row.folder)
            except CohortError as error:
                found.append((row.case, f"{error.what} {error.found}"))
        return found

    def note_inputs(self, case: str, inputs: Inputs) -> None:
        """Remember where the input files of a current case lie now; they hold the same bytes, so nothing is redone.

        Args:
            case: its name.
            inputs: its files as `describe_inputs` found them.
        """
        place = require_no_link(self.folder / "cases") / safe_name(case)
        record = load_record(place)
        if record.inputs != inputs:
            record.model_copy(update={"inputs": dict(inputs)}).write(place / RECORD)

    def stale(self) -> list[tuple[str, str]]:
        """Return (case, why) of the cases whose input files have changed since they were prepared.

        Quick: files are read again only where size or time differ. Files that are out of reach say nothing.
        """
        stale = []
        for row in self.rows.values():
            record = self.record(row.case)
            if record.fingerprint != row.fingerprint:
                stale.append((row.case, "was prepared again, and that preparation was not finished"))
            elif changed := changed_inputs(record.inputs):
                stale.append((row.case, "changed since: " + ", ".join(changed)))
        return stale

    def keep(self, row: CaseRow, fingerprint: str) -> None:
        """Take a case that is current into the cohort, with the row's patient and split.

        Args:
            row: the case, as the cohort table has it.
            fingerprint: what `case_fingerprint` returns for it.
        """
        place = self.folder / "cases" / safe_name(row.case)
        slices = load_record(place).grid.shape[2]
        self.rows[row.case] = IndexRow(row.patient, row.case, row.split, fingerprint, slices, place.name)

    def write_case(
        self,
        row: CaseRow,
        case: Case,
        records: Sequence[Mapping[str, Any]],
        fingerprint: str,
        inputs: Inputs | None = None,
    ) -> None:
        """Write a prepared case, whole or not at all, in place of an older one, and take it into the cohort.

        Args:
            row: the case, as the cohort table has it.
            case: its prepared images and masks. Those that differ in shape raise CohortError.
            records: what the steps recorded, JSON-able.
            fingerprint: what `case_fingerprint` returns for it.
            inputs: its files as `describe_inputs` found them, by which `stale` knows.
        """
        place = require_no_link(self.folder / "cases") / safe_name(row.case)
        if not place.is_symlink():
            require_ours(place.parent, {place.name: holds_only(*CASE_FILES)}, "move the other files away")
        save_case(place, case, records, fingerprint, inputs)
        self.keep(row, fingerprint)

    def finish(self, cases: Sequence[str], failed: Sequence[tuple[str, str]] = ()) -> None:
        """Write the index of those of the named cases that were written or kept, then the cohort's fingerprint.

        Args:
            cases: names, in the index's order; case folders of earlier runs that are not among them are removed.
            failed: (case, why) of those that could not be prepared, to be remembered.
        """
        self.rows = {case: self.rows[case] for case in cases if case in self.rows}
        used = {row.folder for row in self.rows.values()}
        for place in require_no_link(self.folder / "cases").glob("*"):
            if place.name not in used and (place / RECORD).is_file():
                remove_own(place, *CASE_FILES)
        write_index(self.folder, self.rows.values())
        self.fingerprint = _fingerprint(self.steps, self.rows.values())
        self.failed = list(failed)
        self._record(self.fingerprint).write(self.folder / PREPARED)

    def _known(self, place: Path) -> CaseRecord:
        """Return a case's record, read once for all samples of it."""
        if place not in self._records:
            self._records[place] = load_record(place)
        return self._records[place]

    def _place(self, case: str) -> Path:
        """Return a case's folder; raises CohortError if the cohort has no such case."""
        if case not in self.rows:
            raise CohortError(
                f"{self.folder}: no case '{case}'.", found=", ".join([*self.rows][:5]) or "no case at all"
            )
        return self.folder / "cases" / self.rows[case].folder


def case_fingerprint(
    row: CaseRow, contrasts: Sequence[str], steps: Sequence[Mapping[str, Any]], inputs: Inputs | None = None
) -> str:
    """Return a SHA-256 that changes with the bytes of the case's contrasts and masks, its numbers, or the steps.

    Args:
        row: the case; its patient, split, paths and times do not count, for they change no voxel.
        contrasts: those that are prepared.
        steps: of the preparation, JSON-able.
        inputs: what `describe_inputs` found; by default it is asked here. A file that it cannot read raises InputError.
    """
    inputs = describe_inputs(row, contrasts) if inputs is None else inputs
    hashes = {name: known.sha256 for name, known in inputs.items()}
    known = [row.case, row.b0_tesla, row.dose, dict(row.metadata)]
    return _digest([FORMAT, known, hashes, list(contrasts), list(steps)])


def _fingerprint(steps: object, rows: Iterable[IndexRow]) -> str:
    """Return the fingerprint of a cohort: steps, and each case's patient, name, split and fingerprint."""
    return _digest([steps, sorted(astuple(row)[:4] for row in rows)])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _read_record(folder: Path) -> PreparedRecord | None:
    """Return prepared.json, None where there is none; raises CohortError if it is damaged or of another layout."""
    path = folder / PREPARED
    return PreparedRecord.read(path) if path.is_file() else None
