"""Adversarial, feature and style losses of the systems of chen2022's Table IV."""

from __future__ import annotations

import math

import pytest
import torch

from mrsynth.losses.games import patch_critic_loss, patch_generator_loss
from mrsynth.losses.perceptual import feature_loss, gram, style_loss


def test_an_undecided_discriminator_costs_log_two():
    zeros = torch.zeros(2, 1, 3, 4)
    assert patch_critic_loss(zeros, zeros).item() == pytest.approx(math.log(2))
    assert patch_generator_loss(zeros).item() == pytest.approx(math.log(2))


def test_each_side_gains_by_moving_the_logits_its_way():
    real, fake = torch.zeros(1, 1, 2, 2, requires_grad=True), torch.zeros(1, 1, 2, 2, requires_grad=True)
    patch_critic_loss(real, fake).backward()
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()
    fake.grad = None
    patch_generator_loss(fake).backward()
    assert (fake.grad < 0).all()
    large = patch_critic_loss(torch.full((1, 1, 1, 1), 1e4), torch.full((1, 1, 1, 1), -1e4))
    assert large == 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert patch_generator_loss(torch.zeros(1, 1, 2, 2, dtype=torch.bfloat16)).dtype == torch.float32


def test_features_by_hand():
    a = [torch.zeros(1, 2, 2, 2), torch.zeros(1, 1, 1, 1)]
    b = [torch.full((1, 2, 2, 2), 0.5), torch.ones(1, 1, 1, 1)]
    assert feature_loss(a, b).item() == pytest.approx((0.5 + 1) / 2)
    # Gram of two constant channels 0.5: each entry 0.25; squared sum 4·0.0625, over 4·2². One channel of 1: 1 over 4.
    assert style_loss(a, b).item() == pytest.approx((0.25 / 16 + 1 / 4) / 2)


def test_style_does_not_see_where_but_features_do():
    draw = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 5, 6, 7, generator=draw)
    shifted = torch.roll(maps, (2, 3), dims=(2, 3))
    torch.testing.assert_close(gram(maps), gram(shifted))
    assert style_loss([maps], [shifted]).item() == pytest.approx(0, abs=1e-12)
    assert feature_loss([maps], [shifted]) > 0.1


def test_style_is_single_precision_under_autocast():
    maps = [torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(k)).bfloat16() for k in range(2)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = style_loss([maps[0]], [maps[1]])
    assert value == style_loss([maps[0].float()], [maps[1].float()])


def test_layers_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="activations"):
        feature_loss([torch.rand(1, 2, 3, 3)], [torch.rand(1, 2, 3, 4)])
    with pytest.raises(ValueError, match="activations"):
        style_loss([], [])
