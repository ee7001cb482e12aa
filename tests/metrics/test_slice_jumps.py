"""Laws of the jumps between slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mrsynth.metrics.slice_jumps import mean_step, slice_jump_ratio
from small_cases import ball

SHAPE = (36, 36, 36)
INSIDE = ball(SHAPE, 14)


def truth() -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(0).random(SHAPE), 1.5)


def test_a_ramp_has_its_slope() -> None:
    ramp = np.broadcast_to(0.3 * np.arange(36.0), SHAPE)
    assert mean_step(ramp, INSIDE, 2) == pytest.approx(0.3)
    assert mean_step(ramp, INSIDE, 0) == 0
    apart = np.zeros(SHAPE, bool)
    apart[:, :, ::2] = True
    assert mean_step(ramp, apart, 2) is None


@settings(max_examples=10, deadline=None)
@given(slope=st.floats(0.1, 10), offset=st.floats(-3, 3), sign=st.sampled_from([-1, 1]))
def test_an_affine_change_is_no_jump(slope: float, offset: float, sign: int) -> None:
    image = truth()
    assert slice_jump_ratio(image, image, INSIDE) == 1
    assert slice_jump_ratio(sign * slope * image + offset, image, INSIDE) == pytest.approx(1)


def test_what_is_alike_in_all_directions_is_no_jump() -> None:
    image = truth()
    noisy = image + np.random.default_rng(1).normal(0, 0.2 * image.std(), SHAPE)
    for other in (ndimage.gaussian_filter(image, 1), noisy):
        assert slice_jump_ratio(other, image, INSIDE) == pytest.approx(1, abs=0.05)


def test_slices_that_waver_jump_and_slices_that_are_smeared_do_not() -> None:
    image = truth()
    waver = np.random.default_rng(2).normal(0, 1, 36)
    ratios = [slice_jump_ratio(image + level * image.std() * waver, image, INSIDE) for level in (0, 0.2, 0.5, 1)]
    assert ratios == sorted(ratios)
    assert ratios[-1] > 1.5
    smeared = slice_jump_ratio(ndimage.gaussian_filter1d(image, 1.5, axis=2), image, INSIDE)
    assert smeared is not None
    assert smeared < 0.85


def test_nothing_to_compare() -> None:
    image = truth()
    assert slice_jump_ratio(np.zeros(SHAPE), image, INSIDE) is None
    assert slice_jump_ratio(image, np.broadcast_to(np.random.default_rng(0).random((36, 36, 1)), SHAPE), INSIDE) is None
    assert slice_jump_ratio(image, image, np.zeros(SHAPE, bool)) is None
