"""What a machine lacks is a sentence, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mrsynth.core.errors import MrsynthError, RecipeError
from mrsynth.io import PreparedCohort
from mrsynth.recipes.recipe import load_recipe
from mrsynth.train.machine import fast_precision, memory_in_words, settled, trainer
from mrsynth.train.run import train
from tiny import TRAIN, tiny_prepared, tiny_recipe


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreparedCohort]:
    folder = tmp_path_factory.mktemp("machine")
    tiny_recipe(folder)
    return folder, tiny_prepared(folder / "p")


@pytest.mark.parametrize(
    "asked",
    [
        "accelerator=foo",
        "accelerator=tpu",
        "strategy=ddpx",
        "devices=0",
        "devices=-3",
        "accelerator=hpu",
        *([] if torch.cuda.is_available() else ["accelerator=gpu", "accelerator=cuda", "precision=16-mixed"]),
        *([] if torch.backends.mps.is_available() else ["accelerator=mps"]),
    ],
)
def test_what_is_not_there_is_said(world: tuple[Path, PreparedCohort], asked: str) -> None:
    folder, prepared = world
    recipe = load_recipe(str(folder / "tiny.yaml"), [f"train.{asked}"])
    with pytest.raises(RecipeError, match=r"(?s)(cannot train as the recipe asks|needs a GPU).*train\.") as error:
        train(recipe, prepared, folder / "run")
    assert "Traceback" not in str(error.value)
    assert not (folder / "run" / "recipe.yaml").exists()


def test_what_the_machine_is_not_to_blame_for_is_said_as_lightning_says_it(world: tuple[Path, PreparedCohort]) -> None:
    settings = load_recipe(str(world[0] / "tiny.yaml"), ["train.precision=32-true"]).train
    with pytest.raises(TypeError, match="no_such_argument"):
        trainer(settings, no_such_argument=1)
    with pytest.raises(RecipeError, match="cannot train as the recipe asks"):
        trainer(settings.model_copy(update={"accelerator": "foo"}), no_such_argument=1)


@pytest.mark.parametrize(
    "asked", ["betas=[2, 0.9]", "betas=[0.9, 1.0]", "betas=[-1, 0.9]", "batch_size=100000000", "learning_rate=1e300"]
)
def test_settings_beyond_all_sense_are_refused(world: tuple[Path, PreparedCohort], asked: str) -> None:
    with pytest.raises(RecipeError, match=asked.partition("=")[0]):
        load_recipe(str(world[0] / "tiny.yaml"), [f"train.{asked}"])


def test_samples_that_the_network_cannot_take_are_refused(world: tuple[Path, PreparedCohort]) -> None:
    folder, prepared = world
    levels = ["net.settings.widths=[2, 2, 2, 2, 2, 2, 2]", "net.settings.dropout=[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]"]
    with pytest.raises(RecipeError, match=r"(?s)cannot take samples of this size.*32×32.*stride 64"):
        train(load_recipe(str(folder / "tiny.yaml"), levels), prepared, folder / "run")
    assert not (folder / "run" / "recipe.yaml").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        torch.OutOfMemoryError("CUDA out of memory."),
    ],
)
def test_memory_that_runs_out_is_a_sentence(error: Exception) -> None:
    with pytest.raises(MrsynthError, match=r"(?s)Memory ran out.*batch_size=4 \(now 8\)"), memory_in_words(TRAIN):
        raise error
    with pytest.raises(RuntimeError, match=r"^another$"), memory_in_words(TRAIN):
        raise RuntimeError("another")


def test_auto_is_settled_once_and_a_resumed_run_keeps_it(world: tuple[Path, PreparedCohort]) -> None:
    recipe = load_recipe(str(world[0] / "tiny.yaml"), ["train.precision=auto"])
    assert settled(recipe).train.precision == fast_precision("auto")
    for precision in ("32-true", "bf16-mixed"):
        before = load_recipe(str(world[0] / "tiny.yaml"), [f"train.precision={precision}"])
        assert settled(recipe, before).train.precision == precision
        assert settled(before).train.precision == precision
