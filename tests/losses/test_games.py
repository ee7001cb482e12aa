from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mrsynth.losses.games import critic_loss, generator_loss, gradient_penalty, patch_critic_loss, patch_generator_loss
from mrsynth.losses.perceptual import feature_loss, gram, style_loss


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
