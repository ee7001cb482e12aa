"""A run: the folder that a training leaves, the names of what lies in it, and run.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_serializer, model_validator

from mrsynth.core.errors import ModelError, MrsynthError
from mrsynth.core.records import Part, Record
from mrsynth.io.evaluation import Evaluation

Split = Literal["train", "val", "test"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Run:
    """A run's folder; no other code knows what the files in it are called."""

    folder: Path

    @property
    def recipe(self) -> Path:
        """The recipe, whole and in words that `load_recipe` reads."""
        return self.folder / "recipe.yaml"

    @property
    def record(self) -> Path:
        """The `RunRecord`."""
        return self.folder / "run.json"

    @property
    def baselines(self) -> Path:
        """What the baselines learned from the training split."""
        return self.folder / "baselines.npz"

    @property
    def imputers(self) -> Path:
        """Which other runs make inputs that a case lacks."""
        return self.folder / "imputers.yaml"

    @property
    def model(self) -> Path:
        """The folder of contract, weights and card."""
        return self.folder / "model"

    @property
    def checkpoints(self) -> Path:
        """The folder of the training's states."""
        return self.folder / "checkpoints"

    @property
    def last_state(self) -> Path:
        """The state from which a stopped training goes on."""
        return self.checkpoints / "last.ckpt"

    @property
    def log(self) -> Path:
        """The folder of everything that is noted while training."""
        return self.folder / "log"

    @property
    def history(self) -> Path:
        """The losses, a row an epoch."""
        return self.log / "history.csv"

    @property
    def curves(self) -> Path:
        """The losses as a picture."""
        return self.log / "learning_curves.png"

    @property
    def samples(self) -> Path:
        """The folder of pictures that a training draws on its way."""
        return self.log / "samples"

    @property
    def features(self) -> Path:
        """The folder of feature networks that were trained for the run's losses."""
        return self.folder / "features"

    @property
    def predictions(self) -> Path:
        """The folder where predictions of a cohort lie by default."""
        return self.folder / "predictions"

    @property
    def evaluation(self) -> Evaluation:
        """The evaluation of these predictions."""
        return Evaluation.in_folder(self.folder)

    @property
    def report(self) -> Path:
        """The page that shows the run."""
        return self.folder / "report.html"

    @property
    def is_trained(self) -> bool:
        """Say whether the training came to its end and left a model."""
        return Model(self.model).contract.is_file()


@dataclass(frozen=True)
class Model:
    """The folder of a trained model, which can be shipped without its run."""

    folder: Path

    @classmethod
    def of(cls, run: Path) -> Model:
        """Return the model of a run folder, or the one that lies in the folder itself.

        Raises:
            ModelError: where there is none.
        """
        for model in (cls(Run(run).model), cls(run)):
            if model.contract.is_file():
                return model
        raise ModelError(
            f"{run} holds no trained model.",
            found="no such folder" if not run.exists() else "no model/contract.json",
            expected="a run folder made by mrsynth train",
            do="give the folder named by --out when training (a stopped training goes on with --resume)",
        )

    @property
    def contract(self) -> Path:
        """The `Contract`."""
        return self.folder / "contract.json"

    @property
    def weights(self) -> Path:
        """The network's weights, safetensors."""
        return self.folder / "weights.safetensors"

    @property
    def card(self) -> Path:
        """What a reader should know of the model, Markdown."""
        return self.folder / "card.md"


class Began(Part):
    """How a training began.

    Attributes:
        data_fingerprint: of the prepared cohort.
        started: date and time, ISO 8601.
        start: the other run's checkpoint that it began from, "run/stage-0.ckpt"; None for none.
        weights_from: the other run whose weights it began with, with the first digits of their SHA-256; None for drawn
            ones.
        steps_from: the folds that found for how many steps to train, where there is no validation split.
    """

    data_fingerprint: str
    started: str
    start: str | None = None
    weights_from: str | None = None
    steps_from: str | None = None


class SampleCounts(Part):
    """How many samples an epoch trains and validates, and what they are.

    Attributes:
        kind: what a sample is.
        train, val: how many.
    """

    kind: Literal["boxes", "slices"]
    train: int = Field(ge=0)
    val: int = Field(ge=0)


class FeatureNetwork(Part):
    """A feature network that a loss looks through; of one that was trained for the run also how well it learned.

    Attributes:
        network, layer, weights: as in `losses.term.FeatureSettings`.
        sha256: of the weights.
        contrasts: those that it learned to tell apart, None where it was not trained for the run.
        accuracy, chance: question ("contrast", "change") → share of right answers at the end of its training, and by
            guessing; None likewise.
        seconds: of its training; None likewise.
    """

    network: str
    layer: str
    weights: str
    sha256: Sha256
    contrasts: list[str] | None = None
    accuracy: dict[str, float] | None = None
    chance: dict[str, float] | None = None
    seconds: float | None = None


class Encoder(Part):
    """The file of weights that an encoder began with.

    Attributes:
        weights: where they came from, as the recipe says.
        file: its name.
        sha256: of the file.
    """

    weights: str
    file: str
    sha256: Sha256


Verdict = Literal["converged", "falling", "unclear", "short"]


class Convergence(Part):
    """How the validation loss moved at the end of a stage; train/convergence.py has the rule.

    Attributes:
        stage: 0 for the first.
        epochs: how many of its last ones were looked at.
        slope, slope_error: of the loss, per epoch, and its standard error.
        further_percent, further_percent_95: by how much of its mean the loss would fall in as many epochs again, and
            the 95 % interval of that.
        verdict: converged, falling (it would fall further), unclear (it scatters too much to say) or short (too few
            epochs to say).
    """

    stage: int = Field(ge=0)
    epochs: int = Field(ge=0)
    slope: float | None = None
    slope_error: float | None = None
    further_percent: float | None = None
    further_percent_95: tuple[float, float] | None = None
    verdict: Verdict

    @property
    def words(self) -> str:
        """The verdict as a sentence."""
        if self.verdict == "short":
            return "too few epochs to say whether it has converged"
        low, high = self.further_percent_95 or (0.0, 0.0)
        found = {"converged": "converged", "falling": "not converged", "unclear": "unclear whether it has converged"}
        return (
            f"{found[self.verdict]}: {self.epochs} epochs more would lower the validation loss by "
            f"{self.further_percent:.2g} % ({low:.2g} to {high:.2g})"
        )


class Training(Part):
    """What a reader needs to know of a finished training: recipe, data, seed, versions, device, outcome.

    What a contract that was not written by a training does not say is empty.

    Attributes:
        recipe, title, paper: name, title and paper of the recipe.
        translation, inputs, target: the task as one word (t1-t2), and its contrasts.
        seed: of the training.
        n_cases: split → cases.
        patients: split → patients, as the cohort table names them; of a shipped model none is named.
        n_patients: split → how many, where they are not named.
        scans: SHA-256 of every scan of the training and validation cases, sorted; None where it is not known (runs of
            before), so that a patient is recognised under any name.
        epochs: how many were trained.
        best_epoch: the first is 0; the last one where nothing was validated.
        best_val_loss: None where nothing was validated.
        device: on which it ran, in words.
        commit: of mrsynth's source, "unknown" for an installed package.
        versions: package → version.
        parameters: of the network.
        seconds: of all epochs.
        samples: of an epoch.
        features: loss → the network that it looks through.
        encoder: the weights of others that it began with, None for none.
        precision: in which the network computed, as Lightning names it; None where it is not known (runs of before).
        members: of an ensemble, each member's run with the first digits of its weights' SHA-256.
        convergence: of each stage whether its validation loss had come to rest; empty for runs of before.
    """

    recipe: str = ""
    title: str = ""
    paper: str = ""
    translation: str = ""
    inputs: list[str] = Field(default_factory=list)
    target: str = ""
    seed: int = 0
    n_cases: dict[Split, int] = Field(default_factory=dict)
    patients: dict[Split, list[str]] = Field(default_factory=dict)
    n_patients: dict[Split, int] = Field(default_factory=dict)
    scans: list[Sha256] | None = None
    epochs: int = 0
    best_epoch: int = 0
    best_val_loss: float | None = None
    device: str = ""
    commit: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    parameters: int = 0
    seconds: float = 0.0
    samples: SampleCounts = SampleCounts(kind="slices", train=0, val=0)
    features: dict[str, FeatureNetwork] = Field(default_factory=dict)
    encoder: Encoder | None = None
    precision: str | None = None
    members: list[str] = Field(default_factory=list)
    convergence: list[Convergence] = Field(default_factory=list)

    def patients_in(self, split: Split) -> int:
        """Return how many patients a split has."""
        return len(self.patients.get(split, ())) or self.n_patients.get(split, 0)


class RunRecord(Record):
    """run.json.

    On disk all of it stands side by side, for people and scripts that look for a seed or the number of epochs.

    Attributes:
        began: how the training began.
        training: None until the training has ended.
    """

    RECORD: ClassVar[str] = "run"
    SAME_SINCE: ClassVar[int] = 0
    DO: ClassVar[str] = "copy the whole run folder again, or train again into another folder"
    ERROR: ClassVar[type[MrsynthError]] = ModelError

    began: Began
    training: Training | None = None

    @model_validator(mode="before")
    @classmethod
    def _apart(cls, content: Any) -> Any:
        """Take what stands side by side apart."""
        if not isinstance(content, dict) or "began" in content:
            return content
        began = {key: value for key, value in content.items() if key in Began.model_fields}
        training = {key: value for key, value in content.items() if key not in Began.model_fields}
        return {"began": began, "training": training or None}

    @model_serializer(mode="plain")
    def _side_by_side(self) -> dict[str, Any]:
        training = {} if self.training is None else self.training.model_dump(mode="json")
        return {**training, **self.began.model_dump(mode="json")}
