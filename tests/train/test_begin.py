"""Where a training begins: with another run's weights, or where it was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mrsynth.core.errors import ModelError, OutputError, RecipeError
from mrsynth.io import PreparedCohort
from mrsynth.io.run import Began, Run, RunRecord
from mrsynth.recipes.recipe import load_recipe
from mrsynth.train.begin import require_own_run
from mrsynth.train.history import read_history
from mrsynth.train.run import train
from tiny import tiny_prepared, tiny_recipe

CPU = "train.accelerator=cpu"


@pytest.mark.parametrize("name", ["recipe.yaml", "run.json", "baselines.npz", "checkpoints/epoch=99.ckpt", "model/x"])
def test_what_no_training_left_is_neither_written_over_nor_deleted(tmp_path: Path, name: str):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match="would be overwritten"):
        require_own_run(Run(tmp_path), resume=False)
    assert (tmp_path / name).read_text() == "mine"


def test_a_run_that_was_begun_may_be_begun_again(tmp_path: Path):
    began = Began(data_fingerprint="f", started="s", start=None, weights_from=None, steps_from=None)
    RunRecord(began=began).write(tmp_path / "run.json")
    for name in ("recipe.yaml", "checkpoints/last.ckpt", "checkpoints/stage-1.ckpt", "log/history.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    require_own_run(Run(tmp_path), resume=False)
    (tmp_path / "checkpoints" / "weeks.ckpt").touch()
    with pytest.raises(OutputError, match="folder with other files"):
        require_own_run(Run(tmp_path), resume=False)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "features").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=r"is a link|other files"):
        require_own_run(Run(tmp_path), resume=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreparedCohort]:
    """A recipe, a prepared cohort, and a run of three epochs."""
    folder = tmp_path_factory.mktemp("begin")
    tiny_recipe(folder)
    prepared = tiny_prepared(folder / "p")
    train(load_recipe(str(folder / "tiny.yaml"), [CPU]), prepared, folder / "run")
    return folder, prepared


def test_a_training_begins_with_another_runs_weights(world: tuple[Path, PreparedCohort]) -> None:
    """At a rate of nearly nothing they are there at the end."""
    folder, prepared = world
    recipe = load_recipe(str(folder / "tiny.yaml"), [CPU, "train.epochs=1", "train.learning_rate=1e-12"])
    contract = train(recipe, prepared, folder / "tuned", weights_from=folder / "run")
    first, second = (load_file(folder / run / "model" / "weights.safetensors") for run in ("run", "tuned"))
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-9)
    said = RunRecord.read(folder / "tuned" / "run.json").began.weights_from
    assert said is not None
    assert said.startswith("run (")
    assert contract.began.weights_from == said
    assert f"Began with the weights of {said}" in (folder / "tuned" / "model" / "card.md").read_text()


def test_the_weights_of_another_network_are_refused(world: tuple[Path, PreparedCohort]) -> None:
    folder, prepared = world
    recipe = load_recipe(str(folder / "tiny.yaml"), [CPU, "net.settings.widths=[4, 4]"])
    with pytest.raises(ModelError, match=r"(?s)another network.*widths.*8.*recipe.yaml"):
        train(recipe, prepared, folder / "other", weights_from=folder / "run")
    with pytest.raises(ModelError, match="holds no trained model"):
        train(recipe, prepared, folder / "other", weights_from=folder / "p")
    assert not (folder / "other" / "recipe.yaml").exists()


def test_a_run_that_has_gone_further_is_left_as_it_is(world: tuple[Path, PreparedCohort]) -> None:
    folder, prepared = world
    kept = {name: (folder / "run" / name).read_bytes() for name in ("recipe.yaml", "run.json")}
    with pytest.raises(RecipeError, match=r"(?s)3 epochs done.*train\.epochs=3"):
        train(load_recipe(str(folder / "tiny.yaml"), [CPU, "train.epochs=2"]), prepared, folder / "run", resume=True)
    for name, content in kept.items():
        assert (folder / "run" / name).read_bytes() == content


@pytest.mark.parametrize("text", ["epoch,stage,train_loss\n0,0,abc\n", "a,b\n1,2\n", "epoch,stage\n1\n", 'epoch\n"'])
def test_a_damaged_history_is_told(tmp_path: Path, text: str):
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(ModelError, match="is damaged"):
        read_history(tmp_path / "history.csv")
