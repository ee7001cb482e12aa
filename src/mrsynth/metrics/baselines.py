"""What a model must beat: the nearest input, linearly fitted on the training set, and the mean training image.

Both see one case at a time, so memory stays flat, and both turn into plain arrays (`to_dict`) that need no pickle.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from mrsynth.core.errors import InputError
from mrsynth.metrics.metrics import Line
from mrsynth.metrics.regions import Box, bounding_box

MEAN_GRID: tuple[int, int, int] = (96, 112, 96)
"""Grid of the mean image over the brain's bounding box: about 1.5 mm, finer than brains in equal boxes agree."""

State = dict[str, np.ndarray]


class LinearIdentity:
    """y = slope · x + offset by least squares over the brain voxels of all training cases; x is the nearest input.

    With several inputs the nearest is the one whose own line leaves the least squared residual.
    """

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}  # of an input: n, Σx, Σy, Σxx, Σxy, Σyy

    def update(self, inputs: Mapping[str, np.ndarray], target: np.ndarray, brain: np.ndarray) -> None:
        """Add a training case.

        Args:
            inputs: volumes (x, y, z) by contrast.
            target: volume (x, y, z).
            brain: mask (x, y, z).

        Raises:
            InputError: for an empty brain, or for other inputs than the cases before had.
        """
        inside = _inside(brain)
        if self._sums and set(inputs) != set(self._sums):
            raise InputError("this case has other inputs.", found=", ".join(inputs), expected=", ".join(self._sums))
        y = target[inside].astype(np.float64)
        for name, image in inputs.items():
            x = image[inside].astype(np.float64)
            new = np.array([x.size, x.sum(), y.sum(), x @ x, x @ y, y @ y])
            self._sums[name] = self._sums.get(name, 0.0) + new

    @property
    def nearest(self) -> str:
        """The name of the input that is taken."""
        if not self._sums:
            raise InputError("the identity baseline has seen no training case.", do="update it with the training cases")
        return min(self._sums, key=lambda name: self._line(name)[1])

    @property
    def line(self) -> Line:
        """Slope and offset of the nearest input."""
        return self._line(self.nearest)[0]

    def predict(self, inputs: Mapping[str, np.ndarray], brain: np.ndarray) -> np.ndarray:
        """Return the fitted nearest input.

        Args:
            inputs: volumes (x, y, z) by contrast, the nearest among them.
            brain: mask (x, y, z).

        Returns:
            (x, y, z), float32, 0 outside of the brain.

        Raises:
            InputError: where the nearest input is missing, the brain is empty or no case was seen.
        """
        name, inside = self.nearest, _inside(brain)
        if name not in inputs:
            raise InputError("the nearest input is missing.", found=", ".join(inputs), expected=name)
        slope, offset = self.line
        return np.where(inside, slope * inputs[name].astype(np.float32) + offset, 0).astype(np.float32)

    def to_dict(self) -> State:
        """Return the state: inputs (k,) of text, sums (k, 6)."""
        return {"inputs": np.array(list(self._sums)), "sums": np.array(list(self._sums.values())).reshape(-1, 6)}

    @classmethod
    def from_dict(cls, state: Mapping[str, np.ndarray]) -> LinearIdentity:
        """Return the baseline whose state `to_dict` gave."""
        baseline = cls()
        baseline._sums = {str(name): row.copy() for name, row in zip(state["inputs"], state["sums"], strict=True)}
        return baseline

    def _line(self, name: str) -> tuple[Line, float]:
        """Return an input's line and the mean squared residual that it leaves."""
        n, sx, sy, sxx, sxy, syy = (float(value) for value in self._sums[name])
        var_x, cov, var_y = sxx / n - (sx / n) ** 2, sxy / n - sx * sy / n**2, syy / n - (sy / n) ** 2
        slope = cov / var_x if var_x > 1e-12 * sxx / n else 0.0
        return Line(slope, (sy - slope * sx) / n), var_y - slope * cov


class TrainingMean:
    """The mean target image of the training cases, in the coordinates of the brain's bounding box.

    Cases are not registered to each other: each brain's box is resampled linearly to MEAN_GRID, averaged where brains
    cover it, and stretched back to the box of a new case's brain.
    """

    def __init__(self) -> None:
        self._sum = np.zeros(MEAN_GRID)
        self._weight = np.zeros(MEAN_GRID)
        self._cases = 0

    def update(self, target: np.ndarray, brain: np.ndarray) -> None:
        """Add a training case.

        Args:
            target: volume (x, y, z).
            brain: mask (x, y, z).

        Raises:
            InputError: for an empty brain.
        """
        inside = _inside(brain)
        box = _brain_box(inside)
        weight = inside[box].astype(np.float32)
        self._sum += _stretch(target[box].astype(np.float32) * weight, MEAN_GRID)
        self._weight += _stretch(weight, MEAN_GRID)
        self._cases += 1

    def predict(self, brain: np.ndarray) -> np.ndarray:
        """Return the mean image stretched to a brain (x, y, z), float32, 0 outside; InputError if never updated."""
        if not self._cases:
            raise InputError("the mean image has seen no training case.", do="update it with the training cases")
        inside = _inside(brain)
        box = _brain_box(inside)
        mean = np.divide(self._sum, self._weight, out=np.zeros(MEAN_GRID), where=self._weight > 1e-3)
        image = np.zeros(inside.shape, np.float32)
        shape = inside[box].shape
        image[box] = _stretch(mean.astype(np.float32), (shape[0], shape[1], shape[2])) * inside[box]
        return image

    def to_dict(self) -> State:
        """Return the state: sum and weight on MEAN_GRID, and the number of cases."""
        return {"sum": self._sum.copy(), "weight": self._weight.copy(), "cases": np.array(self._cases)}

    @classmethod
    def from_dict(cls, state: Mapping[str, np.ndarray]) -> TrainingMean:
        """Return the baseline whose state `to_dict` gave; raises InputError for another grid."""
        if state["sum"].shape != MEAN_GRID:
            raise InputError("the mean image has another grid.", found=state["sum"].shape, expected=MEAN_GRID)
        baseline = cls()
        baseline._sum, baseline._weight = state["sum"].astype(float), state["weight"].astype(float)
        baseline._cases = int(state["cases"])
        return baseline


def _inside(brain: np.ndarray) -> np.ndarray:
    inside = np.asarray(brain) > 0
    if not inside.any():
        raise InputError("the brain mask is empty.", do="check the mask of this case")
    return inside


def _brain_box(inside: np.ndarray) -> Box:
    box = bounding_box(inside)
    assert box is not None  # _inside refused an empty mask
    return box


def _stretch(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return an image stretched to a shape, linearly; the outer faces of the grids coincide."""
    factors = [new / old for new, old in zip(shape, image.shape, strict=True)]
    return ndimage.zoom(image, factors, order=1, mode="nearest", grid_mode=True)
