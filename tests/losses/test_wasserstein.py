from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from mrsynth.losses.wasserstein import SOLVERS, exact_w1, gaussian_w2


def pairs(seed: int, count: int = 6, size: int = 27) -> tuple[torch.Tensor, torch.Tensor]:
    draw = np.random.default_rng(seed)
    return torch.from_numpy(draw.normal(size=(count, size))), torch.from_numpy(draw.normal(0.3, 2, (count, size)))


def test_exact_equals_scipy():
    x, y = pairs(0)
    expected = [wasserstein_distance(a, b) for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    np.testing.assert_allclose(exact_w1(x, y).numpy(), expected, rtol=1e-12)


def test_exact_equals_pot_in_single_precision():
    ot = pytest.importorskip("ot")
    x, y = (v.float() for v in pairs(1, 200, 64))
    expected = ot.wasserstein_1d(x.T.contiguous(), y.T.contiguous())
    torch.testing.assert_close(exact_w1(x, y), expected, rtol=1e-5, atol=0)
    plan = [ot.emd2_1d(a, b, metric="euclidean") for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    np.testing.assert_allclose(exact_w1(x, y).numpy(), plan, rtol=1e-5)


def test_masked_equals_cropped():
    """The mask cuts the same voxels out of both: the distance is that of what is left."""
    x, y = pairs(2)
    inside = torch.zeros_like(x, dtype=torch.bool)
    inside[:, 3:19] = True
    torch.testing.assert_close(exact_w1(x, y, inside), exact_w1(x[:, 3:19], y[:, 3:19]), rtol=1e-6, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 20), st.integers(1, 19))
def test_any_mask_and_any_values(seed: int, size: int, kept: int):
    draw = np.random.default_rng(seed)
    x, y = (torch.from_numpy(draw.integers(-3, 4, (1, size)).astype(float)) for _ in range(2))
    inside = torch.from_numpy(draw.permutation(size)[None] < kept)
    expected = wasserstein_distance(x[inside].numpy(), y[inside].numpy())
    assert exact_w1(x, y, inside).item() == pytest.approx(expected, abs=1e-12)


def test_gaussian_is_the_difference_of_moments():
    x, y = pairs(3)
    expected = (x.mean(1) - y.mean(1)) ** 2 + (x.std(1, correction=0) - y.std(1, correction=0)) ** 2
    torch.testing.assert_close(gaussian_w2(x, y), expected)
    inside = torch.arange(27).expand_as(x) < 9
    torch.testing.assert_close(gaussian_w2(x, y, inside), gaussian_w2(x[:, :9], y[:, :9]))


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_against_finite_differences(name: str, masked: bool):
    x, y = pairs(6, 3, 8)
    inside = torch.arange(8).expand_as(x) % 4 != 1 if masked else None
    a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
    SOLVERS[name](a, b, inside).sum().backward()
    step = 1e-5
    for which, gradient in ((0, a.grad), (1, b.grad)):
        for voxel in range(8):
            shift = torch.zeros_like(x)
            shift[:, voxel] = step
            up, down = (
                SOLVERS[name](x + s * shift, y, inside) if which == 0 else SOLVERS[name](x, y + s * shift, inside)
                for s in (1, -1)
            )
            torch.testing.assert_close((up - down) / (2 * step), gradient[:, voxel], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SOLVERS)
def test_constant_patches(name: str):
    """Equal constants cost nothing, unequal ones their difference; every gradient is finite."""
    x = torch.full((2, 8), 0.5, requires_grad=True)
    y = torch.tensor([0.5, 0.75])[:, None].expand(2, 8)
    distance = SOLVERS[name](x, y)
    distance.sum().backward()
    assert distance[0] == 0
    assert distance[1].item() == pytest.approx(0.0625 if name == "gaussian" else 0.25, rel=1e-5)
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", SOLVERS)
def test_nothing_inside_costs_nothing(name: str):
    x = torch.rand(2, 8, requires_grad=True)
    distance = SOLVERS[name](x, torch.rand(2, 8), torch.zeros(2, 8, dtype=torch.bool))
    distance.sum().backward()
    assert (distance == 0).all()
    assert (x.grad == 0).all()
