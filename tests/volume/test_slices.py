from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsynth.core.progress import listening
from mrsynth.volume.engine import Engine
from mrsynth.volume.slices import predict_slices


def engine(net: object) -> Engine:
    return Engine(net, torch.device("cpu"), torch.float32, 2**30)


@settings(max_examples=15, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 9)] * 2, st.integers(1, 40)), channels=st.integers(1, 3))
def test_slices_of_the_identity_are_the_identity(shape: tuple[int, int, int], channels: int):
    volumes = [np.random.default_rng(c).random(shape, dtype=np.float32) for c in range(channels)]
    np.testing.assert_array_equal(predict_slices(engine(lambda x: x[:, -1:]), volumes), volumes[-1])


def test_every_slice_is_predicted_once_and_told():
    seen: list[int] = []
    told: list[str] = []

    def count(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return x

    volume = np.zeros((4, 4, 37), np.float32)
    with listening(lambda _, what: told.append(what)):
        predict_slices(engine(count), [volume])
    assert seen == [16, 16, 5]
    assert told == ["16/37", "32/37", "37/37"]
