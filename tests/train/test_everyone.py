"""Cross-validation that leaves one model, and a training on every case."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mrsynth.core.errors import ModelError, RecipeError
from mrsynth.io import PreparedCohort
from mrsynth.io.run import Run, RunRecord, Training
from mrsynth.model import load_contract, load_weights
from mrsynth.nets import Ensemble, build_net
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.train.everyone import as_long_as, train_everyone
from mrsynth.train.folds import train_folds
from tiny import tiny_prepared, tiny_recipe

FEW = ("train.accelerator=cpu", "train.epochs=2")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreparedCohort, Recipe]:
    """Three folds of five patients."""
    folder = tmp_path_factory.mktemp("everyone")
    recipe, prepared = load_recipe(str(tiny_recipe(folder)), FEW), tiny_prepared(folder / "p")
    train_folds(recipe, prepared, folder / "cv", 3)
    return folder, prepared, recipe


def test_the_folds_are_one_model(world: tuple[Path, PreparedCohort, Recipe]) -> None:
    folder, prepared, _ = world
    contract = load_contract(folder / "cv")
    net = load_weights(folder / "cv", contract, build_net(contract.net, **contract.net_settings))
    assert isinstance(net, Ensemble)
    x = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        made = []
        for number in (1, 2, 3):
            one = load_contract(folder / "cv" / f"fold-{number}")
            made.append(load_weights(folder / "cv" / f"fold-{number}", one, build_net(one.net, **one.net_settings))(x))
        torch.testing.assert_close(net(x), torch.stack(made).mean(0))
    assert contract.patients_seen() == set(prepared.patients())
    assert [name.split()[0] for name in contract.training.members] == ["fold-1", "fold-2", "fold-3"]
    assert "mean of 3 networks" in (folder / "cv" / "model" / "card.md").read_text()


def test_every_case_trains_without_validation(world: tuple[Path, PreparedCohort, Recipe]) -> None:
    folder, prepared, recipe = world
    contract = train_everyone(recipe, prepared, folder / "all", folder / "cv")
    assert contract.training.best_val_loss is None
    assert contract.training.n_cases == {"train": 5, "val": 0, "test": 0}
    assert contract.began.steps_from == "cv"
    assert RunRecord.read(Run(folder / "all").record).began.steps_from == "cv"
    assert (
        "without a validation split, for the steps that cv found"
        in Run(folder / "all").folder.joinpath("model", "card.md").read_text()
    )
    folds = [load_contract(folder / "cv" / f"fold-{number}").training for number in (1, 2, 3)]
    steps = sorted((f.best_epoch + 1) * -(-f.samples.train // recipe.train.batch_size) for f in folds)[1]
    taken = contract.training.epochs * -(-contract.training.samples.train // recipe.train.batch_size)
    assert abs(taken - steps) <= -(-contract.training.samples.train // recipe.train.batch_size) / 2 or taken < 10


def fold(best: int, samples: int) -> Training:
    path = {"recipe": "r", "title": "t", "paper": "p", "translation": "a-b", "inputs": ["t1"], "target": "t2"}
    numbers = {"seed": 0, "epochs": 40, "best_epoch": best, "best_val_loss": 0.1, "parameters": 1, "seconds": 1.0}
    rest = {"n_cases": {}, "patients": {}, "device": "d", "commit": "c", "versions": {}}
    return Training.model_validate(
        {**path, **numbers, **rest, "samples": {"kind": "slices", "train": samples, "val": 1}}
    )


def test_the_steps_are_the_folds_and_stages_begin_after_as_many() -> None:
    """Five folds of 300 slices are 500 in all; 38 steps of 8 an epoch become 63."""
    stage = "train.stages={b: {from_epoch: 20, learning_rate: 0.001, loss: {}}}"
    recipe = load_recipe("osman2022", ["train.batch_size=8", stage])
    whole = as_long_as(recipe, [fold(29, 300)] * 5)
    assert whole.train.epochs == round(30 * 38 / 63)
    assert whole.train.stages["b"] is not None
    assert whole.train.stages["b"].from_epoch == round(20 * 38 / 63)
    few = load_recipe("osman2022", ["train.batch_size=8", "train.samples_per_epoch=80"])
    assert as_long_as(few, [fold(29, 300)] * 5).train.epochs == 30


def test_what_are_no_folds_of_this_recipe_are_refused(world: tuple[Path, PreparedCohort, Recipe]) -> None:
    folder, prepared, _ = world
    other = load_recipe(str(folder / "tiny.yaml"), [*FEW, "loss={mae: 1}"])
    with pytest.raises(RecipeError, match="another `loss`"):
        train_everyone(other, prepared, folder / "no", folder / "cv")
    with pytest.raises(ModelError, match="does not hold the runs of all folds"):
        train_everyone(other, prepared, folder / "no", folder / "p")
