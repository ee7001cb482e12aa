from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mrsynth.core.errors import ModelError, RecipeError
from mrsynth.core.progress import hush
from mrsynth.core.seeds import generator
from mrsynth.losses import build_loss
from mrsynth.losses.term import FeatureSettings, FeatureTraining
from mrsynth.train.batches import SliceSet
from mrsynth.train.feature_network import feature_source, load_features, train_features
from mrsynth.train.feature_task import CHANGES, cut_pieces, draw_pieces, piece
from tiny import tiny_prepared

QUICK = FeatureTraining(steps=120, batch_size=16, crop=24)
GAIN = QUICK.gain


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory):
    return tiny_prepared(tmp_path_factory.mktemp("features") / "p")


def test_pieces_follow_from_their_draws(prepared) -> None:
    slices = SliceSet(prepared, "train", (["t1"], "t2"), 0.1, 1)
    draws = draw_pieces(generator(1, "x"), 200, len(slices), 2)
    assert {d.contrast for d in draws} == {0, 1}
    assert {d.turns for d in draws} == {0, 1, 2, 3}
    assert {d.change for d in draws} == {0, 1, 2}
    images, classes = cut_pieces(slices, draws, 16, GAIN)
    again, _ = cut_pieces(slices, draws, 16, GAIN)
    assert torch.equal(images, again)
    assert images.shape == (200, 1, 16, 16)
    assert classes[:, 1].tolist() == [d.change for d in draws]
    assert (images.flatten(1).abs().amax(1) > 0.05).all()


def test_a_piece_is_a_turned_brightened_part_of_its_slice() -> None:
    image = np.arange(1, 401, dtype=np.float32).reshape(20, 20) / 400
    (plain,) = draw_pieces(generator(2, "x"), 1, 1, 1)
    plain = replace(plain, change=CHANGES.index("none"), turns=0, gain=0.5)
    cut = piece(image, plain, 8, GAIN)
    assert np.isin(cut.round(6), image.round(6)).all()
    np.testing.assert_allclose(piece(image, replace(plain, turns=1), 8, GAIN), np.rot90(cut))
    np.testing.assert_allclose(piece(image, replace(plain, gain=0), 8, GAIN), 0.7 * cut, rtol=1e-6)
    np.testing.assert_array_equal(piece(image, replace(plain, gain=0), 8, (1, 1)), cut)  # brightness is left
    blurred, noisy = (piece(image, replace(plain, change=CHANGES.index(c)), 8, GAIN) for c in ("blur", "noise"))
    assert blurred.std() < cut.std()
    assert 0.01 < (noisy - cut).std() < 0.15
    assert piece(image, plain, 32, GAIN).shape == (32, 32)
    assert not piece(np.zeros((20, 20), np.float32), plain, 8, GAIN).any()


def test_training_answers_its_questions_and_is_kept(prepared, tmp_path: Path, capsys) -> None:
    hush(False)
    record = train_features(prepared, "train", ["t1", "t2"], QUICK, tmp_path / "a")
    assert record.accuracy["change"] > 1.5 * record.chance["change"]
    assert record.slices == len(SliceSet(prepared, "train", (["t1"], "t2"), 0.1, 1))
    assert "t1, t2: 120 steps" in " ".join(capsys.readouterr().err.split())
    assert train_features(prepared, "train", ["t1", "t2"], QUICK, tmp_path / "a") == record
    assert capsys.readouterr().err == ""
    x = torch.rand(1, 1, 16, 16)
    whole, part = (load_features(tmp_path / "a" / record.weights, layer) for layer in ("relu4_2", "conv2_2"))
    torch.testing.assert_close(whole.features[:8](x), part(x))
    assert not any(p.requires_grad for p in whole.parameters())


def test_the_same_seed_gives_the_same_network_to_the_bit(prepared, tmp_path: Path) -> None:
    digests = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)  # does not count
        settings = QUICK.model_copy(update={"steps": 2, "seed": seed})
        digests.append(train_features(prepared, "train", ["t1", "t2"], settings, tmp_path / str(number)).weights_sha256)
    assert digests[0] == digests[1] != digests[2]


def test_damage_is_named(prepared, tmp_path: Path) -> None:
    quick = QUICK.model_copy(update={"steps": 1})
    path = tmp_path / train_features(prepared, "train", ["t1"], quick, tmp_path).weights
    data = path.read_bytes()
    path.write_bytes(data[:-4] + b"\0\0\0\1")
    with pytest.raises(ModelError, match="not the file that its record describes"):
        load_features(path, "relu4_2")
    path.with_suffix(".json").write_text(json.dumps({"network": "small"}))
    with pytest.raises(ModelError, match="not the record of a feature network"):
        load_features(path, "relu4_2")


def test_the_source_of_a_recipes_losses(prepared, tmp_path: Path) -> None:
    source = feature_source(prepared, ["t1", "t2"], tmp_path / "features")
    features = {"network": "small", "layer": "relu2_2", "weights": "trained", "training": {"steps": 2, "crop": 16}}
    terms = {"perceptual": {"weight": 1, "features": features}, "contextual": {"weight": 1, "features": features}}
    loss = build_loss(terms, ["t1"], source)
    assert len(list((tmp_path / "features").glob("*.safetensors"))) == 1  # both terms look through one network
    prediction = torch.rand(1, 1, 16, 16, 2, requires_grad=True)
    value = loss(prediction, torch.rand(1, 1, 16, 16, 2), prediction)
    value.backward()
    assert prediction.grad.abs().sum() > 0
    with pytest.raises(RecipeError, match="small has no layer 'conv5_1'"):
        source(FeatureSettings(network="small", layer="conv5_1", weights="trained", training=FeatureTraining(steps=1)))
    with pytest.raises(ModelError, match="cannot be read"):
        source(FeatureSettings(network="vgg16", layer="relu3_3", weights=str(tmp_path / "none.pth")))


def test_in_units_the_maps_of_a_network_of_any_scale_are_alike(prepared, tmp_path: Path) -> None:
    """A first layer ten times as strong makes all that follows ten times as strong (ReLU, no bias at first)."""
    quick = QUICK.model_copy(update={"steps": 1})
    record = train_features(prepared, "train", ["t1", "t2"], quick, tmp_path)
    x, losses = torch.rand(1, 1, 24, 24), {}
    for strength in (1.0, 10.0):
        net = load_features(tmp_path / record.weights, "relu2_2")
        for name, value in net.state_dict().items():
            value.mul_(0 if name.endswith("bias") else strength if name == "features.0.weight" else 1)
        save_file(net.state_dict(), tmp_path / f"{strength}.safetensors")
        for unit in (False, True):
            settings = FeatureSettings(
                network="small", layer="relu2_2", weights=str(tmp_path / f"{strength}.safetensors"), unit=unit
            )
            losses[strength, unit] = float(feature_source(prepared, ["t1", "t2"], tmp_path)(settings)(x).mean())
    assert losses[10.0, False] == pytest.approx(10 * losses[1.0, False], rel=1e-4)
    assert losses[10.0, True] == pytest.approx(losses[1.0, True], rel=1e-4)
    assert 0.1 < losses[1.0, True] < 10
