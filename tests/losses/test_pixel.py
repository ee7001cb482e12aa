from __future__ import annotations

import pytest
import torch

from mrsynth.losses import build_loss


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
