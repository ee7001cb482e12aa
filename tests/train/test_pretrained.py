"""A run that takes from other networks: features for its loss, weights for its encoder; and what is shown of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mrsynth.core.errors import ModelError, RecipeError
from mrsynth.core.files import sha256_file
from mrsynth.core.progress import hush
from mrsynth.io import PreparedCohort
from mrsynth.model import load_contract, load_weights
from mrsynth.nets import build_net
from mrsynth.nets.drunet import DRUNet
from mrsynth.recipes.recipe import Recipe, load_recipe
from mrsynth.reproduce.charts import LAST, LOWEST, learned
from mrsynth.train.pretrained import DRAWN_ENCODER, begin_encoder
from mrsynth.train.run import train
from tiny import tiny_prepared, tiny_recipe

FEATURES = "{network: small, layer: conv2_2, weights: trained, training: {steps: 2, batch_size: 2, crop: 16}}"
LOSS = "loss={mse: 0, contextual: {weight: 1, features: %s}}"


def drunet(folder: Path, *overrides: str) -> Recipe:
    net = "net={name: drunet, settings: {depth: 18, inputs: 1, outputs: 1, imagenet: true}}"
    few = ["train.epochs=1", "train.samples_per_epoch=8", "train.stages={}"]
    return load_recipe(str(tiny_recipe(folder)), [net, LOSS % FEATURES, *few, *overrides])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("borrowed")
    torch.manual_seed(1)
    torch.save(DRUNet(18).encoder.state_dict(), folder / "own.pt")
    train(
        drunet(folder, f"net.weights={folder / 'own.pt'}"),
        tiny_prepared(folder / "p"),
        folder / "run",
    )
    return folder / "run"


def test_the_record_says_what_was_taken(run: Path):
    record = json.loads((run / "run.json").read_text())
    found = record["features"]["contextual"]
    (weights,) = (run / "features").glob("*.safetensors")
    assert (found["network"], found["layer"], found["weights"]) == ("small", "conv2_2", "trained")
    assert found["sha256"] == sha256_file(weights)
    assert set(found["accuracy"]) == {"contrast", "change"}
    assert record["encoder"]["sha256"] == sha256_file(run.parent / "own.pt")
    assert load_contract(run).net_settings["imagenet"] is True
    card = (run / "model" / "card.md").read_text()
    assert "own.pt" in card
    assert DRAWN_ENCODER not in card


def test_an_encoder_from_scratch_is_said(capsys: pytest.CaptureFixture[str]):
    hush(False)
    begin_encoder(DRUNet(18), None)
    assert DRAWN_ENCODER in capsys.readouterr().err
    begin_encoder(build_net("unet2d", inputs=1, outputs=1), None)
    assert capsys.readouterr().err == ""


def test_the_encoder_begins_with_the_weights_given(tmp_path: Path):
    """With a learning rate of almost nothing they are there at the end; the decoder has drawn ones."""
    torch.manual_seed(1)
    given = DRUNet(18).encoder.state_dict()
    torch.save(given, tmp_path / "own.pt")
    recipe = drunet(
        tmp_path,
        f"net.weights={tmp_path / 'own.pt'}",
        "train.learning_rate=1.0e-12",
        "loss={mse: 1, contextual: {weight: 0}}",
    )
    train(recipe, tiny_prepared(tmp_path / "p"), tmp_path / "run")
    kept = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(kept["net.encoder.conv1.weight"], given["conv1.weight"])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["features"] == {}
    assert not (tmp_path / "run" / "features").exists()


def test_runs_side_by_side_train_a_feature_network_once(run: Path, monkeypatch: pytest.MonkeyPatch):
    prepared = PreparedCohort.open(run.parent / "p")
    (first,) = (run / "features").glob("*.safetensors")
    (damaged := run.parent / "a" / "features").mkdir(parents=True)  # comes first, and is passed over
    (damaged / first.name).write_bytes(first.read_bytes()[:-4] + b"\0\0\0\1")
    (damaged / first.name).with_suffix(".json").write_bytes(first.with_suffix(".json").read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr("mrsynth.train.feature_network._learn", lambda *_: pytest.fail("it was trained again"))
        train(drunet(run.parent), prepared, run.parent / "beside")
    taken = json.loads((run.parent / "beside" / "run.json").read_text())["features"]["contextual"]
    assert taken["sha256"] == sha256_file(first)
    assert f"* {DRAWN_ENCODER}\n" in (run.parent / "beside" / "model" / "card.md").read_text()
    other = LOSS % FEATURES.replace("steps: 2", "steps: 1")  # another network: trained
    train(drunet(run.parent, other), prepared, run.parent / "other")
    (own,) = (run.parent / "other" / "features").glob("*.safetensors")
    assert own.name != first.name


def test_what_is_not_there_is_said_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    prepared = tiny_prepared(tmp_path / "p")
    vgg = "loss.contextual.features={network: vgg19, layer: conv5_4, weights: cache}"
    for override, message in (
        (vgg, "ImageNet weights of vgg19"),
        ("net.weights=cache", "ImageNet weights of resnet18"),
    ):
        with pytest.raises(ModelError, match=message):
            train(drunet(tmp_path, override), prepared, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()
    with pytest.raises(RecipeError, match="has no encoder"):
        load_recipe(str(tiny_recipe(tmp_path)), ["net.weights=cache"])


def test_figure_9_of_a_run(run: Path):
    cell: Any = SimpleNamespace(run=run, prepared=run.parent / "p")
    found = learned("A", cell, "case-4")
    assert found is not None
    assert found.filters.shape == (64, 7, 7)
    net = DRUNet(18, inputs=1, imagenet=True)
    load_weights(run, load_contract(run), net)
    sds = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    acting = (net.encoder.conv1.weight.detach() / sds).sum(1)
    np.testing.assert_allclose(found.filters, acting, rtol=1e-5, atol=1e-6)
    assert found.lowest.shape == (LOWEST, 1, 1)
    assert found.last.shape == (LAST, 16, 16)
    assert found.output.shape == (32, 32)
    assert 0 < found.output.min() < found.output.max() < 1
    assert learned("A", cell, "another") is None
