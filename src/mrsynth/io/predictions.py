"""predictions.json: by which model a cohort's predictions were made, what each was made of, and which cases failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mrsynth.core.errors import InputError
from mrsynth.core.files import write_json

NAME = "predictions.json"

TABLES = ("cases", "series", "sources", "failed")
"""Case → its file, → its files at several doses, → what it was made of, → why it could not be made."""

WAY = ("weights_sha256", "like", "units", "missing", "imputers_saw", "inference")
"""What must be the same for earlier predictions to be kept."""


class Predictions:
    """The predictions in a folder; predictions.json is written anew after each case.

    known: what all of them have in common (`provenance`). Those that were made in another way before are forgotten.
    Raises InputError where the folder's predictions.json is damaged or not mrsynth's.
    """

    def __init__(self, folder: Path, known: Mapping[str, Any]) -> None:
        self.folder = folder
        before = _read(folder / NAME) if (folder / NAME).exists() else {}
        same = all(before.get(key, {}) == known[key] for key in WAY)
        self.record: dict[str, Any] = {**known, **{key: before.get(key, {}) if same else {} for key in TABLES}}

    def holds(self, case: str, files: Sequence[str], origin: Mapping[str, Any]) -> bool:
        """Say whether a case's files are there, made of the same sources."""
        table, entry = _entry(files)
        kept = self.record[table].get(case) == entry and self.record["sources"].get(case) == origin
        return kept and all((self.folder / file).exists() for file in files)

    def keep(self, case: str) -> None:
        """Note that a case is as it should be, where it failed in between."""
        if self.record["failed"].pop(case, None) is not None:
            write_json(self.folder / NAME, self.record)

    def forget(self, case: str) -> None:
        """Forget what is known of a case that is to be made anew."""
        for table in TABLES:
            self.record[table].pop(case, None)

    def add(self, case: str, files: Sequence[str], origin: Mapping[str, Any]) -> None:
        """Note a case that was made; files: one image, or a series of them."""
        self.forget(case)
        table, entry = _entry(files)
        self.record[table][case], self.record["sources"][case] = entry, origin
        write_json(self.folder / NAME, self.record)

    def fail(self, case: str, why: str) -> None:
        """Note why a case could not be made."""
        self.record["failed"][case] = why
        write_json(self.folder / NAME, self.record)


def _entry(files: Sequence[str]) -> tuple[str, str | list[str]]:
    """Return the table in which a case's files stand, and what stands there."""
    return ("cases", files[0]) if len(files) == 1 else ("series", list(files))


def grid_of(record: Mapping[str, Any], case: str, first: str) -> str:
    """Return the contrast on whose grid the prediction of a case lies; record: what predictions.json says; first: the
    model's first input, whose grid it is where nothing else is said."""
    return str(record["sources"].get(case, record).get("like") or first)


def read_predictions(folder: Path) -> dict[str, Any]:
    """Return what a folder's predictions.json says, with every one of TABLES. Of a case that failed when it was last
    asked for, what was made of it before is not listed.

    Raises InputError where it is missing, damaged or not what mrsynth synthesize writes.
    """
    path = folder / NAME
    if not path.exists():
        raise InputError(
            f"{folder} holds no predictions.", expected=f"a {NAME} in it", do="run mrsynth synthesize --cohort first"
        )
    record = _read(path)
    failed = record["failed"]
    sound = {t: {case: of for case, of in record[t].items() if case not in failed} for t in TABLES if t != "failed"}
    return {**record, **sound}


def _read(path: Path) -> dict[str, Any]:
    """Return what a predictions.json says, with every one of TABLES; raises InputError for another file."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read.", found=error, do="remove it: mrsynth synthesize --cohort makes them anew"
        ) from error
    sound = isinstance(record, dict) and all(isinstance(record.get(table, {}), dict) for table in TABLES)
    if not sound or record.get("synthetic") is not True:
        raise InputError(
            f"{path} is not what mrsynth synthesize writes.",
            expected='an object with "synthetic": true',
            do="remove it, or give another folder",
        )
    return {**{table: {} for table in TABLES}, **record}
