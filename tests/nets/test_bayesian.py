"""The U-Net that says how sure it is: the same every time, the mean of its passes, surer of nothing than they are."""

from __future__ import annotations

import pytest
import torch

from mrsynth.core.errors import RecipeError
from mrsynth.nets import build_net
from mrsynth.nets.bayesian import BayesianUNet

SMALL = {"inputs": 2, "widths": [4, 8], "convolutions": 1}


def net(**settings: object) -> BayesianUNet:
    torch.manual_seed(0)
    found = build_net("bayesian_unet", **{**SMALL, **settings})
    assert isinstance(found, BayesianUNet)
    return found


def test_a_prediction_is_the_same_every_time_and_a_training_pass_is_not():
    one = net(dropout=0.5)
    x = torch.rand(1, 2, 8, 8, 8)
    assert not torch.equal(one(x), one(x))
    with torch.no_grad():
        assert torch.equal(one.eval()(x), one(x))
    assert one(x).shape == (1, 2, 8, 8, 8)


def test_without_dropout_all_passes_are_one():
    one, several = net(dropout=0.0, samples=1).eval(), net(dropout=0.0, samples=4).eval()
    x = torch.rand(1, 2, 8, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(one(x), several(x))


def test_the_scale_is_that_of_the_mixture_of_the_passes():
    """Kendall & Gal 2017, equation 9: variance within and between the passes add up."""
    mixed = net(dropout=0.5, samples=6).eval()
    x = torch.rand(1, 2, 8, 8, 8)
    passes = []
    with torch.no_grad():
        for way in range(6):
            mixed.way = way
            passes.append(super(BayesianUNet, mixed).forward(x))
        found = mixed(x)
    images = torch.stack([one[:, 0] for one in passes])
    variances = torch.stack([(2 * one[:, 1]).exp() for one in passes])
    torch.testing.assert_close(found[:, 0], images.mean(0))
    torch.testing.assert_close((2 * found[:, 1]).exp(), variances.mean(0) + images.var(0, correction=0))
    assert (images[0] != images[1]).any()


def test_weights_alone_are_stored():
    """The channels that a pass leaves out follow from a seed: a model of other samples takes the same weights."""
    few, many = net(samples=2), net(samples=5)
    assert list(few.state_dict()) == list(many.state_dict())
    assert not [name for name in few.state_dict() if "kept" in name]


@pytest.mark.parametrize("wrong", [{"dropout": 1.0}, {"samples": 0}])
def test_a_setting_out_of_bounds_is_told(wrong: dict[str, float]):
    with pytest.raises(RecipeError, match="expected a dropout"):
        net(**wrong)
