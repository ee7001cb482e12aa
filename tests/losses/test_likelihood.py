"""Laws of the negative log-likelihoods: they are those of SciPy's distributions, and say what Kendall & Gal say."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mrsynth.core.errors import RecipeError
from mrsynth.losses import build_loss
from mrsynth.losses.likelihood import LOWEST_LOG_SCALE, gaussian_nll, laplace_nll

BOTH = [(laplace_nll, stats.laplace), (gaussian_nll, stats.norm)]


def scene(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prediction, log scale and target of two slices of 5×6, double precision."""
    draw = torch.Generator().manual_seed(seed)
    prediction, scale, target = (torch.rand(2, 1, 5, 6, generator=draw, dtype=torch.float64) for _ in range(3))
    return prediction, 3 * scale - 2, target


@pytest.mark.parametrize(("loss", "distribution"), BOTH)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_it_is_minus_the_mean_log_density(loss, distribution, seed):
    prediction, scale, target = scene(seed)
    density = distribution.logpdf(target.numpy(), loc=prediction.numpy(), scale=scale.exp().numpy())
    assert loss(prediction, scale, target).item() == pytest.approx(-density.mean())


@pytest.mark.parametrize(("loss", "spread"), [(laplace_nll, lambda e: e.abs().mean()), (gaussian_nll, torch.std)])
def test_the_best_scale_is_that_of_the_errors(loss, spread):
    """One scale for all voxels: the mean absolute error (Laplace), the standard deviation (Gauss)."""
    errors = torch.randn(1, 1, 40, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    errors -= errors.mean()
    log_scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    for _ in range(60):
        value = loss(torch.zeros_like(errors), log_scale.expand_as(errors), errors)
        (slope,) = torch.autograd.grad(value, log_scale)
        log_scale = (log_scale - 0.4 * slope).detach().requires_grad_()
    assert log_scale.exp().item() == pytest.approx(float(spread(errors)), rel=1e-3)


@pytest.mark.parametrize("loss", [laplace_nll, gaussian_nll])
def test_weights_choose_the_voxels_and_none_at_all_is_zero(loss):
    prediction, scale, target = scene()
    mask = (target > 0.5).double()
    inside = mask.bool()
    by_hand = loss(*(x[inside][None, None] for x in (prediction, scale, target)))
    torch.testing.assert_close(loss(prediction, scale, target, mask), by_hand)
    torch.testing.assert_close(loss(prediction, scale, target, 7 * mask), by_hand)
    guess = prediction.clone().requires_grad_()
    nothing = loss(guess, scale, target, 0 * mask)
    nothing.backward()
    assert nothing == 0
    assert (guess.grad == 0).all()


@pytest.mark.parametrize("loss", [laplace_nll, gaussian_nll])
def test_a_perfect_background_is_not_rewarded_without_end(loss):
    zeros = torch.zeros(1, 1, 4, 4)
    low, lower = (torch.full_like(zeros, LOWEST_LOG_SCALE - more) for more in (0, 50))
    assert loss(zeros, lower, zeros) == loss(zeros, low, zeros)
    scale = lower.clone().requires_grad_()
    loss(zeros, scale, zeros).backward()
    assert (scale.grad == 0).all()
    assert math.isfinite(loss(zeros, lower, zeros + 1))


@pytest.mark.parametrize(("name", "loss"), [("laplace_nll", laplace_nll), ("gaussian_nll", gaussian_nll)])
def test_a_recipe_names_it_and_other_losses_see_the_image_alone(name, loss):
    prediction, scale, target = scene()
    both = torch.cat([prediction, scale], dim=1)
    alone = build_loss({name: 1})(both, target, target)
    torch.testing.assert_close(alone, loss(prediction, scale, target))
    with_mae = build_loss({name: 1, "mae": 2})(both, target, target)
    torch.testing.assert_close(with_mae, alone + 2 * (prediction - target).abs().mean())


def test_the_head_is_where_there_is_signal():
    prediction, scale, target = scene()
    inputs, target = torch.zeros(2, 3, 5, 6, dtype=torch.float64), target.clone()
    inputs[:, 2, :3] = 1
    target[:, :, 3:] = 0
    both = torch.cat([prediction, scale], dim=1)
    found = build_loss({"laplace_nll": {"weight": 1, "within": "head"}})(both, target, inputs)
    torch.testing.assert_close(found, laplace_nll(prediction[:, :, :3], scale[:, :, :3], target[:, :, :3]))


def test_wrong_settings_and_networks_are_told():
    _, _, target = scene()
    with pytest.raises(ValueError, match="1 channel"):
        build_loss({"laplace_nll": 1})(target, target, target)
    with pytest.raises(RecipeError, match="within"):
        build_loss({"gaussian_nll": {"weight": 1, "within": "brain"}})
