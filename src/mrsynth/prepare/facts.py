"""What is kept of a prepared case for the cohort's page: facts.json and pictures.npz in PREPARED/qc/<case>/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from mrsynth.core.errors import InputError
from mrsynth.core.files import safe_name
from mrsynth.core.records import Part, Record
from mrsynth.core.types import is_contrast
from mrsynth.io.arrays import read_arrays

FACTS, PICTURES = "facts.json", "pictures.npz"
PLANES = ("axial", "coronal", "sagittal")

MAX_SIDE = 1024
"""Pixels along a side of a picture; ours have 168."""

MAX_PICTURE_BYTES = 1 << 26

Text = Annotated[str, Field(max_length=2000)]


class Histogram(Part):
    """Counts of an image's values in bins of one width from low to high.

    Attributes:
        low, high: ends of the first and the last bin.
        counts: of each bin, from low to high.
    """

    low: float
    high: float
    counts: Annotated[list[Annotated[int, Field(ge=0, lt=1 << 40)]], Field(min_length=1, max_length=1000)]


class Histograms(Part):
    """An image's values before and after the preparation.

    Attributes:
        before, after: None where there were none.
    """

    before: Histogram | None = None
    after: Histogram | None = None


class Facts(Record):
    """facts.json of a prepared case.

    Attributes:
        steps: their names, "as read" first.
        contrasts: those that were prepared; reference: the one whose edges are drawn over the others.
        flags: sentences about what is unlikely.
        histograms: contrast → its histograms.
    """

    RECORD: ClassVar[str] = "facts of a prepared case"
    SAME_SINCE: ClassVar[int] = 0
    DO: ClassVar[str] = "remove its folder and run mrsynth prepare again"
    MAX_BYTES: ClassVar[int] = 1 << 24

    steps: Annotated[list[Text], Field(max_length=200)]
    contrasts: Annotated[list[str], Field(min_length=1, max_length=1000)]
    reference: str
    flags: Annotated[list[Text], Field(max_length=1000)]
    histograms: dict[str, Histograms]

    @model_validator(mode="after")
    def _names(self) -> Self:
        if strange := [name for name in (*self.contrasts, *self.histograms) if not is_contrast(name)]:
            raise ValueError(f"'{strange[0][:80]}' is no contrast")
        if self.reference not in self.contrasts:
            raise ValueError("a reference that was not prepared")
        return self


@dataclass(frozen=True)
class Qc:
    """What was kept of one case.

    Attributes:
        pictures: name → uint8 (rows, columns).
        facts: the content of facts.json.
    """

    pictures: dict[str, np.ndarray]
    facts: Facts


def pictures_of(folder: Path, case: str) -> Path:
    """Return where the pictures of a case of a prepared cohort stand; they are there whole or not at all.

    Args:
        folder: of the prepared cohort.
        case: its name.

    Returns:
        folder/qc/<case>, the name made safe for a path.
    """
    return folder / "qc" / safe_name(case)


def has_pictures(folder: Path) -> bool:
    """Say whether a folder holds a case's pictures and facts, undamaged."""
    try:
        return read_qc(folder) is not None
    except InputError:
        return False


def read_qc(folder: Path) -> Qc | None:
    """Return what was kept of a case, None where there is nothing.

    Args:
        folder: the case's folder of pictures (`pictures_of`).

    Raises:
        InputError: it is damaged.
    """
    if not folder.is_dir():
        return None
    facts = Facts.read(folder / FACTS)
    try:
        pictures = read_arrays(folder / PICTURES, MAX_PICTURE_BYTES)
        _require_pictures(pictures, facts)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{folder}: is damaged.", found=str(error), do="remove it and run mrsynth prepare again"
        ) from error
    return Qc(pictures, facts)


def _require_pictures(pictures: dict[str, np.ndarray], facts: Facts) -> None:
    """Raise ValueError where a picture that the page shows is missing, or is none."""
    needed = [f"final/{contrast}/{plane}" for contrast in facts.contrasts for plane in PLANES]
    needed += [f"edges/{plane}" for plane in PLANES]
    if missing := [name for name in needed if name not in pictures]:
        raise ValueError(f"no {missing[0]}")
    for name, picture in pictures.items():
        if (
            picture.dtype != np.uint8
            or picture.ndim != 2
            or not 0 < min(picture.shape) <= max(picture.shape) <= MAX_SIDE
        ):
            raise ValueError(f"{name[:80]} is no picture")
    for plane in PLANES:
        drawn = [name for name in pictures if name.endswith(f"/{plane}") and name.startswith(("edges/", "outline/"))]
        shapes = {pictures[name].shape for name in (*drawn, f"final/{facts.reference}/{plane}")}
        shapes |= {pictures[f"final/{contrast}/{plane}"].shape for contrast in facts.contrasts}
        if len(shapes) != 1:
            raise ValueError(f"{plane} pictures of several sizes")
