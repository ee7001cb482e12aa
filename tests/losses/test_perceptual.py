from __future__ import annotations

import pytest
import torch
from torch import nn

from mrsynth.core.errors import RecipeError
from mrsynth.losses import Contextual, build_loss
from mrsynth.losses.perceptual import Perceptual
from mrsynth.losses.pixel import mae
from mrsynth.losses.term import FeatureSettings

FEATURES = {"network": "small", "layer": "conv2_2", "weights": "trained"}


def images(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=draw), torch.rand(shape, generator=draw)


def edges() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU()).requires_grad_(False)


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_it_is_the_distance_of_the_features(norm: str):
    prediction, target = images(2, 1, 12, 10)
    net = edges()
    difference = net(prediction) - net(target)
    expected = difference.abs().mean() if norm == "l1" else difference.square().mean()
    prediction.requires_grad_()
    target.requires_grad_()
    value = Perceptual(net, norm)(prediction, target)
    torch.testing.assert_close(value, expected)
    assert Perceptual(net, norm)(target, target) == 0
    value.backward()
    assert prediction.grad.abs().sum() > 0
    assert target.grad is None


def test_a_recipe_names_the_network_once_for_each_term():
    asked: list[FeatureSettings] = []
    net = edges()

    def source(settings: FeatureSettings) -> nn.Module:
        asked.append(settings)
        return net

    terms = {
        "mae": 1,
        "perceptual": {"weight": 0.1, "norm": "l2", "features": FEATURES},
        "contextual": {"weight": 2, "bandwidth": 0.3, "features": {**FEATURES, "training": {"steps": 5}}},
    }
    prediction, target = images(2, 1, 12, 10)
    total = build_loss(terms, ["t1"], source)(prediction, target, prediction)
    by_hand = (
        mae(prediction, target)
        + 0.1 * Perceptual(net, "l2")(prediction, target)
        + 2 * Contextual(net, bandwidth=0.3)(prediction, target)
    )
    torch.testing.assert_close(total, by_hand)
    assert [s.training.steps for s in asked] == [600, 5]


def test_without_networks_settings_are_checked_and_nothing_is_computed():
    loss = build_loss({"perceptual": {"weight": 1, "features": FEATURES}})
    with pytest.raises(RecipeError, match="has no feature network"):
        loss(*images(1, 1, 12, 12), torch.zeros(1))
    assert build_loss({"mae": 1, "contextual": {"weight": 0, "features": FEATURES}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": "vgg11"}, "network"),
        ({"layer": "block3"}, "layer"),
        ({"weights": "cache"}, "no public weights"),
        ({"weights": "download"}, "no public weights"),
        ({"network": "vgg16"}, "too large to be trained"),
        ({"wieghts": "x"}, "did you mean 'weights'"),
        ({"training": {"step": 3}}, "did you mean 'steps'"),
    ],
)
def test_mistakes_are_named(change: dict, words: str):
    with pytest.raises(RecipeError, match=words):
        build_loss({"contextual": {"weight": 1, "features": {**FEATURES, **change}}})


def test_a_network_must_be_named():
    with pytest.raises(RecipeError, match="features"):
        build_loss({"contextual": 1})


def test_half_precision_features_are_compared_in_single():
    prediction, target = images(1, 1, 12, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Perceptual(edges())(prediction, target).dtype == torch.float32
