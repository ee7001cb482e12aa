"""What CONTRIBUTING.md says of adding a network, a loss and a way of training, done once through the tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from mrsynth.core.errors import RecipeError
from mrsynth.losses import build_loss
from mrsynth.losses.pixel import Loss
from mrsynth.losses.registry import LOSSES
from mrsynth.losses.term import FeatureSource, LossTerm
from mrsynth.model import load_contract, load_weights
from mrsynth.nets import Network, build_net
from mrsynth.nets.registry import NETS
from mrsynth.recipes.methods import METHODS
from mrsynth.recipes.recipe import load_recipe
from mrsynth.recipes.schema import MethodSettings, Recipe
from mrsynth.train.method import Method
from mrsynth.train.module import TrainingModule
from mrsynth.train.run import train
from mrsynth.train.supervised import Supervised
from tiny import tiny_prepared, tiny_recipe


class OneLayer(Network):
    """A network: what it needs stands here."""

    first_weights = "he_normal"

    def __init__(self, inputs: int = 1) -> None:
        super().__init__()
        self.inputs = inputs
        self.layer = nn.Conv2d(inputs, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return an image."""
        return self.layer(x)


class Huber(LossTerm):
    """A loss with a setting."""

    delta: float = Field(default=1, gt=0)

    def build(self, inputs: Sequence[str], features: FeatureSource | None) -> Loss:
        """Return the loss."""
        return lambda prediction, target, _: nn.functional.huber_loss(prediction, target, delta=self.delta)


class NoisySettings(MethodSettings):
    """A way of training: what a recipe says of it, and what of the recipe must fit."""

    TRAINED_BY: ClassVar[str] = f"{__name__}:NoisyMethod"

    kind: Literal["noisy"]
    strength: float = Field(ge=0)

    def check(self, recipe: Recipe) -> None:
        """Refuse boxes."""
        if recipe.samples.patch is not None:
            raise RecipeError("noisy takes slices")


class Noisy(Supervised):
    """Supervised, on noisy inputs."""

    strength = 0.0

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Add noise, then train."""
        noise = torch.randn(batch[0].shape, generator=torch.Generator().manual_seed(self.seed_of("noisy", index)))
        return super().training_step((batch[0] + self.strength * noise, batch[1]), index)


class NoisyMethod(Method[NoisySettings]):
    """What trains it."""

    def module(self, features: FeatureSource | None = None) -> TrainingModule:
        """Return network and loss."""
        recipe = self.recipe
        made = Noisy(self.drawn(recipe.net, "weights"), build_loss(recipe.loss, features=features), recipe.train)
        made.strength = self.settings.strength
        return made


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a table."""
    monkeypatch.setitem(NETS, "one_layer", OneLayer)
    monkeypatch.setitem(LOSSES, "huber", Huber)
    monkeypatch.setitem(METHODS, "noisy", NoisySettings)


def test_a_line_in_each_table_is_enough(tables: None, tmp_path: Path) -> None:
    asked = [
        "net={name: one_layer, settings: {inputs: 1}}",
        "loss={mse: 0, huber: {weight: 1, delta: 0.5}}",
        "method={kind: noisy, strength: 0.1}",
        "train.epochs=1",
        "train.accelerator=cpu",
    ]
    recipe, prepared = load_recipe(str(tiny_recipe(tmp_path)), asked), tiny_prepared(tmp_path / "p")
    train(recipe, prepared, tmp_path / "run")
    assert load_recipe(str(tmp_path / "run" / "recipe.yaml")).method == recipe.method
    contract = load_contract(tmp_path / "run")
    net = load_weights(tmp_path / "run", contract, build_net(contract.net, **contract.net_settings))
    assert isinstance(net, OneLayer)
    louder = load_recipe(str(tmp_path / "tiny.yaml"), [*asked[:2], "method={kind: noisy, strength: 1}", *asked[3:]])
    other = train(louder, prepared, tmp_path / "louder")
    assert other.weights_sha256 != contract.weights_sha256
    with pytest.raises(RecipeError, match="another `method`"):
        train(louder, prepared, tmp_path / "run", resume=True)


def test_its_mistakes_are_named_as_all_others(tables: None) -> None:
    for asked, message in (
        ("method={kind: noisy, strenght: 1}", "did you mean 'strength'"),
        ("method={kind: nosy, strength: 1}", "did you mean 'noisy'"),
        ("loss={huber: {weight: 1, delta: -1}}", "loss huber: 'delta'"),
        ("net={name: one_layer, settings: {input: 1}}", "Network one_layer"),
    ):
        with pytest.raises(RecipeError, match=message):
            load_recipe("osman2022", [asked])
