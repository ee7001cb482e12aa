"""predictions.json: by which model a cohort's predictions were made, what each was made of, and which cases failed.

The sidecar of a single prediction says the same of one image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator
from typing_extensions import override

from mrsynth.core.errors import InputError, OutputError
from mrsynth.core.files import remove_left, safe_name, sha256_file, why_unsafe
from mrsynth.core.locks import remove_dead_locks, writing_file
from mrsynth.core.records import KEY, Part, Record
from mrsynth.io.run import Sha256
from mrsynth.io.way import Way

WAIT_S = 60.0
"""How long one process waits for another that writes the same record; writing it takes milliseconds."""

NAME = "predictions.json"
NOTICE = "Synthetic image made by research software. Not a medical device, not for diagnosis."
MAX_DEPTH = 5
"""Names from a folder of predictions to an image: a BIDS derivative has sub-X/ses-Y/anat/file."""

DO = "remove it: mrsynth synthesize --cohort makes them anew; or give another folder"


class Dosage(Part):
    """The dose that a model with a condition is told.

    Attributes:
        dose: a fraction of the full one.
        b0_tesla: the scanner's field.
        seed: of the noise.
        extrapolated: whether dose or field lie outside of what the model was trained on.
    """

    dose: float
    b0_tesla: float
    seed: int
    extrapolated: bool = False

    def words(self) -> str:
        """Return dose and field for an image's header: "0.17 3 T"."""
        return f"{self.dose:g} {self.b0_tesla:g} T" + (" EXTRAPOLATED" if self.extrapolated else "")


class Origin(Part):
    """What an input of a model was.

    Attributes:
        source: what stood in its place.
        run, weights_sha256, inputs: of the model that imputed it, None for other sources.
    """

    source: Literal["scan", "synthetic image", "imputed", "zeros", "flagged as missing"]
    run: str | None = None
    weights_sha256: Sha256 | None = None
    inputs: list[str] | None = None


class MadeFile(Part):
    """A file that a model made.

    Attributes:
        file: its path below the folder, "<case>.nii.gz", "<case>/<name>.nii.gz" or as BIDS has it.
        sha256: of the file; None where it is not known (predictions of before).
    """

    file: str
    sha256: Sha256 | None = None

    @field_validator("file")
    @classmethod
    def _stays_inside(cls, file: str) -> str:
        parts = file.split("/")
        if len(parts) > MAX_DEPTH or any(why_unsafe(part) for part in parts):
            raise ValueError("expected a path that stays in the folder")
        return file

    def with_digest(self, folder: Path | None) -> Self:
        """Return the same with the SHA-256 of the file as it lies in a folder; without a folder with none."""
        return self.model_copy(update={"sha256": None if folder is None else _digest(path_of(folder, self))})


class ErrorMap(MadeFile):
    """How far an image may be wrong.

    Attributes:
        coverage: the share of voxels that it was calibrated for; None: it was not.
    """

    coverage: float | None = None


class PredictedImage(MadeFile):
    """An image that a model made.

    Attributes:
        dosage: of a model with a condition.
        error: half the width of the interval around each voxel.
        spread: how far the members of an ensemble lie apart.
    """

    dosage: Dosage | None = None
    error: ErrorMap | None = None
    spread: MadeFile | None = None

    @override
    def with_digest(self, folder: Path | None) -> Self:
        """Return the same with the SHA-256 of its files as they lie in a folder; without a folder with none."""
        found = {name: known.with_digest(folder) for name, known in self.maps().items()}
        return super().with_digest(folder).model_copy(update=found)

    def maps(self) -> dict[str, MadeFile]:
        """Return the maps of it by what they are: error, spread."""
        return {name: known for name, known in (("error", self.error), ("spread", self.spread)) if known is not None}


class Prediction(Part):
    """What was made of a case.

    Attributes:
        images: one, or one a dose.
        like: the contrast on whose grid they lie; None for the model's first input.
        inputs: contrast → what it was.
        sha256: contrast or `brain` → SHA-256 of the file that was read.
        remarks: what is unlike the training, a sentence each.
    """

    images: list[PredictedImage] = Field(min_length=1)
    like: str | None
    inputs: dict[str, Origin] = Field(default_factory=dict)
    sha256: dict[str, Sha256] = Field(default_factory=dict)
    remarks: list[str] = Field(default_factory=list)

    def of_same(self, other: Prediction) -> bool:
        """Say whether both were made of the same files into the same images, whatever came out."""
        return self._without_result() == other._without_result()

    def _without_result(self) -> Prediction:
        images = [image.with_digest(None) for image in self.images]
        return self.model_copy(update={"images": images, "remarks": []})


class Provenance(Record):
    """What must be known of any synthetic image: that it is one, and by which model.

    Attributes:
        synthetic, notice: that it is no scan, for programs and for people.
        version: of mrsynth.
        recipe, model_inputs, target: of the model.
        run: the model's run folder, absolute.
        range: of the model's values.
        way: how it was made.
    """

    DO: ClassVar[str] = DO

    synthetic: Literal[True] = True
    notice: str = NOTICE
    version: str
    recipe: str
    run: str
    model_inputs: list[str]
    target: str
    range: tuple[float, float]
    way: Way


class Sidecar(Provenance):
    """The JSON file beside an image that was made of single files.

    Attributes:
        image: its name.
        made: how, and of what.
        files: contrast → file read.
    """

    RECORD: ClassVar[str] = "synthetic image"

    image: str
    made: Prediction
    files: dict[str, str]


class PredictionsRecord(Provenance):
    """predictions.json.

    Attributes:
        cases: case → what was made of it.
        failed: case → why it could not be made.
    """

    RECORD: ClassVar[str] = "predictions"

    cases: dict[str, Prediction] = Field(default_factory=dict)
    failed: dict[Annotated[str, Field(min_length=1)], str] = Field(default_factory=dict)

    @classmethod
    @override
    def from_content(cls, content: dict[str, Any], path: Path) -> Self:
        """Return the record that the content of a file holds; see `Record`."""
        if isinstance(content.get(KEY), str):  # before records had a version, mrsynth's own stood there
            content = {**content, "version": content[KEY]}
            del content[KEY]
        return super().from_content(content, path)

    @classmethod
    @override
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any] | None:
        """Return the record of before, whose images had no SHA-256 and where each fact of a case had its own table."""
        try:
            content["cases"] = _cases_of_before(content)
            saw = content.pop("imputers_saw", {})
            content["imputers_saw"] = {contrast: {"patients": patients} for contrast, patients in saw.items()}
            content["way"] = {key: content.pop(key) for key in Way.model_fields}
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        return content

    def like(self, case: str) -> str:
        """Return the contrast on whose grid the prediction of a case lies."""
        known = self.cases.get(case)
        return (known.like if known else None) or self.way.like or self.model_inputs[0]


def _cases_of_before(content: dict[str, Any]) -> dict[str, Any]:
    """Take the tables of before out of a record and return what they say, by case."""
    files = {case: [file] for case, file in content.pop("cases", {}).items()} | content.pop("series", {})
    sources = content.pop("sources", {})
    cases = {}
    for case, images in files.items():
        known = dict(sources.get(case, {}))
        told = known.pop("condition", None) or [None] * len(images)
        made = [{"file": file, "dosage": dosage} for file, dosage in zip(images, told, strict=True)]
        cases[case] = {"images": made, "like": known.get("like"), **known}
    return cases


class Predictions:
    """The predictions in a folder; predictions.json is written after each case.

    Several processes may predict into one folder, each other cases, by the same model and in the same way: what one
    adds stays there when another writes. Predictions that were made in another way before are forgotten.

    Args:
        folder: of the predictions.
        known: what all of them have in common.

    Raises:
        InputError: where the folder's predictions.json is damaged or not mrsynth's.
    """

    def __init__(self, folder: Path, known: PredictionsRecord) -> None:
        self.folder, self.known = folder, known
        self.path = folder / NAME
        self.began = False
        remove_left(folder)
        remove_dead_locks(folder)
        self.record = self._current()

    def holds(self, case: str, asked: Prediction) -> bool:
        """Say whether a case's images are there, made of the same sources, and are still those that were made.

        Args:
            case: its name.
            asked: what is to be made of it now.
        """
        known = self.record.cases.get(case)
        if known is None or not known.of_same(asked):
            return False
        return all(image.sha256 and image == image.with_digest(self.folder) for image in known.images)

    def keep(self, case: str) -> None:
        """Note that a case is as it should be, where it failed in between."""
        if case in self.record.failed:
            self._change(case, self.record.cases[case], None)

    def forget(self, case: str) -> None:
        """Forget what was made of a case that is to be made anew."""
        cases = {name: known for name, known in self.record.cases.items() if name != case}
        self.record = self.record.model_copy(update={"cases": cases})

    def add(self, case: str, made: Prediction) -> None:
        """Note a case that was made; the SHA-256 of its images is taken here.

        Args:
            case: its name.
            made: what was made of it; the images lie in the folder.
        """
        images = [image.with_digest(self.folder) for image in made.images]
        self._change(case, made.model_copy(update={"images": images}), None)

    def fail(self, case: str, why: str) -> None:
        """Note why a case could not be made; what was made of it before stays in the record.

        Args:
            case: its name.
            why: the reason, in words.
        """
        self._change(case, self.record.cases.get(case), why)

    def _change(self, case: str, made: Prediction | None, why: str | None) -> None:
        """Write what is known of a case now, beside what other processes wrote since."""
        with writing_file(self.path, "synthesize", wait_s=WAIT_S):
            before = self._current()
            cases = {name: known for name, known in before.cases.items() if name != case}
            failed = {name: known for name, known in before.failed.items() if name != case}
            cases |= {} if made is None else {case: made}
            failed |= {} if why is None else {case: why}
            self.record = self.known.model_copy(update={"cases": cases, "failed": failed})
            self.record.write(self.path)
            self.began = True

    def _current(self) -> PredictionsRecord:
        """Return what predictions.json says now; as if it were empty where it speaks of another way.

        Raises:
            OutputError: where this process has written its own and another one took its place.
        """
        if not self.path.exists():
            return self.known
        found = PredictionsRecord.read(self.path)
        if found.way == self.known.way:
            return found
        if self.began:
            raise OutputError(
                f"{self.folder}: another process predicts into this folder, by another model or in another way.",
                do="give each its own folder with -o, and run this command again",
            )
        return self.known


def _digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, None where there is none."""
    try:
        return sha256_file(path)
    except OSError:
        return None


def path_of(folder: Path, image: MadeFile) -> Path:
    """Return the path of an image, or of a map of it, in a folder of predictions.

    Args:
        folder: of the predictions.
        image: as the record lists it.
    """
    return folder.joinpath(*map(safe_name, image.file.split("/")))


def verified(folder: Path, image: MadeFile) -> Path:
    """Return the path of an image, or of a map of it, that is still what the model made.

    Args:
        folder: of the predictions.
        image: as the record lists it; without a SHA-256 nothing is compared.

    Raises:
        InputError: where it is another file than predictions.json describes.
    """
    path = path_of(folder, image)
    if image.sha256 is not None and path.exists() and _digest(path) != image.sha256:
        raise InputError(
            f"{path} is not the image that the model made.",
            found="another SHA-256 than predictions.json says: it was cut off, changed or replaced",
            do="run mrsynth synthesize --cohort again, which makes it anew",
        )
    return path


def read_predictions(folder: Path) -> PredictionsRecord:
    """Read a folder's predictions.json.

    Args:
        folder: of predictions.

    Returns:
        The record. Of a case that failed when it was last asked for, what was made of it before is not listed.

    Raises:
        InputError: where it is missing, damaged or not what mrsynth synthesize writes.
    """
    if not (folder / NAME).exists():
        raise InputError(
            f"{folder} holds no predictions.", expected=f"a {NAME} in it", do="run mrsynth synthesize --cohort first"
        )
    record = PredictionsRecord.read(folder / NAME)
    return record.model_copy(update={"cases": {c: p for c, p in record.cases.items() if c not in record.failed}})
