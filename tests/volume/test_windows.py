from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.volume.engine import Engine
from mrsynth.volume.windows import predict_windows, starts

edges = st.integers(1, 12)


def engine(net: object) -> Engine:
    return Engine(net, torch.device("cpu"), torch.float32, 2**30)


@given(length=st.integers(1, 60), size=edges, step=st.integers(0, 15))
def test_boxes_cover_every_voxel_and_lie_inside(length: int, size: int, step: int):
    length, step = max(length, size), min(step, size)
    places = starts(length, size, step)
    covered = {voxel for start in places for voxel in range(start, start + size)}
    assert covered == set(range(length))
    assert places == sorted(set(places))


@given(shape=st.tuples(edges, edges, edges), size=st.tuples(edges, edges, edges), both=st.integers(0, 8))
def test_windows_of_the_identity_are_the_identity(shape: tuple[int, int, int], size: tuple[int, int, int], both: int):
    volumes = [np.random.default_rng(c).random(shape, dtype=np.float32) for c in range(2)]
    kept = [volume.copy() for volume in volumes]
    out = predict_windows(engine(lambda x: x[:, -1:]), volumes, size, [both] * 3)
    np.testing.assert_allclose(out, volumes[-1], rtol=1e-5)
    assert all(np.array_equal(now, then) for now, then in zip(volumes, kept, strict=True))


def test_the_middle_of_a_box_counts_most():
    """Along x: boxes 0–3 and 2–5 predict 0 and 1; their weights are 1 2 2 1 each."""
    calls = iter([0.0, 1.0])

    def number(x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x[:, :1], next(calls))

    out = predict_windows(engine(number), [np.zeros((6, 1, 1), np.float32)], (4, 1, 1), (2, 0, 0))
    assert out[:, 0, 0] == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1])
