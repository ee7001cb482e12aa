"""SliceSSIM against scikit-image, slice by slice and scale by scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.measure import block_reduce
from skimage.metrics import structural_similarity

from mrsynth.losses import SliceSSIM

WINDOWS: dict[str, dict[str, object]] = {
    "gaussian": {"gaussian_weights": True, "use_sample_covariance": False, "sigma": 1.5},
    "uniform": {"win_size": 7},
}


def smooth(*shape: int, seed: int) -> torch.Tensor:
    """Noise with structure at several scales, in [0, 1]."""
    draw = torch.Generator().manual_seed(seed)
    out = torch.zeros(shape, dtype=torch.float64)
    for coarse in (1, 4, 16):
        small = [max(n // coarse, 1) for n in shape[2:4]]
        noise = torch.rand(shape[0], shape[1], *small, generator=draw, dtype=torch.float64)
        full = torch.nn.functional.interpolate(noise, shape[2:4], mode="bilinear")
        out += full if len(shape) == 4 else full[..., None] * torch.linspace(0.5, 1, shape[4], dtype=torch.float64)
    return out / 3


@pytest.mark.parametrize("window", WINDOWS)
def test_slabs_against_scikit_image_slice_by_slice(window: str):
    x, y = smooth(2, 1, 33, 28, 3, seed=0), smooth(2, 1, 33, 28, 3, seed=1)
    expected = np.mean(
        [
            1
            - structural_similarity(x[b, 0, ..., k].numpy(), y[b, 0, ..., k].numpy(), data_range=1.0, **WINDOWS[window])
            for b in range(2)
            for k in range(3)
        ]
    )
    loss = SliceSSIM(window=window)
    assert loss(x, y).item() == pytest.approx(expected, abs=1e-12)
    flat = torch.stack([loss(x[..., k], y[..., k]) for k in range(3)]).mean()
    assert flat.item() == pytest.approx(expected, abs=1e-12)


def test_the_data_range_scales_with_the_images():
    x, y = smooth(1, 1, 20, 20, seed=0), smooth(1, 1, 20, 20, seed=1)
    torch.testing.assert_close(SliceSSIM(data_range=255.0)(255 * x, 255 * y), SliceSSIM()(x, y))


@pytest.mark.parametrize("multiscale", [False, True])
def test_perfect_images_cost_nothing_and_a_step_downhill_helps(multiscale: bool):
    target = smooth(1, 1, 112, 112, seed=0)
    loss = SliceSSIM(window="uniform", multiscale=multiscale)
    assert loss(target, target).item() == pytest.approx(0, abs=1e-12)
    guess = smooth(1, 1, 112, 112, seed=1).requires_grad_()
    before = loss(guess, target)
    before.backward()
    assert loss(guess - 0.1 * guess.grad / guess.grad.abs().max(), target) < before


def test_gradient_against_finite_differences():
    x, y = smooth(1, 1, 11, 12, seed=0).requires_grad_(), smooth(1, 1, 11, 12, seed=1)
    assert torch.autograd.gradcheck(lambda p: SliceSSIM()(p, y), x, fast_mode=True)
    assert torch.autograd.gradcheck(lambda p: SliceSSIM(window="uniform")(p, y), x, fast_mode=True)


@pytest.mark.parametrize("window", WINDOWS)
def test_multiscale_against_scikit_image_scale_by_scale(window: str):
    """With a huge K1 the luminance factor of scikit-image's SSIM is one: contrast and structure remain."""
    x = smooth(1, 1, 181, 192, seed=0)
    y = (x + 0.5 * smooth(1, 1, 181, 192, seed=1)) / 1.5
    expected = 1.0
    a, b = x[0, 0].numpy(), y[0, 0].numpy()
    for exponent in (0.0448, 0.2856, 0.3001, 0.2363, 0.1333):
        luminance = {"K1": 0.01} if exponent == 0.1333 else {"K1": 1e8}
        expected *= structural_similarity(a, b, data_range=1.0, **WINDOWS[window], **luminance) ** exponent
        even = tuple(slice(n // 2 * 2) for n in a.shape)
        a, b = (block_reduce(image[even], (2, 2), np.mean) for image in (a, b))
    assert SliceSSIM(window=window, multiscale=True)(x, y).item() == pytest.approx(1 - expected, abs=1e-9)


def test_opposite_structure_has_a_finite_gradient_in_ms_ssim():
    target = smooth(1, 1, 112, 112, seed=0)
    guess = (1 - target).requires_grad_()
    loss = SliceSSIM(window="uniform", multiscale=True)(guess, target)
    loss.backward()
    assert loss.item() == pytest.approx(1)  # the worst there is, though a power of a negative number is none
    assert guess.grad.isfinite().all()


def test_slices_too_small_for_the_window_are_refused():
    with pytest.raises(ValueError, match="at least 11"):
        SliceSSIM()(torch.rand(1, 1, 10, 30), torch.rand(1, 1, 10, 30))
    with pytest.raises(ValueError, match="at least 176"):
        SliceSSIM(multiscale=True)(torch.rand(1, 1, 175, 180), torch.rand(1, 1, 175, 180))
