from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsynth.core.errors import RecipeError
from mrsynth.nets import build_net
from mrsynth.volume.engine import Engine
from mrsynth.volume.slabs import predict_slabs


def engine(net: object) -> Engine:
    return Engine(net, torch.device("cpu"), torch.float32, 2**30)


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 20)), n=st.integers(1, 5), data=st.data())
def test_slabs_of_the_identity_are_the_identity(shape: tuple[int, int, int], n: int, data: st.DataObject):
    volume = np.random.default_rng(0).random(shape, dtype=np.float32)
    out = predict_slabs(engine(lambda x: x), [volume], n, data.draw(st.integers(0, n - 1)))
    np.testing.assert_allclose(out, volume, rtol=1e-6)


def test_a_network_sees_whole_planes_and_its_own_number_of_slices():
    """Each slice once, but for those of the last slab; its prediction is that of the slab alone."""
    net = build_net("hrfcn", generator=torch.Generator().manual_seed(0), widths=[4, 4, 4], blocks=1).eval()
    volume = np.random.default_rng(0).random((9, 10, 7), dtype=np.float32)
    out = predict_slabs(engine(net), [volume] * 3, 3, overlap=0)
    with torch.no_grad():
        for start in (0, 3):
            slab = torch.from_numpy(np.stack([volume[..., start : start + 3]] * 3)[None])
            stop = start + (3 if start == 0 else 1)  # slices 4 and 5 are shared with the last slab
            alone = net(slab)[0, 0].numpy()[..., : stop - start]
            np.testing.assert_allclose(out[..., start:stop], alone, atol=1e-5)


def test_shared_slices_favour_the_slab_in_whose_middle_they_lie():
    """Slabs 0–2 and 1–3 of weights 1 2 1, as by default: slice 1 is two parts of the first and one of the second."""
    calls = iter([0.0, 3.0])

    def number(x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, next(calls))

    out = predict_slabs(engine(number), [np.zeros((1, 1, 4), np.float32)], 3)
    assert out[0, 0] == pytest.approx([0, 1, 2, 3])


def test_an_overlap_as_large_as_the_slab_is_refused():
    with pytest.raises(RecipeError, match="overlap"):
        predict_slabs(engine(lambda x: x), [np.zeros((2, 2, 4), np.float32)], 3, overlap=3)
