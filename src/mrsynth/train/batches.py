"""Training samples from a prepared cohort: slices with their neighbours, whole batches at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Sampler
from typing_extensions import override

from mrsynth.core.errors import CohortError
from mrsynth.core.image import slices_around
from mrsynth.core.seeds import derive_seed
from mrsynth.core.settings import Plane
from mrsynth.io.prepared import PreparedCohort
from mrsynth.train.loader import Samples


@dataclass(frozen=True)
class Slicing:
    """How samples are cut from volumes.

    Attributes:
        planes: along which axes.
        neighbours: how many slices on each side the network sees too.
    """

    planes: tuple[Plane, ...] = ("z",)
    neighbours: int = 0


class SliceSet(Samples):
    """The slices of a split that hold enough brain, in each of the planes.

    A sample is (inputs (c · (2n + 1), u, v), target (1, u, v)), float32: of each input the slices k − n … k + n in
    order, beyond the volume its last slice again, and of the target slice k. Every slice is kept in memory once,
    however many samples see it, up to in_memory_gb; beyond it each batch is read from the prepared cohort, nothing but
    its slices.

    Args:
        cohort: the prepared cohort.
        split: "train", "val" or "test".
        contrasts: the inputs and the target.
        min_brain_fraction: share of a slice's area that must be brain.
        in_memory_gb: what may be kept in memory, in GiB.
        slicing: planes, and n, the neighbours.

    Raises:
        CohortError: the split has no such slice, or slices of several sizes.
    """

    def __init__(
        self,
        cohort: PreparedCohort,
        split: str,
        contrasts: tuple[Sequence[str], str],
        min_brain_fraction: float,
        in_memory_gb: float,
        slicing: Slicing = Slicing(),
    ) -> None:
        inputs, target = contrasts
        self.cohort, self.names, self.cases = cohort, [*inputs, target], cohort.cases(split)
        self.axes = ["xyz".index(plane) for plane in slicing.planes]
        self.neighbours = slicing.neighbours
        shapes = [cohort.shape(case) for case in self.cases]
        self.shape = common_shape([plane_shape(shape, axis) for axis in self.axes for shape in shapes])
        self.sample_shape = (len(inputs) * (2 * self.neighbours + 1) + 1, *self.shape)
        index: list[tuple[int, int, int, int]] = []
        for number, case in enumerate(self.cases):
            brain = cohort.array(case, "brain")
            for axis in self.axes:
                kept = kept_slices(brain, min_brain_fraction, axis)
                index += [(number, int(k), axis, brain.shape[axis]) for k in kept]
        if not index:
            raise CohortError(
                f"The split '{split}' of the prepared cohort holds no slice to use.",
                found=f"{len(self.cases)} cases, none with a slice of {100 * min_brain_fraction:g} % brain",
                expected="at least one case in each of train and val",
                do="look at the column `split` of the cohort table (mrsynth index assigns it)",
            )
        self.index = np.array(index)  # a row a sample: case, slice, axis, slices along the axis
        needed = {(case, axis): self._needed(case, axis) for case in range(len(self.cases)) for axis in self.axes}
        slices = sum(map(len, needed.values()))
        bytes_needed = 4 * slices * len(self.names) * math.prod(self.shape)
        self.memory: Tensor | None = None
        if bytes_needed <= in_memory_gb * 2**30:
            self.memory, self.places = self._read_all(needed, slices)

    def __len__(self) -> int:
        return len(self.index)

    @override
    def fill(self, block: np.ndarray, numbers: Sequence[int]) -> None:
        """Fill a block (b, *sample_shape) with these slices."""
        rows = np.asarray(numbers)
        if self.memory is not None:
            places = torch.from_numpy(self.places[rows].ravel())
            torch.index_select(self.memory, 0, places, out=torch.from_numpy(block).flatten(0, 1))
            return
        for out, (case, k, axis, extent) in zip(block, self.index[rows], strict=True):
            near = slices_around(k, self.neighbours, extent)
            out[:-1] = self._read(case, axis, self.names[:-1], near).reshape(-1, *self.shape)
            out[-1] = self._read(case, axis, self.names[-1:], np.array([k]))[0, 0]

    def _needed(self, case: int, axis: int) -> np.ndarray:
        """Return the slices of a case that samples see along an axis, sorted."""
        rows = self.index[(self.index[:, 0] == case) & (self.index[:, 2] == axis)]
        return np.unique(slices_around(rows[:, 1], self.neighbours, rows[:, 3]))

    def _read(self, case: int, axis: int, names: Sequence[str], slices: np.ndarray) -> np.ndarray:
        """Return slices of contrasts from the cohort, (names, slices, u, v); slices: sorted, some perhaps twice."""
        start, size = [0, 0, 0], list(np.insert(self.shape, axis, slices[-1] - slices[0] + 1))
        start[axis] = int(slices[0])
        box = self.cohort.read(self.cases[case], names, start, size)
        return np.moveaxis(box, axis + 1, 1)[:, slices - slices[0]]

    def _read_all(
        self, needed: Mapping[tuple[int, int], np.ndarray], slices: int
    ) -> tuple[Float[Tensor, "n u v"], np.ndarray]:
        """Read all slices, volume by volume, n = slices · names; returns them and where each sample's channels lie,
        (samples, channels)."""
        out = np.empty((slices, len(self.names), *self.shape), dtype=np.float32)
        places = np.empty((len(self.index), self.sample_shape[0]), dtype=np.int64)
        channels = np.arange(len(self.names))
        first = 0
        for case, name in enumerate(self.cases):
            volumes = [self.cohort.array(name, contrast) for contrast in self.names]
            for axis in self.axes:
                ks = needed[case, axis]
                for channel, volume in enumerate(volumes):
                    out[first : first + len(ks), channel] = np.moveaxis(volume, axis, 0)[ks]
                rows = np.flatnonzero((self.index[:, 0] == case) & (self.index[:, 2] == axis))
                seen = slices_around(self.index[rows, 1], self.neighbours, self.index[rows, 3])
                near = first + np.searchsorted(ks, seen)
                place = near[:, None] * len(channels) + channels[:, None]  # (samples, names, 2n + 1)
                places[rows, :-1] = place[:, :-1].reshape(len(rows), -1)
                places[rows, -1] = place[:, -1, self.neighbours]
                first += len(ks)
        return torch.from_numpy(out).flatten(0, 1), places


def plane_shape(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    """Return the size of the slices along an axis of a volume (x, y, z): those of z are (x, y), of x (y, z).

    Args:
        shape: (x, y, z).
        axis: 0, 1 or 2.
    """
    return tuple(n for other, n in enumerate(shape) if other != axis)


def common_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the one shape that all samples have, () where there are none; raises CohortError if they differ."""
    if len(set(shapes)) > 1:
        raise CohortError(
            "The prepared images differ in size, which one network input cannot hold.",
            found=" and ".join("×".join(map(str, shape)) for shape in sorted(set(shapes))[:3]) + " voxels",
            do="let the recipe end with a step that fixes the size (resize; for slices along several axes a cube, by "
            "pad_or_crop)",
        )
    return shapes[0] if shapes else ()


def kept_slices(brain: np.ndarray, min_brain_fraction: float, axis: int = 2) -> np.ndarray:
    """Return the indices of the slices along an axis of a mask (x, y, z) whose brain covers at least this share of
    their area.

    Args:
        brain: mask (x, y, z).
        min_brain_fraction: of a slice's area.
        axis: along which slices are counted.
    """
    share = (np.moveaxis(np.asarray(brain), axis, 0) > 0).mean(axis=(1, 2))
    return np.flatnonzero(share >= max(min_brain_fraction, np.finfo(float).tiny))


class EpochSampler(Sampler[int]):
    """A permutation that depends on (seed, epoch) alone, so that a resumed run sees the batches it would have seen.

    Args:
        size: how many samples there are.
        seed: of the training.
        samples: how many all ranks together take in an epoch; None for all.
        rank: this process among the others.
        ranks: how many processes there are.
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


TURNS = 4


class Rotated(Samples):
    """The samples of another set, each turned by 0, 90, 180 and 270° in the plane: four times as many.

    Number 4 n + k is its sample n after k quarter turns, inputs and target alike; nothing is drawn here, the order of
    the numbers is the sampler's.

    Args:
        samples: the other set.

    Raises:
        CohortError: the slices are not square.
    """

    def __init__(self, samples: Samples) -> None:
        x, y = samples.sample_shape[1:]
        if x != y:
            raise CohortError(
                "Only square slices can be turned by 90°.",
                found=f"{x}×{y} voxels",
                expected="as many along x as along y",
                do="let the recipe end with a step that makes them square, or --set samples.rotate90=false",
            )
        self.samples, self.sample_shape = samples, samples.sample_shape

    def __len__(self) -> int:
        return TURNS * len(self.samples)

    @override
    def fill(self, block: np.ndarray, numbers: Sequence[int]) -> None:
        """Fill a block (b, channels, x, x) with these samples."""
        self.samples.fill(block, [number // TURNS for number in numbers])
        for sample, number in zip(block, numbers, strict=True):
            if turns := number % TURNS:
                sample[:] = np.rot90(sample, turns, axes=(1, 2)).copy()
