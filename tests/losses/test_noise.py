from __future__ import annotations

import pytest
import torch
from scipy.stats import wasserstein_distance

from mrsynth.core.errors import RecipeError
from mrsynth.core.seeds import generator
from mrsynth.core.settings import parse
from mrsynth.losses.noise import PatchWasserstein, at_scale, patches


def volumes(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(shape, dtype=torch.float64), 0.2 + 1.5 * torch.randn(shape, dtype=torch.float64)


def test_sum_over_patches_by_hand():
    """Every 4³ block of the volume, one call of SciPy each: sum over patches, mean over the batch."""
    x, y = volumes(2, 1, 8, 8, 4)
    total = sum(
        wasserstein_distance(*(v[b, 0, i : i + 4, j : j + 4].flatten().numpy() for v in (x, y)))
        for b in (0, 1)
        for i in (0, 4)
        for j in (0, 4)
    )
    assert PatchWasserstein()(x, y).item() == pytest.approx(total / 2)
    assert PatchWasserstein(reduction="mean")(x, y).item() == pytest.approx(total / 8)


def test_an_offset_is_a_shift_of_both_images():
    x, y = volumes(1, 1, 8, 12, 8)
    loss = PatchWasserstein()
    moved = loss(torch.roll(x, (-1, -2, 0), (2, 3, 4)), torch.roll(y, (-1, -2, 0), (2, 3, 4)))
    torch.testing.assert_close(loss(x, y, offsets=[(1, 2, 0)]), moved)
    assert loss(x, y, offsets=[(1, 2, 0)]) != loss(x, y)
    torch.testing.assert_close(loss(x, y, offsets=[(4, 8, 4)]), loss(x, y))  # whole patches


def test_sizes_that_no_patch_divides_wrap_around():
    line = torch.arange(6.0)[None, None, :, None]
    rows = patches(line.expand(1, 1, 6, 4), 4, (1, 0))
    assert rows.shape == (2, 16)
    assert rows[0].reshape(4, 4)[:, 0].tolist() == [1, 2, 3, 4]
    assert rows[1].reshape(4, 4)[:, 0].tolist() == [5, 0, 1, 2]
    assert patches(torch.rand(1, 2, 3, 3, 1), 4, (2, 0, 1)).shape == (2, 64)


def test_places_inside_a_patch_do_not_count():
    """What the loss is for: other noise of the same strength is cheaper than none; l1 says the opposite."""
    torch.manual_seed(1)
    truth, other = torch.randn(2, 1, 1, 32, 32, 32)
    smooth = torch.zeros_like(truth)
    loss = PatchWasserstein(reduction="mean")
    assert loss(other, truth) < 0.4 * loss(smooth, truth)
    assert (other - truth).abs().mean() > (smooth - truth).abs().mean()
    shuffled = truth.reshape(1, 1, 8, 4, 8, 4, 8, 4).flip(3, 5, 7).reshape(truth.shape)
    assert loss(shuffled, truth) == 0


def test_scales_are_added_and_rounded_up():
    x, y = volumes(2, 1, 18, 16, 12)
    loss = PatchWasserstein()
    heads = [at_scale(x, k) for k in range(4)]
    assert [tuple(h.shape[2:]) for h in heads] == [(18, 16, 12), (9, 8, 6), (5, 4, 3), (3, 2, 2)]
    offsets = loss.draw_offsets(generator(0, "offsets"), scales=4)
    alone = sum(loss(heads[k], at_scale(y, k), offsets=[offsets[k]]) for k in range(4))
    torch.testing.assert_close(loss(heads, y, offsets=offsets), alone)
    torch.testing.assert_close(heads[2][0, 0, 4, 0, 0], x[0, 0, 16:18, :4, :4].mean())


def test_offsets_follow_the_seed():
    loss = PatchWasserstein()
    first = loss.draw_offsets(generator(3, "np", 7), scales=200)
    assert first == loss.draw_offsets(generator(3, "np", 7), scales=200)
    assert first != loss.draw_offsets(generator(4, "np", 7), scales=200)
    assert {start for place in first for start in place} == {0, 1, 2}


@pytest.mark.parametrize("solver", ["exact", "gaussian"])
def test_full_mask_changes_nothing_and_outside_does_not_count(solver: str):
    x, y = volumes(2, 1, 8, 8, 8)
    for reduction in ("sum", "mean"):
        loss = PatchWasserstein(solver=solver, reduction=reduction)
        torch.testing.assert_close(loss(x, y, mask=torch.ones(x.shape, dtype=torch.bool)), loss(x, y))
    half = torch.zeros(x.shape, dtype=torch.bool)
    half[:, :, :4] = True
    torch.testing.assert_close(loss(x, y, mask=half), loss(x[:, :, :4], y[:, :, :4]))
    nothing = torch.where(half, x, torch.nan)
    torch.testing.assert_close(loss(nothing, y, mask=half), loss(x, y, mask=half))
    x.requires_grad_()
    loss(x, y, mask=half).backward()
    assert x.grad[:, :, 4:].abs().max() == 0
    assert (x.grad[:, :, :4] != 0).any()


def test_a_perfect_match_and_an_empty_mask_cost_nothing():
    x, y = volumes(1, 1, 8, 8, 8)
    assert PatchWasserstein()(x, x) == 0
    assert PatchWasserstein(reduction="mean")(x, y, mask=torch.zeros(x.shape, dtype=torch.bool)) == 0


def test_images_in_the_plane_cost_what_all_patches_are_off_at_every_scale():
    """A constant c costs c in every patch of 4×4: 2·3 patches of 2 channels, at half the size 1·2."""
    x, _ = volumes(3, 2, 8, 12)
    loss = PatchWasserstein()([x + 0.5, at_scale(x, 1) + 0.5], x)
    assert loss.item() == pytest.approx(0.5 * 2 * (2 * 3 + 1 * 2))


def test_exact_under_autocast():
    x, y = volumes(1, 1, 8, 8, 8)
    x, y = x.float(), y.float()
    loss = PatchWasserstein()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(x, y)
    assert inside == loss(x, y)
    assert inside.dtype == torch.float32
    assert loss(x.bfloat16(), y).dtype == torch.float32


def test_wrong_settings_and_shapes_are_refused():
    for wrong in ({"solver": "exakt"}, {"reduction": "total"}, {"patch": 0}):
        with pytest.raises(RecipeError, match=next(iter(wrong))):
            parse(PatchWasserstein, wrong, "loss noise")
    x, y = volumes(1, 1, 8, 8, 8)
    with pytest.raises(ValueError, match="target at its scale"):
        PatchWasserstein()([x, x], y)
    with pytest.raises(ValueError, match="one offset a scale"):
        PatchWasserstein()(x, y, offsets=[])
