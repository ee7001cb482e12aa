from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mrsynth.losses.games import critic_loss, generator_loss, gradient_penalty


def test_signs():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([0.5, 0.5])
    assert critic_loss(real, fake) == -1.5  # lower when the critic tells them apart
    assert generator_loss(fake) == -0.5


def test_penalty_of_a_linear_critic_by_hand():
    """f(y, c) = 3·y₀ + 4·c₀ has the joint gradient norm 5 everywhere: penalty 16; of y alone 3: penalty 4."""

    def critic(y: Tensor, c: Tensor) -> Tensor:
        return 3 * y[:, 0] + 4 * c[:, 0]

    real, fake, alpha = torch.rand(2, 5, 7), torch.rand(2, 5, 7), torch.rand(5)
    assert gradient_penalty(critic, list(real), list(fake), alpha).item() == pytest.approx(16, rel=1e-5)
    alone = gradient_penalty(lambda y: critic(y, real[1]), [real[0]], [fake[0]], alpha)
    assert alone.item() == pytest.approx(4, rel=1e-5)


def test_penalty_and_its_gradient_against_autograd_by_hand():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)).double()
    real, fake = torch.rand(2, 3, 1, 2, 4, dtype=torch.float64)
    alpha = torch.tensor([0.0, 0.25, 1.0])
    single = nn.Sequential(*critic).float()
    penalty = gradient_penalty(single, [real], [fake], alpha)
    penalty.backward()
    ours = [p.grad.clone() for p in single.parameters() if p.grad is not None]
    single.zero_grad()
    total = torch.zeros(())
    for r, f, a in zip(real.float(), fake.float(), alpha, strict=True):
        point = (a * f + (1 - a) * r)[None].requires_grad_()
        (slope,) = torch.autograd.grad(single(point).squeeze(), point, create_graph=True)
        total = total + (slope.norm() - 1) ** 2 / 3
    torch.testing.assert_close(penalty, total)
    total.backward()
    for mine, theirs in zip(ours, [p.grad for p in single.parameters() if p.grad is not None], strict=True):
        torch.testing.assert_close(mine, theirs)


def test_the_interpolation_is_the_same_for_all_arguments():
    seen: list[Tensor] = []

    def critic(y: Tensor, c: Tensor) -> Tensor:
        seen.extend((y, c))
        return y.sum(1) + c.sum(1)

    alpha = torch.tensor([0.0, 0.5, 1.0])
    zero, one = [torch.zeros(3, 4), torch.zeros(3, 2)], [torch.ones(3, 4), torch.ones(3, 2)]
    gradient_penalty(critic, zero, one, alpha)
    assert seen[0][:, 0].tolist() == seen[1][:, 0].tolist() == [0.0, 0.5, 1.0]


def test_a_flat_critic_has_penalty_one_and_a_finite_gradient():
    weight = torch.zeros(4, requires_grad=True)
    penalty = gradient_penalty(lambda y: y @ weight, [torch.rand(3, 4)], [torch.rand(3, 4)], torch.rand(3))
    penalty.backward()
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    assert weight.grad.isfinite().all()


def test_single_precision_under_autocast():
    """The critic itself runs in float32 inside the penalty, on arguments that come in half precision."""
    torch.manual_seed(0)
    net = nn.Linear(2**14, 1, bias=False)
    nn.init.constant_(net.weight, 1e-4)
    expected = (1e-4 * math.sqrt(2**14) - 1) ** 2
    kinds = []

    def critic(y: Tensor) -> Tensor:
        score = net(y).squeeze(1)
        kinds.append(score.dtype)
        return score

    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = torch.rand(2, 2**14).bfloat16()
        penalty = gradient_penalty(critic, [half], [half], torch.rand(2))
    assert kinds == [torch.float32]
    assert penalty.item() == pytest.approx(expected, rel=1e-4)


def test_no_gradient_flows_into_the_generator():
    fake = torch.rand(2, 3, requires_grad=True)
    gradient_penalty(lambda y: (y**2).sum(1), [torch.rand(2, 3)], [fake], torch.rand(2))
    assert fake.grad is None
