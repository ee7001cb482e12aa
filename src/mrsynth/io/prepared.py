"""The prepared cohort on disk: what lies between `mrsynth prepare` and `mrsynth train`.

    PREPARED/prepared.json          format, recipe, steps, contrasts, version; the fingerprint once all is finished
    PREPARED/index.csv              patient, case, split, fingerprint, slices, folder
    PREPARED/cases/<case>/          <contrast>.npy, <mask>.npy and record.json (see `prepared_case`)

A case folder appears whole or not at all, so that an interrupted preparation goes on where it stopped.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

import mrsynth
from mrsynth.errors import CohortError, InputError, OutputError
from mrsynth.image import Case, Image
from mrsynth.io.cohort import SPLITS, CaseRow
from mrsynth.io.files import TEMPORARY_PREFIX, remove, safe_name, sha256_file, write_json, write_text
from mrsynth.io.prepared_case import load_array, load_image, load_record, save_case
from mrsynth.types import is_contrast

FORMAT = 1


@dataclass(frozen=True)
class IndexRow:
    """One line of index.csv. slices: axial slices of its arrays; folder: below cases/."""

    patient: str
    case: str
    split: str
    fingerprint: str
    slices: int
    folder: str


class PreparedCohort:
    """A prepared cohort, opened for reading (`open`) or made and continued (`create` … `finish`).

    folder, recipe (name), steps and contrasts as they were given to `create`; fingerprint: SHA-256 over steps, cases,
    splits and their input files, None before `finish`.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any], rows: Sequence[IndexRow] = ()) -> None:
        self.folder = folder
        self.recipe: str = header["recipe"]
        self.steps: list[dict[str, Any]] = header["steps"]
        self.contrasts: list[str] = header["contrasts"]
        self.fingerprint: str | None = header["fingerprint"]
        self.rows: dict[str, IndexRow] = {row.case: row for row in rows}

    @classmethod
    def open(cls, folder: Path) -> PreparedCohort:
        """Open a finished prepared cohort; raises CohortError if it is none, unfinished or incomplete."""
        header = _read_header(folder)
        if header is None:
            raise CohortError(
                f"{folder}: is not a prepared cohort.",
                found="no such folder" if not folder.exists() else "no prepared.json",
                expected="a folder made by mrsynth prepare",
                do="mrsynth prepare cohort.csv --recipe RECIPE -o FOLDER",
            )
        if header["fingerprint"] is None:
            raise CohortError(
                f"{folder}: the preparation was not finished.", do="run mrsynth prepare again; finished cases are kept"
            )
        return cls(folder, header, _read_index(folder))

    @classmethod
    def create(
        cls, folder: Path, *, recipe: str, steps: Sequence[Mapping[str, Any]], contrasts: Sequence[str]
    ) -> PreparedCohort:
        """Begin a prepared cohort in a folder, or go on with the one that is there; it counts as unfinished until
        `finish`. Raises OutputError if the folder holds something else or cannot be written."""
        if folder.exists() and _read_header(folder) is None and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(
                f"{folder}: is no place for a prepared cohort.",
                found="a folder with other files" if folder.is_dir() else "a file",
                expected="a new or empty folder, or a prepared cohort",
                do="give another folder",
            )
        header = {
            "format": FORMAT,
            "mrsynth": mrsynth.__version__,
            "recipe": recipe,
            "contrasts": list(contrasts),
            # As they will be read back, so that the comparison with a recipe does not depend on who asks.
            "steps": json.loads(json.dumps(list(steps))),
            "fingerprint": None,
        }
        write_json(folder / "prepared.json", header)
        for left in (folder / "cases").glob(f"{TEMPORARY_PREFIX}*"):
            remove(left)
        return cls(folder, header)

    def with_splits(self, split_of: Mapping[str, str]) -> PreparedCohort:
        """Return the same cohort with other splits, patient → split; nothing changes on disk."""
        rows = [replace(row, split=split_of[row.patient]) for row in self.rows.values()]
        header = {"recipe": self.recipe, "steps": self.steps, "contrasts": self.contrasts}
        return PreparedCohort(self.folder, {**header, "fingerprint": self.fingerprint}, rows)

    def cases(self, split: str | None = None) -> list[str]:
        """Return the names of the cases, of one split where given, in the order of the cohort table."""
        return [row.case for row in self.rows.values() if split in (None, row.split)]

    def patients(self, split: str | None = None) -> list[str]:
        """Return the patients, of one split where given, sorted."""
        return sorted({row.patient for row in self.rows.values() if split in (None, row.split)})

    def array(self, case: str, name: str) -> np.ndarray:
        """Return the voxels of a contrast (float32) or mask (uint8) as a read-only memory map (x, y, z).

        An axial slice [:, :, k] is contiguous on disk. Raises CohortError if there is no such case or array.
        """
        return load_array(self._place(case), name)

    def image(self, case: str, name: str) -> Image:
        """Return a contrast or mask as an image on the prepared grid, with the patient's own grid in `native`.

        Raises CohortError if there is no such case or image.
        """
        return load_image(self._place(case), name)

    def record(self, case: str) -> dict[str, Any]:
        """Return a case's record: fingerprint, metadata, `history` (records of the steps) and images' geometry.

        Raises CohortError if there is no such case or its record is damaged.
        """
        return load_record(self._place(case))

    def is_current(self, case: str, fingerprint: str) -> bool:
        """Say whether the case lies there whole and was made from the same input files, by the same steps."""
        place = self.folder / "cases" / safe_name(case)
        try:
            record = load_record(place)
            return record["fingerprint"] == fingerprint and all(
                load_array(place, n) is not None for n in record["images"]
            )
        except CohortError:
            return False

    def keep(self, row: CaseRow, fingerprint: str) -> None:
        """Take a case that is current into the cohort, with the row's patient and split."""
        place = self.folder / "cases" / safe_name(row.case)
        images = load_record(place)["images"]
        slices = int(next(iter(images.values()))["shape"][2])
        self.rows[row.case] = IndexRow(row.patient, row.case, row.split, fingerprint, slices, place.name)

    def write_case(self, row: CaseRow, case: Case, records: Sequence[Mapping[str, Any]], fingerprint: str) -> None:
        """Write a prepared case, whole or not at all, in place of an older one, and take it into the cohort.

        records: what the steps recorded, JSON-able. Raises OutputError if it cannot be written, CohortError if its
        arrays differ in shape.
        """
        save_case(self.folder / "cases" / safe_name(row.case), case, records, fingerprint)
        self.keep(row, fingerprint)

    def finish(self, cases: Sequence[str]) -> None:
        """Write the index of those of the named cases that were written or kept, then the cohort's fingerprint.

        Case folders of earlier runs that are not among them are removed. Raises OutputError.
        """
        self.rows = {case: self.rows[case] for case in cases if case in self.rows}
        used = {row.folder for row in self.rows.values()}
        for place in (self.folder / "cases").glob("*"):
            if place.name not in used and (place / "record.json").is_file():
                remove(place)
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow([field.name for field in fields(IndexRow)])
        table.writerows(astuple(row) for row in self.rows.values())
        write_text(self.folder / "index.csv", text.getvalue())
        self.fingerprint = _digest([self.steps, sorted(astuple(row)[:4] for row in self.rows.values())])
        header = _read_header(self.folder) or {}
        write_json(self.folder / "prepared.json", {**header, "fingerprint": self.fingerprint})

    def _place(self, case: str) -> Path:
        """Return a case's folder; raises CohortError if the cohort has no such case."""
        if case not in self.rows:
            raise CohortError(
                f"{self.folder}: no case '{case}'.", found=", ".join([*self.rows][:5]) or "no case at all"
            )
        return self.folder / "cases" / self.rows[case].folder


def case_fingerprint(row: CaseRow, contrasts: Sequence[str], steps: Sequence[Mapping[str, Any]]) -> str:
    """Return a SHA-256 that changes with the bytes of the case's contrasts and masks, its numbers, or the steps.

    Patient and split are left out: moving a patient to another split changes no voxel. Raises InputError if a file
    cannot be read.
    """
    hashes = {}
    for name, path in row.files.items():
        if name in contrasts or not is_contrast(name):
            try:
                hashes[name] = sha256_file(path)
            except OSError as error:
                raise InputError(
                    f"{row.case}: {path} cannot be read.", found=error.strerror, do="correct the path in the table"
                ) from error
    known = [row.case, row.b0_tesla, row.dose, dict(row.metadata)]
    return _digest([FORMAT, known, hashes, list(contrasts), list(steps)])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _read_header(folder: Path) -> dict[str, Any] | None:
    """Return prepared.json, None where there is none; raises CohortError if it is damaged or of another format."""
    path = folder / "prepared.json"
    if not path.is_file():
        return None
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        if header["format"] != FORMAT:
            raise CohortError(
                f"{path}: has another format.",
                found=header["format"],
                expected=FORMAT,
                do="prepare the cohort again, into a new folder",
            )
        if not {"recipe", "steps", "contrasts", "fingerprint"} <= set(header):
            raise ValueError("incomplete")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CohortError(
            f"{path}: is damaged.", found=repr(error), do="prepare the cohort again, into a new folder"
        ) from error
    return dict(header)


def _read_index(folder: Path) -> list[IndexRow]:
    """Return the lines of index.csv; raises CohortError if it is damaged or a case's folder is missing."""
    path = folder / "index.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            _, *lines = csv.reader(file, strict=True)
        rows = [
            IndexRow(patient, case, split, fingerprint, int(slices), folder)
            for patient, case, split, fingerprint, slices, folder in lines
        ]
        for row in rows:
            safe_name(row.folder)  # no way out of the cohort's folder
    except (OSError, ValueError, KeyError, TypeError, csv.Error, OutputError) as error:
        raise CohortError(f"{path}: is damaged.", found=str(error), do="run mrsynth prepare again") from error
    for row in rows:
        if row.split not in SPLITS or not (folder / "cases" / row.folder / "record.json").is_file():
            raise CohortError(
                f"{folder}: case {row.case} is not usable.",
                found=f"split {row.split!r}" if row.split not in SPLITS else f"no cases/{row.folder}/record.json",
                do="run mrsynth prepare again",
            )
    return rows
