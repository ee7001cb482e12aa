"""What a prepared cohort says of itself and of each case: prepared.json and record.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator
from typing_extensions import override

from mrsynth.core.errors import CohortError, MrsynthError
from mrsynth.core.records import Part, Record
from mrsynth.core.types import MASKS, b_of, is_contrast

MAX_VOXELS = 1 << 28
"""Voxels of a prepared image, at most: a CT of 512 × 512 × 1024. More is refused before memory is taken."""

Extent = Annotated[int, Field(gt=0, le=1 << 16)]
Shape = tuple[Extent, Extent, Extent]
Row = tuple[float, float, float, float]
Affine = tuple[Row, Row, Row, Row]
Digest = Annotated[str, Field(max_length=128)]
Text = Annotated[str, Field(max_length=10_000)]
Steps = Annotated[list[dict[str, dict[str, Any]]], Field(max_length=200)]

AGAIN = "run mrsynth prepare again"


class InputFile(Part):
    """A file that a case was made from, as it was then.

    Attributes:
        path: with its selection.
        size: bytes.
        mtime_ns: when it last changed.
        sha256: of its content.
    """

    path: Annotated[str, Field(max_length=1 << 15)]
    size: Annotated[int, Field(ge=0, lt=1 << 60)]
    mtime_ns: Annotated[int, Field(gt=-(1 << 63), lt=1 << 63)]
    sha256: Digest


class NativeGrid(Part):
    """How an image lies in its file (`core.image.Native`).

    Attributes:
        shape, affine, orientation: as there.
        header: the file's own, in base64, without the patient; None for none.
    """

    shape: Shape
    affine: Affine
    orientation: tuple[Text, Text, Text]
    header: Annotated[str, Field(max_length=1 << 16)] | None


class Geometry(Part):
    """An image or mask on the prepared grid.

    Attributes:
        shape: voxels along x, y, z.
        affine: 4×4, voxel → mm.
        native: how it lies in its file, None where that is not known.
        sha256: of the array's file, None in cases of earlier versions.
    """

    shape: Shape
    affine: Affine
    native: NativeGrid | None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @field_validator("shape")
    @classmethod
    def _fits(cls, shape: Shape) -> Shape:
        if shape[0] * shape[1] * shape[2] > MAX_VOXELS:
            raise ValueError(f"more than {MAX_VOXELS} voxels")
        return shape


class CaseRecord(Record):
    """record.json of a prepared case.

    Attributes:
        fingerprint: of its input files, numbers and steps (`prepared.case_fingerprint`).
        inputs: contrast or mask → the file that it was read from.
        metadata: what is known of the examination.
        history: what each step recorded, in their order.
        images: contrast or mask → its geometry; all have one shape.
    """

    RECORD: ClassVar[str] = "prepared case"
    SAME_SINCE: ClassVar[int] = 0
    DO: ClassVar[str] = AGAIN
    ERROR: ClassVar[type[MrsynthError]] = CohortError
    MAX_BYTES: ClassVar[int] = 1 << 26

    fingerprint: Digest
    inputs: dict[str, InputFile]
    metadata: dict[str, Any]
    history: Annotated[list[dict[str, Any]], Field(max_length=200)]
    images: Annotated[dict[str, Geometry], Field(min_length=1, max_length=1000)]

    @property
    def grid(self) -> Geometry:
        """The grid that all images share."""
        return next(iter(self.images.values()))

    def lacking(self, contrasts: Iterable[str]) -> list[str]:
        """Return the contrasts that the case does not have: their arrays are background (`prepare`, where a recipe
        allows it)."""
        fitted = any(b_of(name) is not None for name in self.inputs)
        there = {*self.inputs, *(["adc"] if fitted else [])}
        return [name for name in contrasts if self.inputs and name not in there]

    @field_validator("history")
    @classmethod
    def _steps(cls, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for step in history:
            images = step.get("images", {})
            if not isinstance(step.get("step"), str) or not isinstance(images, dict):
                raise ValueError("a step without its name, or whose images are no table")
            if not all(isinstance(found, dict) for found in images.values()):
                raise ValueError(f"what {step['step'][:80]} did to an image is no table")
        return history

    @model_validator(mode="after")
    def _names(self) -> Self:
        if strange := [name for name in self.images if not is_contrast(name) and name not in MASKS]:
            raise ValueError(f"'{strange[0][:80]}' is no contrast and no mask")
        if len({image.shape for image in self.images.values()}) != 1:
            raise ValueError("images that differ in shape")
        return self


class PreparedRecord(Record):
    """prepared.json of a prepared cohort.

    Attributes:
        made_by: the version of mrsynth.
        recipe: its name, or "steps".
        contrasts: those that every case has.
        steps: with all settings, also those learned from the training cases; asked: before they learned.
        failed: (case, why) of what could not be prepared.
        fingerprint: of the whole cohort; None while it is not finished.
    """

    RECORD: ClassVar[str] = "prepared cohort"
    DO: ClassVar[str] = "prepare the cohort again, into a new folder"
    ERROR: ClassVar[type[MrsynthError]] = CohortError

    made_by: Annotated[str, Field(max_length=100)]
    recipe: Text
    contrasts: Annotated[list[str], Field(max_length=1000)]
    steps: Steps
    asked: Steps
    failed: list[tuple[str, str]]
    fingerprint: Digest | None

    @field_validator("contrasts")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        if strange := [name for name in names if not is_contrast(name)]:
            raise ValueError(f"'{strange[0][:80]}' is no contrast")
        return names

    @classmethod
    @override
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any] | None:
        """Return what a prepared.json of format 2 says; format 1 kept plain arrays, which are not read any more."""
        if content.pop("format", None) != 2:
            return None
        known = {key: value for key, value in content.items() if key in cls.model_fields}
        return {"made_by": "unknown", "asked": known.get("steps"), "failed": [], **known}
