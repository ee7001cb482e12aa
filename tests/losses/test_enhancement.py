from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsynth.losses import EnhancementMAE, build_loss


def scene(channel: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two samples of 4×5×2 voxels: native 0.3 everywhere, of the first 6 voxels enhance by 0.2, of the second none."""
    inputs = torch.rand(2, 3, 4, 5, 2)
    inputs[:, channel] = 0.3
    target = inputs[:, channel : channel + 1].clone()
    target[0, 0, :3, 0, :] += 0.2
    prediction = target + 0.05
    return prediction, target, inputs


@pytest.mark.parametrize("channel", [0, 2])
def test_values_by_hand(channel: int):
    prediction, target, inputs = scene(channel)
    whole = EnhancementMAE(channel=channel)
    assert whole.mask(target, inputs).sum() == 6
    assert whole(prediction, target, inputs).item() == pytest.approx(0.05 * 6 / 80)
    # A mean inside each sample's mask: the sample without enhancement counts as 0.
    inside = EnhancementMAE(channel=channel, mean="mask")
    assert inside(prediction, target, inputs).item() == pytest.approx(0.05 / 2)


@pytest.mark.parametrize("mean", ["image", "mask"])
def test_an_empty_mask_is_zero_with_gradient_zero(mean: str):
    prediction, target, inputs = scene()
    guess = prediction.clone().requires_grad_()
    value = EnhancementMAE(delta=0.5, mean=mean)(guess, target, inputs)
    value.backward()
    assert value == 0
    assert (guess.grad == 0).all()


@pytest.mark.parametrize("mean", ["image", "mask"])
def test_the_gradient_lies_in_the_mask_alone(mean: str):
    prediction, target, inputs = scene()
    guess = prediction.clone().requires_grad_()
    loss = EnhancementMAE(mean=mean)
    loss(guess, target, inputs).backward()
    assert torch.equal(guess.grad != 0, loss.mask(target, inputs))


def test_a_mask_of_everything_gives_the_mean_absolute_error():
    prediction, target = torch.rand(2, 1, 6, 6), torch.rand(2, 1, 6, 6)
    expected = build_loss({"mae": 1})(prediction, target, target)
    for mean in ("image", "mask"):
        loss = EnhancementMAE(mean=mean)
        torch.testing.assert_close(loss(prediction, target, target - 1), expected)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    low=st.floats(0.001, 0.5),
    more=st.floats(0.001, 0.4),
    empty=st.booleans(),
)
def test_a_larger_delta_never_enlarges_mask_and_loss(seed: int, low: float, more: float, empty: bool):
    draw = torch.Generator().manual_seed(seed)
    prediction, target, inputs = (torch.rand(2, 1, 5, 6, generator=draw) for _ in range(3))
    inputs = inputs + 2 if empty else inputs
    wide, narrow = EnhancementMAE(delta=low), EnhancementMAE(delta=low + more)
    assert (narrow.mask(target, inputs) <= wide.mask(target, inputs)).all()
    assert 0 <= narrow(prediction, target, inputs) <= wide(prediction, target, inputs)


def test_what_the_public_code_leaves_out():
    _, target, inputs = scene()
    target[0, 0, 0, 0, 0] = 0.95  # differs by 0.65
    assert EnhancementMAE().mask(target, inputs).sum() == 6
    assert EnhancementMAE(max_difference=0.6).mask(target, inputs).sum() == 5
    # Three pixels in each of two slices; one is left out above.
    assert EnhancementMAE(max_pixels=3).mask(target, inputs).sum() == 6
    assert EnhancementMAE(max_pixels=2).mask(target, inputs).sum() == 0
    assert EnhancementMAE(max_pixels=2, max_difference=0.6).mask(target, inputs).sum() == 2


def test_a_channel_that_is_not_there():
    prediction, target, inputs = scene()
    with pytest.raises(ValueError, match="channel 3 of 3 inputs"):
        EnhancementMAE(channel=3)(prediction, target, inputs)
