"""Training samples from a prepared cohort: axial slices, whole batches at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mrsynth.errors import CohortError
from mrsynth.io.prepared import PreparedCohort
from mrsynth.seeds import derive_seed


class SliceSet(Dataset[tuple[Tensor, Tensor]]):
    """The axial slices of a split that hold enough brain.

    A sample is (inputs (c, x, y), target (1, x, y)), float32. Slices are kept in memory up to in_memory_gb; beyond it
    each batch is read from the prepared cohort's memory maps, where an axial slice is contiguous.
    min_brain_fraction: of the slice's area. Raises CohortError where the split has no such slice.
    """

    def __init__(
        self,
        cohort: PreparedCohort,
        split: str,
        contrasts: tuple[Sequence[str], str],
        min_brain_fraction: float,
        in_memory_gb: float,
    ) -> None:
        inputs, target = contrasts
        self.names = [*inputs, target]
        self.volumes: list[list[np.ndarray]] = []
        index: list[tuple[int, int]] = []
        for case in cohort.cases(split):
            kept = kept_slices(cohort.array(case, "brain"), min_brain_fraction)
            index += [(len(self.volumes), int(k)) for k in kept]
            self.volumes.append([cohort.array(case, name) for name in self.names])
        if not index:
            raise CohortError(
                f"The split '{split}' of the prepared cohort holds no slice to use.",
                found=f"{len(self.volumes)} cases, none with a slice of {100 * min_brain_fraction:g} % brain",
                expected="at least one case in each of train and val",
                do="look at the column `split` of the cohort table (mrsynth index assigns it)",
            )
        self.index = np.array(index)
        bytes_needed = 4 * len(index) * len(self.names) * self.volumes[0][0][..., 0].size
        self.memory = self._read(np.arange(len(index))) if bytes_needed <= in_memory_gb * 2**30 else None

    def __len__(self) -> int:
        return len(self.index)

    def _read(self, samples: np.ndarray) -> Tensor:
        """Read samples from the memory maps: (n, contrasts, x, y)."""
        x, y = self.volumes[0][0].shape[:2]
        out = np.empty((len(samples), len(self.names), x, y), dtype=np.float32)
        for row, (volume, k) in enumerate(self.index[samples]):
            for channel, array in enumerate(self.volumes[volume]):
                if array.shape[:2] != (x, y):
                    raise CohortError(
                        "The prepared cases have slices of different sizes, which one network input cannot hold.",
                        found=f"{array.shape[:2]} and {(x, y)} pixels",
                        do="let the recipe end with a step that fixes the size (resize)",
                    )
                out[row, channel] = array[..., k]
        return torch.from_numpy(out)

    def __getitems__(self, samples: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return a whole batch: inputs (b, c, x, y) and target (b, 1, x, y)."""
        rows = np.asarray(samples)
        block = self._read(rows) if self.memory is None else self.memory[torch.from_numpy(rows)]
        return block[:, :-1], block[:, -1:]

    def __getitem__(self, sample: int) -> tuple[Tensor, Tensor]:
        inputs, target = self.__getitems__([sample])
        return inputs[0], target[0]


def kept_slices(brain: np.ndarray, min_brain_fraction: float) -> np.ndarray:
    """Return the indices of the axial slices of a mask (x, y, z) whose brain covers at least this share of the area."""
    share = (np.asarray(brain) > 0).mean(axis=(0, 1))
    return np.flatnonzero(share >= max(min_brain_fraction, np.finfo(float).tiny))


class EpochSampler(Sampler[int]):
    """A permutation that depends on (seed, epoch) alone, so that a resumed run sees the batches it would have seen.

    samples: how many a rank takes in an epoch (None: its whole share). rank, ranks: this process among the others.
    """

    def __init__(self, size: int, seed: int, samples: int | None = None, rank: int = 0, ranks: int = 1) -> None:
        self.size, self.seed, self.samples, self.rank, self.ranks = size, seed, samples, rank, ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls it, also after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        share = self.size // self.ranks
        return share if self.samples is None else max(1, min(share, self.samples // self.ranks))

    def __iter__(self) -> Iterator[int]:
        order = torch.Generator().manual_seed(derive_seed(self.seed, "order", self.epoch))
        mine = torch.randperm(self.size, generator=order)[self.rank :: self.ranks]
        return iter(mine[: len(self)].tolist())


def _whole(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Collate nothing: the data set returns whole batches."""
    return batch


def loader(
    samples: SliceSet, batch_size: int, sampler: Sampler[int] | None, workers: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Return the loader of a split; without a sampler the slices come in order. Pinned memory where there is a GPU."""
    return DataLoader(
        samples,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=_whole,  # type: ignore[arg-type]
        pin_memory=torch.cuda.is_available(),
    )
