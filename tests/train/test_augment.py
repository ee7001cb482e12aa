"""A law for each thing that is drawn."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mrsynth.recipes.sections import AugmentSettings
from mrsynth.train.augment import Augmentation, bias_field, rotation

B = 64


def augmentation(inputs: tuple[str, ...] = ("t1", "t1ce", "flair"), target: str = "t2", **far: Any) -> Augmentation:
    return Augmentation(AugmentSettings(**far), inputs, target, 1, 0.0, 1.0)


def images(channels: int = 3, size: tuple[int, ...] = (16, 12)) -> tuple[Tensor, Tensor]:
    """Brains of values around a half in a background of 0."""
    random = torch.Generator().manual_seed(0)
    x = 0.3 + 0.4 * torch.rand((B, channels + 1, *size), generator=random)
    x[..., :2] = 0
    return x[:, :-1], x[:, -1:]


def test_nothing_asked_for_changes_nothing() -> None:
    inputs, target = images()
    found, true = augmentation()(inputs, target, 1)
    torch.testing.assert_close(found, inputs)
    torch.testing.assert_close(true, target)


@pytest.mark.parametrize(
    "far",
    [{"gain": 0.3}, {"gamma": 0.3}, {"bias": 0.3}, {"noise": 0.1}, {"resolution": 2}, {"rotate_deg": 9}, {"zoom": 0.1}],
)
@pytest.mark.parametrize("size", [(16, 12), (8, 10, 6)])
def test_a_seed_decides_all_and_the_background_stays(far: dict[str, float], size: tuple[int, ...]) -> None:
    inputs, target = images(3, size)
    augment = augmentation(**far)
    first, again, other = (augment(inputs, target, seed) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], inputs)
    if "rotate_deg" not in far and "zoom" not in far:
        assert not first[0][inputs == 0].any()
        assert torch.equal(first[1], target)


def test_gain_is_one_factor_within_bounds_and_the_same_for_contrasts_on_one_scale() -> None:
    inputs, target = images()
    found, _ = augmentation(gain=0.2)(inputs, target, 3)
    ratio = (found / inputs)[..., 5, 5]
    torch.testing.assert_close(found[..., 2:] / inputs[..., 2:], ratio[..., None, None].expand(B, 3, 16, 10))
    assert ratio.log().abs().max() <= 0.2
    assert ratio.log().mean().abs() < 3 * 0.2 / math.sqrt(3 * B)
    torch.testing.assert_close(ratio[:, 0], ratio[:, 1])  # T1 and T1ce
    assert (ratio[:, 0] - ratio[:, 2]).abs().max() > 0.05


def test_a_target_on_an_inputs_scale_goes_with_it() -> None:
    inputs, _ = images(1)
    for names, goes in ((("t1",), True), (("t2",), False)):
        found, true = augmentation(names, "t1ce", gain=0.3, gamma=0.1, bias=0.2)(inputs, inputs, 3)
        assert torch.allclose(found, true) == goes
        assert torch.equal(true, inputs) != goes


def test_gamma_is_a_power() -> None:
    inputs, target = images(1)
    found, _ = augmentation(("t1",), gamma=0.4)(inputs, target, 3)
    power = found[..., 2:].log() / inputs[..., 2:].log()
    torch.testing.assert_close(power, power[..., :1, :1].expand_as(power))
    assert power.log().abs().max() <= 0.4 + 1e-5


def test_bias_is_smooth_positive_and_of_second_order() -> None:
    coefficients = torch.tensor([[0.2, -0.1, 0.3, 0.05, 0.1]])
    field = bias_field(coefficients, (21, 31))[0, 0]
    assert field[10, 15] == pytest.approx(1)
    assert field[20, 30] == pytest.approx(math.exp(0.2 - 0.1 + 0.3 + 0.05 + 0.1), rel=1e-5)
    assert field.log().diff(n=3, dim=0).abs().max() < 1e-5  # the third differences of a parabola


def test_noise_has_the_deviation_that_was_drawn() -> None:
    inputs, target = images(3, (32, 32))
    augment = augmentation(noise=0.1)
    draw = augment.draw(B, 2, 5)
    added = (augment.apply(inputs, target, draw)[0] - inputs)[..., 2:]
    torch.testing.assert_close(added.std((2, 3)), draw.noise, rtol=0.15, atol=1e-4)
    assert 0 <= draw.noise.min() <= draw.noise.max() <= 0.1


def test_resolution_keeps_the_mean_and_takes_the_detail() -> None:
    x = torch.rand((B, 1, 24, 24), generator=torch.Generator().manual_seed(0)) + 0.5
    augment = augmentation(("t1",), resolution=3)
    draw = augment.draw(B, 2, 1)
    found, _ = augment.apply(x, x, draw)
    torch.testing.assert_close(found.mean((2, 3)), x.mean((2, 3)), rtol=0.03, atol=0)
    detail = found.std((1, 2, 3)) / x.std((1, 2, 3))
    assert torch.corrcoef(torch.stack([detail, draw.resolution[:, 0]]))[0, 1] < -0.5
    assert detail.max() < 1.05


@pytest.mark.parametrize(("rotate_deg", "zoom"), [(20, 0), (0, 0.2), (20, 0.2)])
@pytest.mark.parametrize("size", [(32, 24), (20, 24, 16)])
def test_geometry_moves_inputs_and_target_alike(rotate_deg: float, zoom: float, size: tuple[int, ...]) -> None:
    blob = torch.rand((4, 1, *size), generator=torch.Generator().manual_seed(0))
    found, true = augmentation(("t1",), rotate_deg=rotate_deg, zoom=zoom)(blob, blob, 2)
    torch.testing.assert_close(found, true)
    assert (found - blob).abs().mean() > 0.01


def test_a_spot_goes_where_the_rotation_says_by_as_much_as_the_zoom() -> None:
    """On an oblong plane, so that units of voxels and of half images differ."""
    size = torch.tensor([41, 61])
    middle, spot = (size - 1) / 2, torch.tensor([8.0, -12.0])
    axes = [torch.arange(n) - m for n, m in zip(size.tolist(), middle.tolist(), strict=True)]
    x, y = torch.meshgrid(*axes, indexing="ij")
    image = torch.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / 8)[None, None]
    augment = augmentation(("t1",), rotate_deg=25, zoom=0.2)
    draw = augment.draw(1, 2, 4)
    found, _ = augment.apply(image, image, draw)
    weight = found[0, 0] / found.sum()
    place = torch.stack([(weight * x).sum(), (weight * y).sum()])
    assert place.norm() == pytest.approx(float(draw.zoom * spot.norm()), rel=0.02)
    cosine = (place @ spot) / place.norm() / spot.norm()
    assert math.acos(float(cosine)) == pytest.approx(abs(float(draw.angle)), abs=0.01)


def test_rotations_keep_lengths() -> None:
    for angles in (torch.rand(5, 1), torch.rand(5, 3)):
        turn = rotation(angles)
        torch.testing.assert_close(turn @ turn.mT, torch.eye(turn.shape[1]).expand_as(turn))
        torch.testing.assert_close(torch.linalg.det(turn), torch.ones(5))


def test_neighbouring_slices_of_a_contrast_are_changed_alike() -> None:
    inputs, target = images(6)
    augment = Augmentation(AugmentSettings(gain=0.3, resolution=2), ("t1", "t2"), "flair", 3, 0.0, 1.0)
    draw = augment.draw(B, 2, 1)
    found, _ = Augmentation(AugmentSettings(gain=0.3), ("t1", "t2"), "flair", 3, 0.0, 1.0).apply(inputs, target, draw)
    ratio = (found / inputs)[..., 5, 5]
    torch.testing.assert_close(ratio[:, :3], draw.gain[:, :1].expand(B, 3))
    torch.testing.assert_close(ratio[:, 3:], draw.gain[:, 1:].expand(B, 3))


def test_a_range_that_does_not_begin_at_zero_is_kept() -> None:
    inputs, target = images(1)
    low = Augmentation(AugmentSettings(gain=0.3), ("t1",), "t2", 1, -1.0, 1.0)
    found, true = low(2 * inputs - 1, 2 * target - 1, 3)
    expected, _ = augmentation(("t1",), gain=0.3)(inputs, target, 3)
    torch.testing.assert_close(found, 2 * expected - 1)
    torch.testing.assert_close(true, 2 * target - 1)
