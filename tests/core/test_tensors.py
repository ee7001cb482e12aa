"""Laws of the shared tensor functions; tests/reference holds them against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsynth.core.tensors import Window, local_moments, masked_mean, ssim_map, window_radius

WINDOWS: tuple[Window, ...] = ("uniform", "gaussian")


def images(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("space", [(13, 17), (9, 12, 10)])
def test_identical_images_have_similarity_one_everywhere(window: Window, space: tuple[int, ...]) -> None:
    x = images(0, 2, 3, *space)
    assert torch.allclose(ssim_map(x, x, data_range=1.0, window=window), torch.ones_like(x), atol=1e-12)


@pytest.mark.parametrize("window", WINDOWS)
def test_samples_and_channels_do_not_mix(window: Window) -> None:
    x, y = images(1, 2, 2, 9, 11), images(2, 2, 2, 9, 11)
    whole = ssim_map(x, y, data_range=1.0, window=window)
    alone = ssim_map(x[1:, :1], y[1:, :1], data_range=1.0, window=window)
    assert torch.allclose(whole[1:, :1], alone, atol=1e-12)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_crop_with_a_margin_of_one_radius_has_the_values_of_the_whole(window: Window) -> None:
    x, y = images(3, 1, 1, 30, 31, 32), images(4, 1, 1, 30, 31, 32)
    r = window_radius(window)
    box = (..., slice(12 - r, 18 + r), slice(13 - r, 19 + r), slice(14 - r, 20 + r))
    inner = (..., slice(r, r + 6), slice(r, r + 6), slice(r, r + 6))
    whole = ssim_map(x, y, data_range=1.0, window=window)[..., 12:18, 13:19, 14:20]
    assert torch.allclose(ssim_map(x[box], y[box], data_range=1.0, window=window)[inner], whole, atol=1e-12)


def test_a_volume_thinner_than_the_window_is_mirrored() -> None:
    x, y = images(5, 1, 1, 12, 12, 2), images(6, 1, 1, 12, 12, 2)
    mirrored = [torch.cat([image, image.flip(-1)] * 4, dim=-1) for image in (x, y)]
    whole = ssim_map(mirrored[0], mirrored[1], data_range=1.0)
    assert torch.allclose(ssim_map(x, y, data_range=1.0), whole[..., 8:10], atol=1e-12)


def test_moments_follow_an_affine_change() -> None:
    x, y = images(7, 1, 1, 9, 9, 9), images(8, 1, 1, 9, 9, 9)
    before, after = local_moments(x, y), local_moments(2 * x - 3, y)
    assert torch.allclose(after.mean_x, 2 * before.mean_x - 3)
    assert torch.allclose(after.var_x, 4 * before.var_x)
    assert torch.allclose(after.cov, 2 * before.cov)


@pytest.mark.parametrize("window", WINDOWS)
def test_gradient_is_the_numerical_one(window: Window) -> None:
    x, y = images(9, 1, 1, 6, 5).requires_grad_(), images(10, 1, 1, 6, 5)
    assert torch.autograd.gradcheck(lambda t: ssim_map(t, y, data_range=1.0, window=window), (x,))


def test_single_precision_is_near_double() -> None:
    x, y = images(11, 1, 1, 20, 20, 20), images(12, 1, 1, 20, 20, 20)
    single = ssim_map(x.float(), y.float(), data_range=1.0)
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), ssim_map(x, y, data_range=1.0), atol=1e-5)


def test_wrong_input_is_refused() -> None:
    x = images(13, 1, 1, 8, 8)
    with pytest.raises((ValueError, TypeError)):  # TypeError where the annotations are checked
        ssim_map(x, x[..., :7], data_range=1.0)
    with pytest.raises(ValueError, match="odd size"):
        ssim_map(x, x, data_range=1.0, size=6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.05, 1.0))
def test_masked_mean_is_the_mean_of_what_is_inside(seed: int, share: float) -> None:
    draw = np.random.default_rng(seed)
    values, mask = draw.normal(size=(2, 1, 5, 6)), draw.random((2, 1, 5, 6)) < share
    mask[:, 0, 0, 0] = True
    found = masked_mean(torch.from_numpy(values), torch.from_numpy(mask))
    assert np.allclose(found, [v[m].mean() for v, m in zip(values, mask, strict=True)])


def test_masked_mean_of_an_empty_mask_is_zero_with_zero_gradient() -> None:
    values = images(14, 2, 3, 4, 4).requires_grad_()
    mask = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    mask[1] = True
    mean = masked_mean(values, mask)
    mean.sum().backward()
    mean = mean.detach()
    assert mean[0] == 0
    assert mean[1] == pytest.approx(float(values[1].detach().mean()))
    assert values.grad is not None
    assert float(values.grad[0].abs().max()) == 0
