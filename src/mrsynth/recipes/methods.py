"""The ways of training: what a recipe says of each, and what of the recipe must fit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import Settings, nearest, parse
from mrsynth.nets import Network, sketch
from mrsynth.recipes.schema import MethodSettings, Recipe
from mrsynth.recipes.sections import Beta, NetSettings


class MissingSettings(Settings):
    """Modality dropout, so that one model takes any subset of its inputs.

    Attributes:
        drop: probability with which each input of a sample is left out (at least one stays).
        flags: the network is also told which inputs are there, one more channel an input.
    """

    drop: float = Field(ge=0, lt=1)
    flags: bool


class SupervisedSettings(MethodSettings):
    """One network lowers the recipe's loss.

    Attributes:
        kind: the word by which a recipe asks for it.
        missing: which inputs it is denied in training; null for none.
    """

    TRAINED_BY: ClassVar[str] = "mrsynth.train.supervised:SupervisedMethod"

    kind: Literal["supervised"]
    missing: MissingSettings | None = None

    def channels(self, images: int) -> int:
        """Return a channel an image, and with flags a second one that says whether it is there."""
        return images * (2 if self.missing is not None and self.missing.flags else 1)

    def check(self, recipe: Recipe) -> None:
        """Check that inputs are dropped only where each is one image, as it lies."""
        if self.missing is None:
            return
        if recipe.samples.neighbours or len(recipe.predict.rotations_deg) > 1:
            raise RecipeError(
                f"Recipe {recipe.name}: inputs with neighbouring or turned slices are not dropped.",
                found=f"samples.neighbours {recipe.samples.neighbours}, "
                f"predict.rotations_deg {list(recipe.predict.rotations_deg)}",
                do="set samples.neighbours=0 and predict.rotations_deg=[0], or method.missing=null",
            )


class AdversarialSettings(MethodSettings):
    """A critic of patches is trained beside the network, which lowers the recipe's loss and the game.

    Attributes:
        kind: the word by which a recipe asks for it.
        critic: its network.
        weight: of the adversarial term.
        features, style: weights of the feature and style losses on the critic's maps, 0 to leave them out.
        critic_every: batches of the network for each of the critic.
        learning_rate, betas: Adam's, for the critic.
    """

    TRAINED_BY: ClassVar[str] = "mrsynth.train.adversarial:AdversarialMethod"

    kind: Literal["adversarial"]
    critic: NetSettings
    weight: float = Field(ge=0)
    features: float = Field(ge=0)
    style: float = Field(ge=0)
    critic_every: int = Field(default=1, ge=1)
    learning_rate: float = Field(gt=0, le=1e6)
    betas: tuple[Beta, Beta]

    def check(self, recipe: Recipe) -> None:
        """Check that the critic takes the samples' inputs and the image to judge."""
        critic = build_critic(self.critic, recipe, "patches")
        inputs, dimensions = len(recipe.task.inputs), 2 if recipe.samples.patch is None else 3
        if critic.inputs != inputs or critic.dimensions != dimensions:
            raise RecipeError(
                f"Recipe {recipe.name}: the critic does not fit the task.",
                found=f"{critic.inputs + 1} channels, {critic.dimensions}-D",
                expected=f"{inputs} inputs and the image to judge, {dimensions}-D",
                do=f"--set method.critic.settings.inputs={inputs}, and method.critic.settings.mode to the network's",
            )


class ConditionSettings(Settings):
    """What the network is told beside the images: the dose of a case and its field strength (pinetz2023).

    Attributes:
        dose: artificial doses are drawn evenly from here, as fractions of the full one; what lies outside is refused in
            synthesis.
        smoothing: standard deviation of what is added to the real dose that the critic is told.
    """

    dose: tuple[float, float]
    smoothing: float = Field(ge=0)

    @field_validator("dose")
    @classmethod
    def _ordered(cls, dose: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= dose[0] < dose[1] <= 1:
            raise ValueError("expected the least and the largest dose, in [0, 1]")
        return dose


class WganSettings(MethodSettings):
    """The Wasserstein game with gradient penalty, of a network that is told dose and field (pinetz2023, eq. 1).

    Attributes:
        kind: the word by which a recipe asks for it.
        condition: what the network is told.
        critic: its network.
        embedding: of dose and field, one for each network or one for both (Table 3).
        weight, penalty: λ_GAN and λ_GP; λ_C is the weight of the recipe's `loss`.
        content: what that loss compares, the residuals to the native scan (as the paper writes it) or the images.
        critic_steps: batches of the critic for each step of the generator.
        learning_rate, betas: Adam's, for the critic.
    """

    TRAINED_BY: ClassVar[str] = "mrsynth.train.wgan:WganMethod"
    TELLS: ClassVar[tuple[str, ...]] = ("dose", "b0_tesla")

    kind: Literal["wgan"]
    condition: ConditionSettings
    critic: NetSettings
    embedding: Literal["separate", "shared"]
    weight: float = Field(ge=0)
    penalty: float = Field(ge=0)
    content: Literal["residual", "image"] = "residual"
    critic_steps: int = Field(ge=1)
    learning_rate: float = Field(gt=0, le=1e6)
    betas: tuple[Beta, Beta]

    def channels(self, images: int) -> int:
        """Return noise and the images."""
        return 1 + images

    def check(self, recipe: Recipe) -> None:
        """Check inputs, critic, boxes and devices."""
        where, patch, train = f"Recipe {recipe.name}", recipe.samples.patch, recipe.train
        critic = build_critic(self.critic, recipe, "scores")
        if len(recipe.task.inputs) != 2:
            raise RecipeError(
                f"{where}: a low dose is made from the native scan and the one at standard dose.",
                found=", ".join(recipe.task.inputs),
                expected="two inputs, t1 and t1ce",
            )
        if train.stages:
            raise RecipeError(f"{where}: the game has no stages.", do="--set train.stages={}")
        if train.devices != 1 or train.nodes != 1:
            raise RecipeError(
                f"{where}: the game with a gradient penalty was not tried on several devices.",
                found=f"train.devices {train.devices}, train.nodes {train.nodes}",
                expected="1 and 1",
            )
        if patch is not None and min(edge or critic.smallest for edge in patch.size) < critic.smallest:
            raise RecipeError(
                f"{where}: the boxes are too small for the critic.",
                found=f"samples.patch.size {list(patch.size)}",
                expected=f"at least {critic.smallest} voxels along each axis",
            )
        needed = (self.critic_steps - 1) * train.batch_size + 1
        if patch is not None and patch.per_epoch < needed:
            raise RecipeError(
                f"{where}: an epoch has no step of the generator.",
                found=f"samples.patch.per_epoch {patch.per_epoch}, batches of {train.batch_size}",
                expected=f"at least {needed} boxes: {self.critic_steps} batches are one iteration",
            )


class AnyContrastSettings(MethodSettings):
    """One network for every non-empty subset of the contrasts and every other one (recipe anycontrast).

    Attributes:
        kind: the word by which a recipe asks for it.
        contrasts: those that go in and come out, in the order of the network's channels.
        keep: the probability with which each contrast of a sample that is not the target goes in; one at least does.
        mirror: whether heads are mirrored at random.
        crop: voxels of the box that is cut from each batch's slices at random, null for none.
        enhancing, delta: how much more an error weighs where T1ce, the target, lies more than `delta` above T1.
        error: weight of the likelihood of the error, by which its scale is learned.
        weight_decay: AdamW's.
        refit: whether a network that takes another run's weights begins at the rival of its own cases (`nets.starts`).
    """

    TRAINED_BY: ClassVar[str] = "mrsynth.train.anycontrast:AnyContrastMethod"
    MAY_LACK: ClassVar[bool] = True

    kind: Literal["any_contrast"]
    contrasts: tuple[str, ...] = Field(min_length=2, max_length=6)
    keep: float = Field(gt=0, le=1)
    mirror: bool
    crop: tuple[int, int] | None
    enhancing: float = Field(ge=0)
    delta: float = Field(gt=0)
    error: float = Field(ge=0)
    weight_decay: float = Field(ge=0, le=1)
    refit: bool = False

    @property
    def exchangeable(self) -> tuple[str, ...]:
        """All contrasts."""
        return self.contrasts

    def channels(self, images: int) -> int:
        """Return two channels a contrast and slice: the image and its role; the target's are among them."""
        return 2 * len(self.contrasts) * (images // (len(self.contrasts) - 1))

    def check(self, recipe: Recipe) -> None:
        """Check that the task is one of those that are trained, of slices, by the network that is told its role."""
        task = {*recipe.task.inputs, recipe.task.target}
        if task != set(self.contrasts) or recipe.net.name != "anycontrast" or recipe.samples.patch is not None:
            raise RecipeError(
                f"Recipe {recipe.name}: task, network and samples do not fit the way of training any_contrast.",
                found=f"{recipe.translation}, network {recipe.net.name}, samples.patch {recipe.samples.patch}",
                expected=f"{' and '.join(self.contrasts)} in inputs and target, network anycontrast, slices",
            )


METHODS: dict[str, type[MethodSettings]] = {
    "supervised": SupervisedSettings,
    "adversarial": AdversarialSettings,
    "wgan": WganSettings,
    "any_contrast": AnyContrastSettings,
}
"""The table of ways of training: kind → settings."""


def parse_method(data: Any, where: str) -> MethodSettings:
    """Return the section `method` of a recipe.

    Args:
        data: the section as YAML has it.
        where: the recipe, for the message.

    Raises:
        RecipeError: names the nearest kind or key.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
        raise RecipeError(
            f"{where}: the section `method` does not say how the network is trained.",
            found=data,
            expected="method: {kind: …}, the kind one of " + ", ".join(METHODS),
        )
    kind = data["kind"]
    if kind not in METHODS:
        raise RecipeError(
            f"{where}: there is no way of training '{kind}'.",
            expected="one of " + ", ".join(METHODS),
            do=nearest(kind, list(METHODS)),
        )
    return parse(METHODS[kind], data, f"{where}, method")


def build_critic(settings: NetSettings, recipe: Recipe, judges: str) -> Network:
    """Return a critic without its weights.

    Args:
        settings: the critic as the recipe names it.
        recipe: for the message.
        judges: what it must return (`Network.judges`).

    Raises:
        RecipeError: where it cannot be built, or is no critic of this sort.
    """
    critic = sketch(settings.name, **settings.settings)
    if critic.judges != judges:
        raise RecipeError(
            f"Recipe {recipe.name}: the network {settings.name} cannot be its critic.",
            found=f"one that judges {critic.judges or 'nothing'}",
            expected=f"one that judges {judges}: critic_patch returns patches, critic scores",
        )
    return critic
