from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mrsynth.losses.contextual import Contextual, contextual


def plain(s: torch.Tensor, r: torch.Tensor, h: float = 0.5, epsilon: float = 1e-5) -> torch.Tensor:
    """li2022, equations 3 to 8, line by line with all N×N distances; s (n, f), r (m, f)."""
    mean = r.mean(0)
    a, b = s - mean, r - mean
    d = 1 - (a @ b.T) / (a.norm(dim=1)[:, None] * b.norm(dim=1)[None, :])
    relative = d / (d.min(dim=1, keepdim=True).values + epsilon)
    w = torch.exp((1 - relative) / h)
    cx = w / w.sum(1, keepdim=True)
    return -torch.log(cx.max(dim=0).values.mean())


def maps(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=draw, dtype=torch.float64) for _ in range(2))


@pytest.mark.parametrize("tile", [1, 35 * 7, 2**24])
@pytest.mark.parametrize("close", [0.05, 1.0])
def test_equals_the_plain_form_with_gradients(tile: int, close: float):
    """Tiles of one row, of some rows (the last one shorter) and of all: the same value and gradients to both sides."""
    noise, r = maps(2, 6, 5, 7)
    s = r + close * noise
    a, b = s.clone().requires_grad_(), r.clone().requires_grad_()
    x, y = s.clone().requires_grad_(), r.clone().requires_grad_()
    tiled = contextual(a, b, tile=tile)
    whole = torch.stack([plain(i.flatten(1).T, j.flatten(1).T) for i, j in zip(x, y, strict=True)]).mean()
    torch.testing.assert_close(tiled, whole)
    (3 * tiled).backward()
    (3 * whole).backward()
    torch.testing.assert_close(a.grad, x.grad)
    torch.testing.assert_close(b.grad, y.grad)
    with torch.no_grad():
        torch.testing.assert_close(contextual(a, b, tile=tile), whole.detach())


def test_gradient_against_finite_differences():
    s, r = maps(1, 3, 4, seed=3)
    assert torch.autograd.gradcheck(lambda x: contextual(x, r, tile=8), s.requires_grad_())


def test_by_hand():
    """Two orthogonal target directions about a mean of 0, one synthetic point: distances 0 and 2."""
    r = torch.tensor([[1.0, -1.0]], dtype=torch.float64)[None]
    s = torch.tensor([[2.0]], dtype=torch.float64)[None]
    # d = (0, 2): relative (0, 2e5), w = (e², 0), CX row = (1, 0), CX = 1/2
    assert contextual(s, r).item() == pytest.approx(torch.log(torch.tensor(2.0)).item())


def test_a_perfect_match_in_any_order_costs_nothing():
    """Places do not count: that is what makes the loss fit for images that do not lie exactly on one another."""
    _, r = maps(1, 8, 6, 6)
    moved = r.flatten(2)[..., torch.randperm(36, generator=torch.Generator().manual_seed(1))].reshape(r.shape)
    assert contextual(r, r).item() == pytest.approx(0, abs=1e-9)
    assert contextual(moved, r).item() == pytest.approx(0, abs=1e-9)
    noise, _ = maps(1, 8, 6, 6, seed=5)
    values = [contextual(r + level * noise, r).item() for level in (0.01, 0.1, 1.0)]
    assert values == sorted(values)


def test_equal_points_share_the_similarity():
    """Of a target that is constant in k of n points one is found for all k: CX = (n − k + 1) / n, also for itself."""
    _, r = maps(1, 8, 6, 6)
    for k in (1, 6, 18):
        masked = r.clone().flatten(2)
        masked[..., :k] = 0.4
        value = contextual(masked.reshape(r.shape), masked.reshape(r.shape)).item()
        assert value == pytest.approx(-math.log((36 - k + 1) / 36), abs=1e-6)


def test_brightness_of_all_features_does_not_count():
    s, r = maps(1, 4, 5, 5)
    mean = r.mean((2, 3), keepdim=True)
    torch.testing.assert_close(contextual(mean + 3 * (s - mean), r), contextual(s, r))


def test_other_numbers_of_points():
    s, r = maps(1, 4, 5, 6)
    crop = s[..., :3]
    torch.testing.assert_close(contextual(crop, r, tile=40), plain(crop[0].flatten(1).T, r[0].flatten(1).T))


def test_constant_features_stay_finite():
    r = torch.full((1, 4, 3, 3), 0.3)
    s = r.clone().requires_grad_()
    loss = contextual(s, r)
    loss.backward()
    assert loss.isfinite()
    assert s.grad.isfinite().all()


def test_loss_of_images_through_a_feature_network():
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, stride=2)).requires_grad_(
        False
    )
    loss = Contextual(features)
    assert set(dict(loss.named_parameters())) == {f"features.{n}" for n, _ in features.named_parameters()}
    prediction, target = torch.rand(2, 1, 17, 12, requires_grad=True), torch.rand(2, 1, 17, 12, requires_grad=True)
    value = loss(prediction, target)
    value.backward()
    assert prediction.grad.abs().sum() > 0
    assert target.grad is None
    s, r = features(prediction), features(target)
    expected = torch.stack([plain(i.flatten(1).T, j.flatten(1).T) for i, j in zip(s, r, strict=True)]).mean()
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


def test_exact_under_autocast():
    s, r = (m.float() for m in maps(1, 6, 5, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = contextual(s, r)
    assert inside == contextual(s, r)
    assert contextual(s.bfloat16(), r.bfloat16()).dtype == torch.float32
