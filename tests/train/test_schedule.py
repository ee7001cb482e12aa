"""The learning rate over steps."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mrsynth.core.errors import RecipeError
from mrsynth.io import PreparedCohort
from mrsynth.recipes.recipe import load_recipe
from mrsynth.recipes.sections import ScheduleSettings
from mrsynth.train.history import read_history
from mrsynth.train.run import train
from mrsynth.train.schedule import Schedule, rate_factor
from tiny import tiny_prepared, tiny_recipe


def factors(steps: int, **settings: Any) -> list[float]:
    return [rate_factor(ScheduleSettings(**settings), step, step, steps) for step in range(steps)]


def test_warm_up_rises_evenly_and_stays() -> None:
    assert factors(6, warmup_steps=4) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_a_cosine_falls_from_one_to_its_end() -> None:
    found = factors(1000, shape="cosine", final=0.1)
    assert found[0] == 1
    assert found[500] == pytest.approx(0.55)
    assert found[-1] == pytest.approx(0.1, abs=1e-4)
    assert all(a >= b for a, b in pairwise(found))


def test_both_meet_where_the_warm_up_ends() -> None:
    found = factors(110, shape="cosine", warmup_steps=10)
    assert max(found) == found[9] == 1
    assert found[60] == pytest.approx(0.5, abs=0.02)


def test_a_later_stage_has_no_warm_up_and_a_fall_of_its_own() -> None:
    settings = ScheduleSettings(shape="cosine", warmup_steps=10)
    assert rate_factor(settings, 100, 0, 50) == 1
    assert rate_factor(settings, 125, 25, 50) == pytest.approx(0.5)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreparedCohort]:
    folder = tmp_path_factory.mktemp("schedule")
    tiny_recipe(folder)
    return folder, tiny_prepared(folder / "p")


MORE = ("train.schedule={shape: cosine, warmup_steps: 3, final: 0.1}", "train.average=0.9", "train.accelerator=cpu")


def test_a_resumed_run_ends_where_one_that_was_never_stopped_does(
    world: tuple[Path, PreparedCohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With schedule, average and augmentation, to the bit; the history says the rate of each epoch's last step."""
    folder, prepared = world
    augment = "samples.augment={gain: 0.1, gamma: 0.1, noise: 0.02, rotate_deg: 5}"
    recipe = load_recipe(str(folder / "tiny.yaml"), [*MORE, augment])
    whole = train(recipe, prepared, folder / "whole")
    rates = [row["lr"] for row in read_history(folder / "whole" / "log" / "history.csv")]
    assert rates[0] > rates[1] > rates[2] > 0
    assert rates[2] < 0.3 * recipe.train.learning_rate
    with monkeypatch.context() as patch:

        def stop(self: Schedule, trainer: Any, *_: Any) -> None:
            if trainer.current_epoch == 2:
                raise RuntimeError("the machine goes down")

        patch.setattr("mrsynth.train.schedule.Schedule.on_train_epoch_start", stop)
        with pytest.raises(RuntimeError, match="goes down"):
            train(recipe, prepared, folder / "parts")
    again = train(recipe, prepared, folder / "parts", resume=True)
    assert again.weights_sha256 == whole.weights_sha256
    other = train(load_recipe(str(folder / "tiny.yaml"), [*MORE]), prepared, folder / "plain")
    assert other.weights_sha256 != whole.weights_sha256


def test_epochs_that_the_rate_follows_cannot_be_changed(world: tuple[Path, PreparedCohort]) -> None:
    folder, prepared = world
    recipe = load_recipe(str(folder / "tiny.yaml"), [*MORE, "train.epochs=1"])
    train(recipe, prepared, folder / "one")
    with pytest.raises(RecipeError, match=r"follows train\.epochs"):
        train(load_recipe(str(folder / "tiny.yaml"), [*MORE, "train.epochs=2"]), prepared, folder / "one", resume=True)


def test_the_average_is_what_is_saved(world: tuple[Path, PreparedCohort]) -> None:
    folder, prepared = world
    recipe = load_recipe(str(folder / "tiny.yaml"), ["train.average=0.9", "train.epochs=1", "train.accelerator=cpu"])
    train(recipe, prepared, folder / "averaged")
    kept = torch.load(folder / "averaged" / "checkpoints" / "best.ckpt", weights_only=True)
    average = kept["callbacks"]["WeightAverage"]["average"]
    raw = {k.removeprefix("net."): v for k, v in kept["state_dict"].items() if k.startswith("net.")}
    saved = load_file(folder / "averaged" / "model" / "weights.safetensors")
    assert all(torch.equal(saved[name], average[name]) for name in saved)
    assert any(not torch.equal(saved[name], raw[name]) for name in saved)
