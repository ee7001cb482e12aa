"""The schema of a recipe: one method as one page of YAML."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, SerializeAsAny, field_validator

from mrsynth.core.settings import PredictSettings, Settings
from mrsynth.recipes.sections import NetSettings, SampleSettings, TrainSettings


class TaskSettings(Settings):
    """Which contrasts go in and which comes out.

    Attributes:
        inputs: in the order of the network's channels.
        target: the one that is made.
    """

    inputs: list[str] = Field(min_length=1)
    target: str


class EvaluateSettings(Settings):
    """How predictions are judged.

    Attributes:
        presets: the metric presets that `mrsynth evaluate` and `mrsynth reproduce` use.
        data_range: of PSNR and SSIM, in the images' units; null: the width of the recipe's range.
    """

    presets: list[str] = Field(min_length=1)
    data_range: float | None = Field(default=None, gt=0)


class PublishedTable(Settings):
    """The paper's own numbers.

    Attributes:
        source: where they stand.
        n: patients that they are of.
        translations: translation → metric → (mean, SD or null).
    """

    source: str
    n: int
    translations: dict[str, dict[str, tuple[float, float | None]]]


class MethodSettings(Settings):
    """A way of training, as a recipe's section `method` names it by its `kind`; the table is `methods.METHODS`.

    Attributes:
        TRAINED_BY: the class that trains so, "module:class", a `train.method.Method`: recipes are read without it.
        TELLS: what the network is told beside the images (`Network.told`).
        MAY_LACK: whether a case may lack contrasts; their prepared arrays are background.
        kind: the word by which a recipe asks for it.
    """

    TRAINED_BY: ClassVar[str]
    TELLS: ClassVar[tuple[str, ...]] = ()
    MAY_LACK: ClassVar[bool] = False

    kind: str

    @property
    def exchangeable(self) -> tuple[str, ...]:
        """The contrasts of which any is made from any others; none where inputs and target are fixed."""
        return ()

    def channels(self, images: int) -> int:
        """Return the channels of the network's input.

        Args:
            images: inputs times slices of each.
        """
        return images

    def check(self, recipe: Recipe) -> None:
        """Check that the rest of a recipe fits this way of training; its network, samples and losses are valid.

        Args:
            recipe: the recipe whose section this is.

        Raises:
            RecipeError: says what does not fit.
        """


class Recipe(Settings):
    """One method. The YAML file is the only home of its numbers: no number has a default.

    Attributes:
        name, title, paper: what it is called, in a word and in a line, and the paper that it follows.
        task: what is made of what.
        contrasts: those that `mrsynth prepare` brings to disk.
        prepare: the preparation, in order; each step by its name, with its settings.
        range: lowest and highest value that the network sees and returns.
        samples, net, train, predict, evaluate: what it is trained on, the network, how it is trained, how it goes over
            a volume, how it is judged.
        loss: name → weight, or settings with it.
        method: the way of training.
        variants: name → what it changes, section by section.
        published: the paper's own numbers, null for none.
    """

    name: str
    title: str
    paper: str
    task: TaskSettings
    contrasts: list[str]
    prepare: list[dict[str, dict[str, Any]]]
    range: tuple[float, float]
    samples: SampleSettings
    net: NetSettings
    loss: dict[str, float | dict[str, Any]]
    method: SerializeAsAny[MethodSettings]
    train: TrainSettings
    predict: PredictSettings = PredictSettings()  # runs that are older lack it
    evaluate: EvaluateSettings
    variants: dict[str, dict[str, Any]]
    published: PublishedTable | None

    @field_validator("range")
    @classmethod
    def _rises(cls, values: tuple[float, float]) -> tuple[float, float]:
        """The contract asks the same when all is trained."""
        if not values[0] < values[1]:
            raise ValueError("expected the lowest and the highest value, the lower one first")
        return values

    @property
    def translation(self) -> str:
        """The task as one word, e.g. t1-t2."""
        return "+".join(self.task.inputs) + "-" + self.task.target
