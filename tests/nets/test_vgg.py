from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from mrsynth.core.errors import ModelError
from mrsynth.nets.vgg import IMAGENET_MEAN, IMAGENET_SD, VGG, layer_names
from mrsynth.nets.weights import CACHED, load_vgg


def small(layer: str = "relu4_2") -> VGG:
    torch.manual_seed(0)
    return VGG("small", layer)


def test_layers_have_torchvisions_numbers():
    """Places of Simonyan & Zisserman's layers in torchvision's `features`: relu3_3 of VGG-16, conv5_4 of VGG-19."""
    assert layer_names("vgg16").index("relu3_3") == 15
    assert layer_names("vgg19").index("conv5_4") == 34
    assert len(layer_names("vgg16")) == 31
    assert len(layer_names("vgg19")) == 37
    with torch.device("meta"):
        names = list(VGG("vgg16", "relu3_3").state_dict())
    assert names == [f"features.{k}.{what}" for k in (0, 2, 5, 7, 10, 12, 14) for what in ("weight", "bias")]


@pytest.mark.parametrize(("network", "layer"), [("vgg16", "relu3_3"), ("vgg19", "conv5_4")])
def test_equals_torchvision(network: str, layer: str):
    """Runs where a torchvision that fits this torch is installed."""
    models = pytest.importorskip("torchvision.models", exc_type=ImportError)
    theirs = getattr(models, network)(weights=None).eval().features
    net = VGG(network, layer)
    number = layer_names(network).index(layer)
    net.features.load_state_dict(theirs[: number + 1].state_dict())
    x = torch.rand(1, 1, 32, 48)
    mean, sd = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_SD))
    with torch.no_grad():
        torch.testing.assert_close(net(x), theirs[: number + 1]((x.repeat(1, 3, 1, 1) - mean) / sd))


def test_channels_are_equal_and_normalised():
    """One grey value through a first convolution that passes each colour on."""
    net = VGG("vgg16", "conv1_1")
    net.features[0].weight.zero_()
    net.features[0].bias.zero_()
    for colour in range(3):
        net.features[0].weight[colour, colour, 1, 1] = 1
    maps = net(torch.full((1, 1, 4, 4), 0.5))
    expected = [(0.5 - m) / s for m, s in zip(IMAGENET_MEAN, IMAGENET_SD, strict=True)]
    torch.testing.assert_close(maps[0, :3, 0, 0], torch.tensor(expected))


def test_volumes_are_their_slices():
    net, volume = small(), torch.rand(2, 1, 24, 32, 3)
    maps = net(volume)
    assert maps.shape == (6, 128, 3, 4)
    torch.testing.assert_close(maps[4], net(volume[1, ..., 1][None])[0])


def test_frozen_but_transparent():
    net, x = small("conv2_1"), torch.rand(1, 1, 16, 16, requires_grad=True)
    net(x).square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in net.parameters())


def test_what_does_not_exist_is_named():
    with pytest.raises(ValueError, match="no feature network 'vgg11'"):
        VGG("vgg11", "conv1_1")
    with pytest.raises(ValueError, match="vgg16 has no layer 'conv3_4'"):
        VGG("vgg16", "conv3_4")
    with pytest.raises(ValueError, match="at least 8"):
        small()(torch.rand(1, 1, 7, 32))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_from_a_file(tmp_path: Path, suffix: str):
    """A file of the whole network, classifier and all, as torchvision's."""
    net = small()
    state = {**net.state_dict(), "classifier.0.weight": torch.zeros(2, 2)}
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    x = torch.rand(1, 1, 16, 16)
    torch.testing.assert_close(load_vgg("small", "relu4_2", str(path))(x), net(x))
    torch.testing.assert_close(load_vgg("small", "conv2_1", str(path))(x), net.features[:6](x))
    with pytest.raises(ModelError, match="do not fit vgg16"):
        load_vgg("vgg16", "conv1_1", str(path))


def test_weights_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="downloads nothing") as caught:
        load_vgg("vgg16", "relu3_3", "cache")
    assert CACHED["vgg16"] in str(caught.value)
    assert "weights: trained" in str(caught.value)
    with pytest.raises(ModelError, match="no public weights"):
        load_vgg("small", "relu1_1", "cache")
    path = tmp_path / "hub" / "checkpoints" / CACHED["vgg16"]
    path.parent.mkdir(parents=True)
    torch.save(VGG("vgg16", "conv1_1").state_dict(), path)
    with pytest.raises(ModelError, match="does not belong to its name"):
        load_vgg("vgg16", "conv1_1", "cache")


def test_a_date_at_the_end_of_a_name_is_no_digest(tmp_path: Path):
    """Digits of the SHA-256 end torchvision's own names, not those of others."""
    path = tmp_path / "small-20240115.pth"
    torch.save(small().state_dict(), path)
    load_vgg("small", "relu4_2", str(path))
    path.rename(own := tmp_path / CACHED["vgg16"])  # wherever it lies
    with pytest.raises(ModelError, match="does not belong to its name"):
        load_vgg("small", "relu4_2", str(own))


def test_weights_are_downloaded_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """By torchvision, into PyTorch's cache, once; a stand-in, whose file has no digest in its name."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("mrsynth.nets.weights.CACHED", {**CACHED, "vgg16": "vgg16.pth"})
    path, fetched = tmp_path / "hub" / "checkpoints" / "vgg16.pth", []

    def fetch(progress: bool, check_hash: bool):
        assert check_hash
        fetched.append(path)
        path.parent.mkdir(parents=True)
        torch.save(VGG("vgg16", "conv1_1").state_dict(), path)

    weights = SimpleNamespace(IMAGENET1K_V1=SimpleNamespace(get_state_dict=fetch))
    models = SimpleNamespace(get_model_weights=lambda name: {"vgg16": weights}[name])
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ModelError, match=r"cannot be downloaded(.|\n)*torchvision, installed(.|\n)*weights: trained"):
        load_vgg("vgg16", "conv1_1", "download")
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    for _ in range(2):
        load_vgg("vgg16", "conv1_1", "download")
    assert fetched == [path]
    with pytest.raises(ModelError, match="no public weights"):
        load_vgg("small", "relu1_1", "download")


def test_a_file_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="cannot be read"):
        load_vgg("small", "conv1_1", str(tmp_path / "none.pth"))
    (tmp_path / "w.pth").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        load_vgg("small", "conv1_1", str(tmp_path / "w.pth"))
