from __future__ import annotations

import pytest
import torch
from torch import nn

from mrsynth.losses import build_loss
from mrsynth.losses.entropy import bce


def test_behind_a_sigmoid_it_is_the_entropy_of_the_logits():
    """Value and gradient as li2022 has them, sigmoid and entropy in one."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.linspace(-12, 12, 60).reshape(1, 1, 6, 10).requires_grad_()
    target = torch.rand(1, 1, 6, 10, generator=draw)
    value = bce(torch.sigmoid(logits), target)
    (ours,) = torch.autograd.grad(value, logits)
    together = nn.functional.binary_cross_entropy_with_logits(logits, target)
    (theirs,) = torch.autograd.grad(together, logits)
    torch.testing.assert_close(value, together, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_the_target_itself_is_the_best_prediction():
    target = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    entropy = -(target * target.log() + (1 - target) * (1 - target).log()).mean()
    torch.testing.assert_close(bce(target, target), entropy)
    for other in (target * 0.9, (target + 0.05).clamp(max=1), torch.full_like(target, 0.5)):
        assert bce(other, target) > entropy


def test_saturated_predictions_stay_finite():
    logits = torch.tensor([-200.0, -20, 20, 200]).reshape(1, 1, 2, 2).requires_grad_()
    value = bce(torch.sigmoid(logits), torch.tensor([1.0, 0.5, 0.5, 0]).reshape(1, 1, 2, 2))
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


def test_as_a_recipe_names_it_also_in_half_precision():
    prediction, target = torch.full((1, 1, 4, 4), 0.25).bfloat16(), torch.rand(1, 1, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = build_loss({"bce": 2})(prediction, target, target)
    torch.testing.assert_close(value, 2 * bce(prediction.float(), target))


def test_images_outside_of_0_to_1_are_refused():
    inside = torch.rand(1, 1, 4, 4)
    with pytest.raises(ValueError, match=r"prediction reaches from -?\d.* to 1.5"):
        bce(inside.clone().index_fill(3, torch.tensor([0]), 1.5), inside)
    with pytest.raises(ValueError, match="target"):
        bce(inside, inside - 1)
