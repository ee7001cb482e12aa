"""Patterns whose alternation is known."""

from __future__ import annotations

import numpy as np
import pytest

from mrsynth.metrics.checkerboard import checkerboard


def test_a_checkerboard_counts_and_stripes_do_not():
    x, y = np.mgrid[:40, :40]
    board, stripes = (-1.0) ** (x + y), (-1.0) ** x
    noise = np.random.default_rng(0).normal(0, 1, (40, 40))
    found = checkerboard(np.stack([board, 3 * board + 0.1 * x, stripes, noise], axis=2) / 100, 1.0)
    assert found == pytest.approx([2.55, 7.65, 0, 1.275], rel=0.05, abs=1e-9)
    assert checkerboard(np.stack([board], axis=2), 2.0) == pytest.approx([127.5], rel=0.05)
