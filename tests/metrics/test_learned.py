"""Curves and maps whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest

from mrsynth.metrics.learned import detail, filter_texture, late_fall, oscillation, sparsity


def test_a_straight_curve_does_not_oscillate_and_jumps_count_by_their_size():
    line = np.linspace(2.0, 1.0, 20)
    jumps = 0.1 * (-1.0) ** np.arange(20)
    assert oscillation(line) == pytest.approx(0, abs=1e-12)
    assert oscillation(line + jumps) == pytest.approx(0.4 / np.median(line + jumps))
    assert oscillation(10 * (line + jumps)) == pytest.approx(oscillation(line + jumps))
    assert oscillation(line[:2]) is None


def test_the_fall_that_comes_late():
    assert late_fall(np.linspace(1, 0, 101)) == pytest.approx(0.4)
    flat = np.concatenate([np.linspace(1, 0.5, 60), np.full(40, 0.5)])
    assert late_fall(flat) == pytest.approx(0)
    assert late_fall(flat[::-1]) is None  # it never fell
    assert late_fall(flat[:4]) is None


def test_filters_of_low_and_high_frequency():
    x, y = np.mgrid[:7, :7] / 7
    smooth, fine = np.cos(2 * np.pi * x), np.cos(2 * np.pi * 3 * x)
    assert filter_texture(np.stack([smooth])) == pytest.approx(0, abs=1e-12)
    assert filter_texture(np.stack([fine, np.cos(2 * np.pi * 3 * y)])) == pytest.approx(1)
    assert filter_texture(np.stack([smooth, fine])) == pytest.approx(0.5)
    assert filter_texture(np.zeros((2, 7, 7))) == 0


def test_sparse_maps():
    one = np.zeros((2, 8, 8))
    assert sparsity(one) is None
    one[0, 3, 3] = 5
    assert sparsity(one) == pytest.approx(1)
    assert sparsity(np.full((2, 8, 8), -3.0)) == pytest.approx(0)
    half = np.zeros((1, 8, 8))
    half[0, :4] = 1
    assert 0.2 < sparsity(half) < 0.5  # type: ignore[operator]


def test_detail_grows_with_fineness_not_with_contrast():
    x = np.arange(64)
    waves = [np.tile(np.sin(2 * np.pi * x / period), (64, 1))[None] for period in (32, 8)]
    coarse, fine = (detail(wave) for wave in waves)
    assert coarse is not None
    assert fine is not None
    assert 3 < fine / coarse < 5
    assert detail(7 * waves[1] + 2) == pytest.approx(fine)
    assert detail(np.concatenate([waves[1], np.ones((1, 64, 64))])) == pytest.approx(fine)  # one that is constant
    assert detail(np.ones((1, 4, 4))) is None
