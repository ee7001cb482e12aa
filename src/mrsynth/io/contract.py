"""The contract of a trained model: what it was trained on and expects."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator
from typing_extensions import override

from mrsynth.core.errors import ModelError, MrsynthError
from mrsynth.core.records import Limits, Part, Record
from mrsynth.core.settings import PredictSettings
from mrsynth.core.types import contrast_name, is_contrast
from mrsynth.io.run import Began, Sha256, Training

FORMAT_OF_BEFORE = 2
"""The number that contracts carried before they had a version, in the last layout of that time."""

MAX_INPUTS = 64
"""No network of the project takes more images."""

Positive = Annotated[float, Field(gt=0)]
Edges = tuple[Positive, Positive, Positive]


class Condition(Part):
    """What a network with a condition was trained on: the least and the largest value of each.

    Attributes:
        dose: a fraction of the full one.
        b0_tesla: field strength.
    """

    dose: tuple[float, float]
    b0_tesla: tuple[float, float]


class Span(Part):
    """A number over the training cases.

    Attributes:
        least, middle, greatest: its minimum, median and maximum.
    """

    least: float
    middle: float
    greatest: float

    def __str__(self) -> str:
        return f"{self.least:.3g} to {self.greatest:.3g}"

    def beyond(self, value: float) -> float:
        """Return how far a value lies outside, 0 inside."""
        return max(self.least - value, value - self.greatest, 0.0)


class InputSeen(Part):
    """What a prepared input was like in the training (`likeness`).

    Attributes:
        quantiles: of its values in the brain, at `likeness.QUANTILES`.
        background: the median outside of the brain.
        coverage: the share of the brain where it is not background.
        correlation: with each other input, in the brain.
    """

    quantiles: list[Span] = Field(min_length=5, max_length=5)
    background: Span
    coverage: Span
    correlation: dict[str, Span]


class Calibration(Part):
    """How far a model may be wrong, found by cross-validation (split conformal prediction).

    Attributes:
        coverage: the share of voxels whose error is at most the interval's half width.
        patients: on how many it was found, none of whom the network had seen.
        factor: contrast that is made → for 1, 2, … inputs, what the network's scale of the error is multiplied by.
    """

    coverage: float = Field(gt=0, lt=1)
    patients: int = Field(ge=1)
    factor: dict[str, list[Positive]]


class Contract(Record):
    """What a model was trained on and expects: everything that synthesis needs.

    Of the training data it holds no image, but the patients' names (a shipped model only their number) and the SHA-256
    of their scans, so that nobody is judged who was trained on.

    Attributes:
        recipe: its name.
        inputs, target: contrasts that go in, in the order of the channels, and the one that comes out.
        net, net_settings: the network by name, and its constructor's arguments.
        patch: size of the boxes it was trained on (x, y, z; null: the whole extent), None for axial slices.
        contrasts: of a model that makes any contrast from any others, all of them in the order of its channels;
            `inputs` and `target` are one of its tasks (`for_target`). Empty for other models.
        refused: translation (t1-t1ce) → why the model is not to be used for it.
        calibration: of the error that it says of itself, None where it says none.
        flags: whether each input is followed by a channel that is 1 where the input is there and 0 where it is missing.
        voxels_mm: least and greatest edges of the training cases' voxels as the network saw them (None: not known).
        neighbours: slices on each side that a 2-D network sees too.
        predict: how it goes over a volume.
        condition: of a network that is told dose and field strength.
        steps: the preparation as the recipe writes it.
        range: of the values that the network sees and returns.
        intensity: median of each intensity step's record of the target over the training cases, to bring a prediction
            to scanner-like units.
        seen: contrast → what that input was like in the training (None: not known).
        began, training: what a reader should know of the training.
        licence: under which the weights may be used; "" where nobody said it.
        weights_sha256: of the file of weights beside it.
    """

    RECORD: ClassVar[str] = "contract"
    DO: ClassVar[str] = "copy the whole run folder again, or train the model again"
    ERROR: ClassVar[type[MrsynthError]] = ModelError

    recipe: str
    inputs: list[str] = Field(min_length=1, max_length=MAX_INPUTS)
    target: str
    net: str
    net_settings: dict[str, Any]
    patch: list[Annotated[int, Field(ge=1)] | None] | None = Field(min_length=3, max_length=3)
    contrasts: list[str] = Field(default=[], max_length=MAX_INPUTS)
    refused: dict[str, str] = Field(default={})
    calibration: Calibration | None = None
    flags: bool
    voxels_mm: tuple[Edges, Edges] | None = None
    neighbours: int = Field(default=0, ge=0, le=64)
    predict: PredictSettings = PredictSettings()
    condition: Condition | None = None
    steps: list[dict[str, Any]]
    range: Limits
    intensity: list[dict[str, Any]]
    seen: dict[str, InputSeen] | None = None
    began: Began = Began(data_fingerprint="", started="")
    training: Training = Training()
    licence: str = ""
    weights_sha256: Sha256

    @field_validator("inputs", "target", "contrasts")
    @classmethod
    def _contrasts(cls, names: Any) -> Any:
        """Names become parts of files' names and keys of cases."""
        listed = names if isinstance(names, list) else [names]
        if unknown := [name for name in listed if not is_contrast(name)]:
            raise ValueError(f"{unknown[0]!r} is not a contrast")
        if len(set(listed)) != len(listed):
            raise ValueError("one of them stands there twice")
        return names

    @field_validator("refused")
    @classmethod
    def _translations(cls, refused: dict[str, str]) -> dict[str, str]:
        """A translation that is misspelt would be refused to nobody."""
        for translation in refused:
            inputs, _, target = translation.rpartition("-")
            if wrong := [name for name in (*inputs.split("+"), target) if not is_contrast(name)]:
                raise ValueError(f"{translation!r} is no translation: {wrong[0]!r} is not a contrast")
        return refused

    @classmethod
    @override
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any] | None:
        """Return the contract of before, where all that is known of the training stood side by side."""
        if content.pop("format", None) != FORMAT_OF_BEFORE or not isinstance(content.get("training"), dict):
            return None
        training = dict(content["training"])
        known = {key: training.pop(key) for key in Began.model_fields if key in training}
        began = {"data_fingerprint": "", "started": "", **known}
        return {**content, "began": began, "training": training}

    def for_target(self, target: str | None) -> Contract:
        """Return the contract of the task that makes a contrast.

        Args:
            target: the contrast, in any spelling; None for the one that the contract names.

        Raises:
            ModelError: where the model does not make it.
        """
        if target is None:
            return self
        made = self.makes()
        if (name := contrast_name(target)) not in made:
            raise ModelError(
                f"This model does not make {name}.", found=f"it makes {', '.join(made)}", do="name another --target"
            )
        if name == self.target:
            return self
        return self.model_copy(update={"target": name, "inputs": [other for other in made if other != name]})

    def makes(self) -> list[str]:
        """Return the contrasts that the model makes."""
        return self.contrasts or [self.target]

    def why_refused(self, inputs: Collection[str]) -> str | None:
        """Return why the model is not to be used to make its target from these inputs, None where it may be.

        Args:
            inputs: contrasts, in any order.
        """
        for translation, why in self.refused.items():
            given, _, made = translation.rpartition("-")
            if made == self.target and set(given.split("+")) == set(inputs):
                return why
        return None

    def patients_seen(self) -> set[str]:
        """Return the patients of training and validation."""
        patients = self.training.patients
        return {*patients.get("train", ()), *patients.get("val", ())}
