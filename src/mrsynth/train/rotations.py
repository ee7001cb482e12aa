"""Slices in four orientations: the augmentation of li2022 ("Training details")."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrsynth.core.errors import CohortError
from mrsynth.train.loader import Samples

TURNS = 4


class Rotated(Samples):
    """The samples of another set, each turned by 0, 90, 180 and 270° in the plane: four times as many.

    Number 4 n + k is its sample n after k quarter turns, inputs and target alike; nothing is drawn here, the order of
    the numbers is the sampler's. Raises CohortError where the slices are not square.
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

    def fill(self, block: np.ndarray, numbers: Sequence[int]) -> None:
        """Fill a block (b, channels, x, x) with these samples."""
        self.samples.fill(block, [number // TURNS for number in numbers])
        for sample, number in zip(block, numbers, strict=True):
            if turns := number % TURNS:
                sample[:] = np.rot90(sample, turns, axes=(1, 2)).copy()
