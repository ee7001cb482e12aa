"""Batches of a SliceSet or PatchSet, read ahead by worker processes that leave them in memory shared once and for all.

PyTorch's own loader sends every batch in new shared memory, whose pages cost more than reading a box does
(benchmarks/storage.py). Here it sends the number of a slot, and the batch is copied out of the slot.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler, SequentialSampler

AHEAD = 2
"""Batches that each worker reads ahead."""


Batch = tuple[Tensor, ...]
"""inputs (b, c, …), target (b, 1, …) and, where the samples have a condition, condition (b, k)."""


class Samples(Dataset[tuple[Tensor, Tensor]], ABC):
    """What a loader reads. A sample is a block of all inputs and, as its last channel, the target.

    Attributes:
        sample_shape: of a block, channels first.
    """

    sample_shape: tuple[int, ...]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def fill(self, block: np.ndarray, numbers: Sequence[int]) -> None:
        """Fill a block (b, *sample_shape), float32, with these samples.

        Args:
            block: to fill.
            numbers: their numbers.
        """

    def condition(self, numbers: Sequence[int]) -> np.ndarray | None:
        """Return what a network is told beside the images of these samples, (b, k) float32; None where that is
        nothing."""
        return None

    def __getitems__(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return a whole batch: inputs (b, c, …) and target (b, 1, …)."""
        block = np.empty((len(numbers), *self.sample_shape), dtype=np.float32)
        self.fill(block, numbers)
        return split(torch.from_numpy(block))

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        inputs, target = self.__getitems__([number])
        return inputs[0], target[0]


def split(block: Tensor) -> tuple[Tensor, Tensor]:
    """Return inputs (b, c, …) and target (b, 1, …) of a block, which both look into."""
    return block[:, :-1], block[:, -1:]


class Loader:
    """Batches (inputs (b, c, …), target (b, 1, …)), in memory of their own, pinned where there is a GPU.

    Samples with a condition bring it as a third part.

    Args:
        samples: what the batches are made of.
        batch_size: b; the last batch may be smaller.
        sampler: the numbers of an epoch's samples; without one they come in order.
        workers: processes that read ahead, 0 to read when asked.
    """

    def __init__(self, samples: Samples, batch_size: int, sampler: Sampler[int] | None, workers: int) -> None:
        # Under the names by which Lightning finds the sampler, to set its epoch.
        self.sampler = SequentialSampler(samples) if sampler is None else sampler
        self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last=False)
        self.samples = samples
        self.ring = Ring(samples, batch_size, workers * AHEAD + 1) if workers else None
        self.filled = self.ring.filled_by(self.batch_sampler, workers) if self.ring else None

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[Batch]:
        for block, condition in self._blocks():
            yield split(block) if condition is None else (*split(block), torch.from_numpy(condition))

    def _blocks(self) -> Iterator[tuple[Tensor, np.ndarray | None]]:
        """Yield each batch as one block (b, *sample_shape), and its condition."""
        if self.ring is None or self.filled is None:
            for numbers in self.batch_sampler:
                block = self._empty(len(numbers))
                self.samples.fill(block.numpy(), numbers)
                yield block, self.samples.condition(numbers)
            return
        for slot, count, condition in self.filled:
            yield self._empty(count).copy_(self.ring.slots[slot, :count]), condition

    def _empty(self, count: int) -> Tensor:
        return torch.empty((count, *self.samples.sample_shape), pin_memory=torch.cuda.is_available())


Filled = tuple[int, int, np.ndarray | None]
"""A slot, how many samples it holds, and their condition."""


class Ring(Dataset[Filled]):
    """Slots of shared memory, used in turn. One more than are read ahead: the batch that was handed out last is copied
    before the next one is asked for, and only then is its slot given to a worker again."""

    def __init__(self, samples: Samples, batch_size: int, slots: int) -> None:
        self.samples = samples
        self.slots = torch.empty((slots, batch_size, *samples.sample_shape)).share_memory_()  # type: ignore[no-untyped-call]

    def __getitems__(self, slot_and_numbers: Sequence[int]) -> Filled:
        """Read a batch into a slot."""
        slot, *numbers = slot_and_numbers
        self.samples.fill(self.slots[slot, : len(numbers)].numpy(), numbers)
        return slot, len(numbers), self.samples.condition(numbers)

    def filled_by(self, batches: BatchSampler, workers: int) -> DataLoader[Filled]:
        """Return the loader of slots that worker processes have filled.

        Args:
            batches: numbers of each batch's samples.
            workers: processes.
        """
        turns = Slots(batches, len(self.slots))
        return DataLoader(
            self,
            batch_sampler=turns,
            num_workers=workers,
            prefetch_factor=AHEAD,
            persistent_workers=True,
            collate_fn=_as_it_is,
        )


class Slots(Sampler[list[int]]):
    """The slot of each batch, then the numbers of its samples."""

    def __init__(self, batches: BatchSampler, slots: int) -> None:
        self.batches, self.slots = batches, slots

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for turn, numbers in enumerate(self.batches):
            yield [turn % self.slots, *numbers]


def _as_it_is(found: Any) -> Any:
    """Collate nothing (a function with a name, so that it can be sent to a worker)."""
    return found
