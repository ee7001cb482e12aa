from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch.utils.data import RandomSampler

from mrsynth.core.errors import CohortError
from mrsynth.train.batches import EpochSampler
from mrsynth.train.loader import Loader, Samples


class Numbers(Samples):
    """Sample n is full of n, its target of -n."""

    sample_shape = (3, 2)

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def fill(self, block: np.ndarray, numbers: Sequence[int]) -> None:
        if 99 in numbers:
            raise CohortError("a file is damaged.", do="run mrsynth prepare again")
        block[...] = np.array(numbers).reshape(-1, 1, 1)
        block[:, -1] *= -1


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_sample_comes_once_and_in_order(workers: int) -> None:
    loader = Loader(Numbers(50), 3, None, workers)
    for _ in range(2):
        batches = list(loader)  # kept: no batch may be overwritten by a later one
        assert len(batches) == len(loader) == 17
        assert [len(inputs) for inputs, _ in batches] == [3] * 16 + [2]
        inputs, targets = (torch.cat(part) for part in zip(*batches, strict=True))
        assert inputs.shape == (50, 2, 2)
        assert targets.shape == (50, 1, 2)
        assert inputs[:, 0, 0].tolist() == list(range(50))
        assert torch.equal(inputs[:, :1], -targets)


def test_an_epoch_that_was_broken_off_leaves_nothing_in_the_next() -> None:
    loader = Loader(Numbers(40), 2, None, 2)
    for stop in (1, 3, 7):
        for turn, _ in enumerate(loader):
            if turn == stop:
                break
        assert torch.cat([inputs[:, 0, 0] for inputs, _ in loader]).tolist() == list(range(40))


def test_workers_follow_the_samplers_epoch() -> None:
    order = EpochSampler(30, seed=1)
    loader = Loader(Numbers(30), 4, order, 2)
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        assert torch.cat([inputs[:, 0, 0] for inputs, _ in loader]).tolist() == list(order)


def test_a_samplers_choice_is_kept() -> None:
    drawn = torch.Generator().manual_seed(0)
    loader = Loader(Numbers(20), 6, RandomSampler(Numbers(20), generator=drawn), 2)
    assert sorted(torch.cat([inputs[:, 0, 0] for inputs, _ in loader]).tolist()) == list(range(20))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_keeps_its_kind(workers: int) -> None:
    with pytest.raises(CohortError, match="a file is damaged"):
        list(Loader(Numbers(100), 8, None, workers))
