from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mrsynth.losses import build_loss
from mrsynth.losses.pixel import bce
from mrsynth.nets.drunet import sloped_sigmoid


def test_values_by_hand():
    a, b = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 3.0]])
    assert build_loss({"mse": 1.0})(a, b, a).item() == pytest.approx((0.25 + 4) / 2)
    assert build_loss({"mae": 1.0})(a, b, a).item() == pytest.approx(1.25)
    assert build_loss({"mse": 2.0, "mae": 0.5})(a, b, a).item() == pytest.approx(4.25 + 0.625)


def test_zero_at_a_perfect_match_and_gradient_points_down():
    target = torch.rand(2, 1, 8, 8)
    guess = torch.zeros_like(target, requires_grad=True)
    loss = build_loss({"mse": 1.0})
    assert loss(target, target, target) == 0
    loss(guess, target, target).backward()
    assert loss(guess - 0.1 * guess.grad, target, target) < loss(guess, target, target)


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


def gradient_and_value(loss: Callable[[Tensor], Tensor], logits: Tensor) -> tuple[Tensor, Tensor]:
    logits = logits.clone().requires_grad_()
    value = loss(logits)
    return torch.autograd.grad(value, logits)[0] * logits.numel(), value.detach()


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_saturated_pixels_learn_behind_drunets_sigmoid(target: float):
    """float32 has p = 1 for logits above 16.6: the gradient is that with logits all the same, p − t everywhere."""
    logits = torch.cat([torch.linspace(-40, 40, 161), torch.tensor([-200.0, 200])])
    t = torch.full_like(logits, target)
    ours, _ = gradient_and_value(lambda x: bce(sloped_sigmoid(x), t), logits)
    theirs, _ = gradient_and_value(lambda x: nn.functional.binary_cross_entropy_with_logits(x, t), logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    plain, _ = gradient_and_value(lambda x: bce(torch.sigmoid(x), t), logits)
    wrong = ((logits > 17) | (logits < -30)) & (theirs.abs() > 0.2)
    assert wrong.any()
    assert (plain.abs() < 0.2 * theirs.abs())[wrong].all()
    kept = (logits > -27) & (logits < 16)
    torch.testing.assert_close(plain[kept], ours[kept], rtol=0, atol=0)


def test_values_of_saturated_pixels():
    """The joined form's but for wrong pixels whose p is rounded to 1: they count 100."""
    for logit, target, expected in ((-40.0, 1.0, 40.0), (-40.0, 0.0, 0.0), (15.0, 0.0, 15.0), (20.0, 0.0, 100.0)):
        _, value = gradient_and_value(
            lambda x, t=target: bce(sloped_sigmoid(x), torch.tensor([t])), torch.tensor([logit])
        )
        assert value.item() == pytest.approx(expected, rel=0.02, abs=1e-6)


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
