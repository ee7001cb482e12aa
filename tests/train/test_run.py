"""mrsynth train on boxes, in stages begun from another run, and with inputs left out: what the run folder then says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from mrsynth.core.errors import ModelError, RecipeError
from mrsynth.io import PreparedCohort
from mrsynth.model import load_contract
from mrsynth.nets import build_net
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.train.history import read_history
from mrsynth.train.method import method_of
from mrsynth.train.patches import PatchSet
from mrsynth.train.run import train
from tiny import tiny_prepared, tiny_recipe

BOXES = (
    "net={name: hrfcn, settings: {inputs: 1, mode: slab, widths: [2, 2, 2], blocks: 1}}",
    "samples.patch={size: [null, null, 3], per_epoch: 9, within: brain}",
    "train.epochs=3",
    "train.batch_size=3",
)
STAGE = "train.stages.second={from_epoch: 2, learning_rate: 0.001, loss: {mse: %s}}"
FLAGS = ("method.missing={drop: 0.5, flags: true}", "net.settings.inputs=2", "net.settings.per_stem=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    tiny_recipe(folder)
    return folder


@pytest.fixture(scope="module")
def prepared(folder: Path) -> PreparedCohort:
    return tiny_prepared(folder / "p")


def recipe_of(folder: Path, *overrides: str) -> Recipe:
    return load_recipe(str(folder / "tiny.yaml"), [*BOXES, *overrides])


def weights(run: Path) -> dict[str, torch.Tensor]:
    kept = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {name: value for name, value in kept.items() if name.startswith("net.")}


def test_a_model_of_boxes_says_so(folder: Path, prepared: PreparedCohort, tmp_path: Path) -> None:
    recipe = recipe_of(folder, *FLAGS, "task.inputs=[t1]")
    contract = train(recipe, prepared, tmp_path / "run")
    assert contract == load_contract(tmp_path / "run")
    assert contract.patch == [None, None, 3]
    assert contract.flags
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["samples"] == {"kind": "boxes", "train": 9, "val": 2}
    assert record["parameters"] == sum(p.numel() for p in build_net(contract.net, **contract.net_settings).parameters())
    losses = [row["train_loss"] for row in read_history(tmp_path / "run" / "log" / "history.csv")]
    assert losses[-1] < losses[0]
    assert "any but one may be missing" in (tmp_path / "run" / "model" / "card.md").read_text()


def test_validation_boxes_are_a_quarter_and_stay_the_same(folder: Path, prepared: PreparedCohort) -> None:
    patch = "samples.patch={size: [8, 8, 2], per_epoch: 40, within: brain}"
    train_set, val_set = method_of(recipe_of(folder, patch)).samples(prepared)
    assert isinstance(train_set, PatchSet)
    assert isinstance(val_set, PatchSet)
    assert (len(train_set), len(val_set)) == (40, 10)
    assert train_set.cases == prepared.cases("train")
    assert val_set.cases == prepared.cases("val")


def test_a_run_begun_from_another_runs_first_stage_equals_one_that_was_trained_whole(
    folder: Path, prepared: PreparedCohort, tmp_path: Path, begun: Path
) -> None:
    """The study's sweeps: a first stage that is trained once, several second ones."""
    other = recipe_of(folder, STAGE % 100)
    train(other, prepared, tmp_path / "whole")
    start = begun / "checkpoints" / "stage-0.ckpt"
    contract = train(other, prepared, tmp_path / "run", start=start)
    whole = load_contract(tmp_path / "whole")
    assert contract.weights_sha256 == whole.weights_sha256 != load_contract(begun).weights_sha256
    a, b = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert all(torch.equal(a[name], b[name]) for name in b)
    assert contract.began.start == "begun/stage-0.ckpt"
    assert contract.training.epochs == whole.training.epochs == 3
    assert {p.name for p in (tmp_path / "run" / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", start.name}
    # Once it is there, the run goes on from where it is, start or not.
    again = train(other, prepared, tmp_path / "run", start=start, resume=True)
    assert again.weights_sha256 == contract.weights_sha256
    assert again.began.start == "begun/stage-0.ckpt"


@pytest.mark.parametrize(
    ("changes", "section"),
    [
        ([STAGE % 1, "train.seed=9"], "train.seed"),
        ([STAGE % 1, "loss.mse=2"], "loss"),
        ([STAGE % 1, "method.missing={drop: 0.1, flags: false}"], "method"),
        ([(STAGE % 1).replace("from_epoch: 2", "from_epoch: 1")], "train.stages"),
        ([], "train.stages"),
    ],
)
def test_a_stage_that_was_trained_otherwise_is_refused(
    folder: Path, prepared: PreparedCohort, tmp_path: Path, begun: Path, changes: list[str], section: str
) -> None:
    recipe = recipe_of(folder, *changes)
    with pytest.raises(ModelError, match=f"another `{section}`"):
        train(recipe, prepared, tmp_path / "run", start=begun / "checkpoints" / "stage-0.ckpt")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def begun(folder: Path, prepared: PreparedCohort) -> Path:
    train(recipe_of(folder, STAGE % 1), prepared, folder / "begun")
    return folder / "begun"


def test_what_is_no_stage_is_refused(folder: Path, prepared: PreparedCohort, tmp_path: Path, begun: Path) -> None:
    recipe = recipe_of(folder, STAGE % 1)
    for start in (begun / "checkpoints" / "last.ckpt", begun / "checkpoints" / "stage-7.ckpt", tmp_path / "nowhere"):
        with pytest.raises(ModelError, match="not the end of a stage"):
            train(recipe, prepared, tmp_path / "run", start=start)
    others = prepared.with_splits({"p0": "test", "p1": "val", "p2": "train", "p3": "train", "p4": "train"})
    with pytest.raises(ModelError, match="other prepared data"):
        train(recipe, others, tmp_path / "run", start=begun / "checkpoints" / "stage-0.ckpt")


@pytest.mark.parametrize(
    ("change", "section"),
    [
        ("method.missing={drop: 0.1, flags: false}", "method"),
        ("train.stages.second.learning_rate=1", "train.stages"),
        ("train.learning_rate=1e-7", "train.learning_rate"),  # the checkpoint's would win, the record tell this one
        ("train.betas=[0.5, 0.9]", "train.betas"),
        ("train.batch_size=2", "train.batch_size"),
    ],
)
def test_a_run_is_not_resumed_with_other_settings(
    folder: Path, prepared: PreparedCohort, tmp_path: Path, begun: Path, change: str, section: str
) -> None:
    shutil.copytree(begun, tmp_path / "run")
    with pytest.raises(RecipeError, match=f"another `{section}`"):
        train(recipe_of(folder, STAGE % 1, change), prepared, tmp_path / "run", resume=True)
