"""Reads one examination: its images and masks, with what is known about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image
from mrsynth.core.records import Record
from mrsynth.core.types import MASKS, contrast_name, in_order, is_contrast
from mrsynth.io.cohort import CaseRow
from mrsynth.io.labels import COLUMN, read_lesion
from mrsynth.io.locator import split_locator
from mrsynth.io.read import read_image, read_mask
from mrsynth.io.walk import Ignored

CASE_FILE = "case.json"
"""Metadata beside the images of a case (`CaseFile`)."""

MAX_KEYS = 1000
"""More things than that nobody says of a case."""


def _as_text(value: object) -> object:
    """Return a number as text: people write patient 7 as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[str, BeforeValidator(_as_text), Field(max_length=1000)]


class CaseFile(Record):
    """case.json: what is known of the case whose images lie beside it.

    You may write one by hand, with further keys; it needs no header. Those of before had none either.

    Attributes:
        patient, case, split: who it is and what it is for.
        b0_tesla, dose: field strength, and dose as a fraction of the full one.
        draws: all that was drawn for a phantom, from which it can be scanned again.
    """

    RECORD: ClassVar[str] = "case"
    DO: ClassVar[str] = "correct or remove it; of a phantom, remove its folder and run mrsynth simulate again"
    MAX_BYTES: ClassVar[int] = 1 << 22

    model_config = ConfigDict(extra="allow")

    patient: Name | None = None
    case: Name | None = None
    split: Name | None = None
    b0_tesla: Annotated[float, Field(gt=0, lt=100)] | None = None
    dose: Annotated[float, Field(ge=0, le=1)] | None = None
    draws: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _few(self) -> Self:
        further = self.model_extra or {}
        if len(further) > MAX_KEYS or any(len(key) > 200 for key in further):
            raise ValueError(f"more than {MAX_KEYS} keys, or one of more than 200 letters")
        return self

    @classmethod
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any] | None:
        """Return a case file without a header, of before or written by hand: it says the same.

        Args:
            content: the parsed JSON.
            version: of the record; 0 where it has no header.
        """
        return content


def write_case_file(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Write what is known of a case beside its images; raises OutputError.

    Args:
        folder: of the case.
        metadata: as `core.image.Case` holds it.
    """
    CaseFile.model_validate(dict(metadata)).write(folder / CASE_FILE)


def read_case(row: CaseRow, contrasts: Sequence[str] | None = None, masks: Sequence[str] = MASKS) -> Case:
    """Read a case from a row of a cohort table.

    Args:
        row: the case's files and numbers.
        contrasts: those to read, in any spelling; all that the case has by default.
        masks: those to read where the case has them.

    Returns:
        The case. Its metadata holds patient, case, split, b0_tesla, dose, the table's other columns and what case.json
        says. Images may lie on different grids until a step brings them together.

    Raises:
        InputError: where a contrast is missing or a file cannot be used.
    """
    present = [name for name in in_order(row.files) if is_contrast(name)]
    names = present if contrasts is None else [contrast_name(name) for name in contrasts]
    for name in names:
        if name not in row.files:
            raise InputError(
                f"{row.case}: no {name} image.",
                found=", ".join(present) or "no image at all",
                expected=name,
                do=f"add {name} to this case or leave the case out",
            )
    images = {name: read_image(row.files[name], name) for name in names}
    read = {name: _mask(row, name) for name in row.files if name in masks}
    return Case(images, read, _metadata(row))


def _mask(row: CaseRow, name: str) -> Image:
    """Return a mask of a case; a lesion mask by the convention that the table names."""
    path = row.files[name]
    return read_lesion(path, row.metadata.get(COLUMN, "")) if name == "lesion" else read_mask(path, name)


def _metadata(row: CaseRow) -> dict[str, Any]:
    """Return what is known of a case; the table's word counts more than that of case.json. A dose or field that the
    table leaves empty is not known: index has brought there what case.json says."""
    folders = {split_locator(path)[0].parent for path in row.files.values()}
    beside = read_case_file(folders.pop())[0] if len(folders) == 1 else {}
    if row.split:  # a row of a table: it has a split
        beside = {key: value for key, value in beside.items() if key not in ("b0_tesla", "dose")}
    known = {"split": row.split or None, "b0_tesla": row.b0_tesla, "dose": row.dose, **row.metadata}
    filled = {key: value for key, value in known.items() if value not in (None, "")}
    return {**beside, **filled, "patient": row.patient, "case": row.case}


def read_case_file(folder: Path) -> tuple[dict[str, Any], Ignored | None]:
    """Return what a case.json says.

    Args:
        folder: of the case.

    Returns:
        What it says, {} where there is none; and the problem where it cannot be used.
    """
    path = folder / CASE_FILE
    if not path.is_file():
        return {}, None
    try:
        said = CaseFile.read(path)
    except InputError as error:
        return {}, Ignored(path, f"{error.what.removeprefix(f'{path} ')} {error.found}: {error.do}")
    return said.model_dump(mode="json", exclude_none=True), None
