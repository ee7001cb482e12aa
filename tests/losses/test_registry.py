from __future__ import annotations

import pytest
import torch

from mrsynth.core.errors import RecipeError
from mrsynth.losses import EnhancementMAE, SliceSSIM, build_loss
from mrsynth.losses.pixel import mae

PAPER = {"mae": 0.1, "slice_ssim": {"weight": 0.1}, "enhancement_mae": {"weight": 10, "delta": 0.05}}


def batch(channels: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return tuple(torch.rand(2, c, 20, 24, 3, generator=draw) for c in (1, 1, channels))


def test_the_sum_is_that_of_its_terms():
    """chen2022 equation 1, stage 2: λ = (0.1, 0.1, 10)."""
    prediction, target, inputs = batch()
    total = build_loss(PAPER, ["t2", "t1", "adc"])(prediction, target, inputs)
    local = EnhancementMAE(delta=0.05, channel=1)(prediction, target, inputs)
    by_hand = 0.1 * mae(prediction, target) + 0.1 * SliceSSIM()(prediction, target) + 10 * local
    torch.testing.assert_close(total, by_hand)


def test_half_precision_networks_have_the_loss_of_single_precision():
    prediction, target, inputs = batch()
    half = prediction.bfloat16()
    loss = build_loss({**PAPER, "mse": 1}, ["t1", "t2", "adc"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = loss(half.requires_grad_(), target, inputs)
    assert under_autocast.dtype == torch.float32
    assert under_autocast == loss(half.float(), target, inputs)
    under_autocast.backward()
    assert half.grad.dtype == torch.bfloat16
    assert half.grad.isfinite().all()


def test_a_weight_of_zero_leaves_a_term_out():
    tiny = torch.rand(1, 1, 4, 4)  # too small for the windows of slice_ssim
    assert build_loss({"mae": 1, "slice_ssim": 0})(tiny, tiny, tiny) == 0


@pytest.mark.parametrize(
    ("terms", "inputs", "words"),
    [
        ({"msee": 1.0}, ["t1"], "did you mean 'mse'"),
        ({}, ["t1"], "no loss"),
        ({"mae": 0}, ["t1"], "no loss"),
        ({"mae": -1}, ["t1"], "not a number of 0 or more"),
        ({"mae": True}, ["t1"], "not a number of 0 or more"),
        ({"mae": float("nan")}, ["t1"], "not a number of 0 or more"),
        ({"mae": {"weight": 1, "delta": 0.1}}, ["t1"], "no settings"),
        ({"slice_ssim": {"window": "uniform"}}, ["t1"], "its weight"),
        ({"slice_ssim": {"weight": 1, "windw": "uniform"}}, ["t1"], "did you mean 'window'"),
        ({"slice_ssim": {"weight": 1, "window": "uniform", "size": 8}}, ["t1"], "odd"),
        ({"enhancement_mae": {"weight": 1, "delta": 2}}, ["t1"], "delta"),
        ({"enhancement_mae": 1}, ["t2", "flair"], "native T1"),
        ({"enhancement_mae": 1}, [], "native T1"),
    ],
)
def test_mistakes_are_named(terms: dict, inputs: list[str], words: str):
    with pytest.raises(RecipeError, match=words):
        build_loss(terms, inputs)
