"""Training samples from a prepared cohort: random boxes, such as slabs of three slices or cubes of 64³ voxels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler
from typing_extensions import override

from mrsynth.core.errors import CohortError
from mrsynth.core.seeds import generator
from mrsynth.io.chunks import fill_box
from mrsynth.io.prepared import PreparedCohort
from mrsynth.nets.condition import CONDITION
from mrsynth.recipes.sections import PatchSettings
from mrsynth.train.batches import common_shape
from mrsynth.train.loader import Samples


class PatchSet(Samples):
    """Random boxes of the cases of a split, each case equally likely.

    Samples are numbered without end: number e·per_epoch + i is the i-th of epoch e, and its box follows from (seed,
    number) alone, whichever worker reads it. A sample is (inputs (c, x, y, z), target (1, x, y, z)), float32. Boxes lie
    inside the volume, and are filled up with 0 around it where it is smaller. Only the boxes are read; up to
    in_memory_gb the split is kept in memory instead.

    Args:
        cohort: the prepared cohort.
        split: "train", "val" or "test".
        contrasts: the inputs and the target.
        settings: size and number of the boxes, and where they lie.
        seed: of the training.
        in_memory_gb: what may be kept in memory, in GiB.

    Raises:
        CohortError: the split has no case, a mask is empty or missing, or boxes of whole extent differ in size.
    """

    def __init__(
        self,
        cohort: PreparedCohort,
        split: str,
        contrasts: tuple[Sequence[str], str],
        settings: PatchSettings,
        seed: int,
        in_memory_gb: float,
    ) -> None:
        inputs, target = contrasts
        self.cohort, self.settings, self.seed = cohort, settings, seed
        self.names, self.cases = [*inputs, target], cohort.cases(split)
        if not self.cases:
            raise CohortError(
                f"The split '{split}' of the prepared cohort holds no case.",
                do="look at the column `split` of the cohort table (mrsynth index assigns it)",
            )
        self.shapes = [cohort.shape(case) for case in self.cases]
        self.size = common_shape([self._size_in(shape) for shape in self.shapes])
        self.sample_shape = (len(self.names), *self.size)
        self.depth = [self._count(case, shape) for case, shape in zip(self.cases, self.shapes, strict=True)]
        needed = 4 * len(self.names) * sum(x * y * z for x, y, z in self.shapes)
        kept = [*self.names, *([settings.within] if settings.within else [])] if needed <= in_memory_gb * 2**30 else []
        self.memory = {(case, name): cohort.array(case, name) for case in self.cases for name in kept}
        self.learn()

    def learn(self) -> None:
        """Note what else a sample says of its case; nothing here."""

    def __len__(self) -> int:
        return self.settings.per_epoch

    def draw(self, number: int) -> tuple[int, tuple[int, int, int]]:
        """Return which case a sample is taken from, and the first voxel of its box (below 0 in smaller volumes).

        Any voxel of the mask is equally likely to be the centre; of slabs of whole slices, any slice with mask is.
        """
        case, random = self._case(number)
        shape, counts = self.shapes[case], self.depth[case]
        if self.size[:2] == shape[:2]:
            centre = (0, 0, int(random.choice(np.flatnonzero(counts))))
        else:
            z = int(np.searchsorted(counts.cumsum(), random.integers(counts.sum()), side="right"))
            chosen = np.flatnonzero(self._slice(case, z)) if self.settings.within else np.arange(shape[0] * shape[1])
            x, y = divmod(int(random.choice(chosen)), shape[1])
            centre = (x, y, z)
        x, y, z = (_first(c, n, extent) for c, n, extent in zip(centre, self.size, shape, strict=True))
        return case, (x, y, z)

    def case_of(self, number: int) -> str:
        """Return the case that a sample is taken from."""
        return self.cases[self._case(number)[0]]

    @override
    def fill(self, block: np.ndarray, numbers: Sequence[int]) -> None:
        """Fill a block (b, c + 1, x, y, z) with these boxes."""
        for box, number in zip(block, numbers, strict=True):
            case, start = self.draw(number)
            self._fill(box, self.cases[case], self.names, start)

    def _case(self, number: int) -> tuple[int, np.random.Generator]:
        """Return the number of a sample's case, and the generator that then draws its box."""
        random = generator(self.seed, "patch", number)
        return int(random.integers(len(self.cases))), random

    def _size_in(self, shape: tuple[int, int, int]) -> tuple[int, ...]:
        """Return the box's size in a volume of this shape."""
        return tuple(extent if n is None else n for n, extent in zip(self.settings.size, shape, strict=True))

    def _count(self, case: str, shape: tuple[int, int, int]) -> np.ndarray:
        """Return the voxels of each axial slice in which a box may have its centre: (z,)."""
        mask = self.settings.within
        if mask is None:
            return np.full(shape[2], shape[0] * shape[1])
        counts = np.count_nonzero(self.cohort.array(case, mask), axis=(0, 1))
        if not counts.any():
            raise CohortError(
                f"{case}: no box can be drawn within {mask}.",
                found="an empty mask",
                do="leave the case out, or draw within another mask",
            )
        return counts

    def _slice(self, case: int, z: int) -> np.ndarray:
        """Return a slice of the mask in which a box may have its centre: (x, y)."""
        box = np.empty((1, *self.shapes[case][:2], 1), dtype=np.uint8)
        self._fill(box, self.cases[case], [str(self.settings.within)], (0, 0, z))
        return box[0, ..., 0]

    def _fill(self, box: np.ndarray, case: str, names: Sequence[str], start: Sequence[int]) -> None:
        """Fill a box (names, x, y, z) from memory or from the cohort."""
        if not self.memory:
            self.cohort.read(case, names, start, box.shape[1:], box)
            return
        for channel, name in zip(box, names, strict=True):
            fill_box(channel, self.memory[case, name], start)


class DoseSet(PatchSet):
    """Random boxes (see PatchSet), each with its case's (dose as a fraction of the full one, field strength in tesla).

    Raises CohortError where a case of the split has none of the two.
    """

    @override
    def learn(self) -> None:
        """Read dose and field of each case."""
        self.conditions = {case: np.array(condition_of(self.cohort, case), np.float32) for case in self.cases}

    def condition(self, numbers: Sequence[int]) -> np.ndarray:
        """Return (dose, b0_tesla) of these samples, (b, 2) float32."""
        return np.stack([self.conditions[self.case_of(number)] for number in numbers])


def condition_of(cohort: PreparedCohort, case: str) -> tuple[float, float]:
    """Return dose and field strength of a prepared case, as its record has them from the cohort table.

    Args:
        cohort: the prepared cohort.
        case: its name.

    Returns:
        The dose of its t1ld as a fraction of the full one, and the field strength in tesla.

    Raises:
        CohortError: the record lacks one of them.
    """
    known: dict[str, Any] = cohort.record(case).metadata
    if missing := [name for name in CONDITION if not isinstance(known.get(name), int | float)]:
        raise CohortError(
            f"{case}: its {' and its '.join(missing)} is not known, which the network is to be told.",
            expected="dose as a fraction of the full one, b0_tesla in tesla",
            do=f"fill the column {' and '.join(missing)} of the cohort table and run mrsynth prepare again",
        )
    dose, b0_tesla = (float(known[name]) for name in CONDITION)
    return dose, b0_tesla


class PatchSampler(Sampler[int]):
    """The numbers of an epoch's samples; each of `ranks` processes takes every ranks-th of them."""

    def __init__(self, per_epoch: int, rank: int = 0, ranks: int = 1) -> None:
        self.per_epoch, self.rank, self.ranks = per_epoch, rank, ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls it, also after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_epoch // self.ranks

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.per_epoch + self.rank
        return iter(range(first, first + len(self) * self.ranks, self.ranks))


def _first(centre: int, size: int, extent: int) -> int:
    """Return where a box of `size` voxels begins: around the centre, inside the extent, or around it if larger."""
    if size >= extent:
        return (extent - size) // 2
    return min(max(centre - size // 2, 0), extent - size)
