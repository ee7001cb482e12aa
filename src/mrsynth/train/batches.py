"""Training samples from a prepared cohort: axial slices, whole batches at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from mrsynth.errors import CohortError
from mrsynth.io.prepared import PreparedCohort
from mrsynth.seeds import derive_seed
from mrsynth.train.loader import Samples


class SliceSet(Samples):
    """The axial slices of a split that hold enough brain.

    A sample is (inputs (c, x, y), target (1, x, y)), float32. Slices are kept in memory up to in_memory_gb; beyond it
    each batch is read from the prepared cohort, nothing but its slices. min_brain_fraction: of the slice's area. Raises
    CohortError where the split has no such slice, or slices of several sizes.
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
        self.cohort, self.names, self.cases = cohort, [*inputs, target], cohort.cases(split)
        self.shape = common_shape([cohort.shape(case)[:2] for case in self.cases])
        self.sample_shape = (len(self.names), *self.shape)
        index: list[tuple[int, int]] = []
        for number, case in enumerate(self.cases):
            kept = kept_slices(cohort.array(case, "brain"), min_brain_fraction)
            index += [(number, int(k)) for k in kept]
        if not index:
            raise CohortError(
                f"The split '{split}' of the prepared cohort holds no slice to use.",
                found=f"{len(self.cases)} cases, none with a slice of {100 * min_brain_fraction:g} % brain",
                expected="at least one case in each of train and val",
                do="look at the column `split` of the cohort table (mrsynth index assigns it)",
            )
        self.index = np.array(index)
        bytes_needed = 4 * len(index) * len(self.names) * math.prod(self.shape)
        self.memory = self._read_all() if bytes_needed <= in_memory_gb * 2**30 else None

    def __len__(self) -> int:
        return len(self.index)

    def fill(self, block: np.ndarray, numbers: Sequence[int]) -> None:
        """Fill a block (b, c + 1, x, y) with these slices."""
        rows = np.asarray(numbers)
        if self.memory is not None:
            torch.index_select(self.memory, 0, torch.from_numpy(rows), out=torch.from_numpy(block))
            return
        for out, (case, k) in zip(block, self.index[rows], strict=True):
            self.cohort.read(self.cases[case], self.names, (0, 0, k), (*self.shape, 1), out[..., None])

    def _read_all(self) -> Tensor:
        """Read all samples, volume by volume."""
        out = np.empty((len(self.index), len(self.names), *self.shape), dtype=np.float32)
        for number, case in enumerate(self.cases):
            rows = np.flatnonzero(self.index[:, 0] == number)
            for channel, name in enumerate(self.names):
                out[rows, channel] = self.cohort.array(case, name)[..., self.index[rows, 1]].transpose(2, 0, 1)
        return torch.from_numpy(out)


def common_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the one shape that all samples have, () where there are none; raises CohortError if they differ."""
    if len(set(shapes)) > 1:
        raise CohortError(
            "The prepared cases differ in size, which one network input cannot hold.",
            found=" and ".join("×".join(map(str, shape)) for shape in sorted(set(shapes))[:3]) + " voxels",
            do="let the recipe end with a step that fixes the size (resize)",
        )
    return shapes[0] if shapes else ()


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
