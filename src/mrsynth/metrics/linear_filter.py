"""What is linear in a voxel and its 26 neighbours: one 3×3×3 filter over all inputs, by least squares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import torch

from mrsynth.core.errors import InputError
from mrsynth.metrics.regions import bounding_box

TAPS = 27
State = dict[str, np.ndarray]


class LinearFilter:
    """y = Σ over inputs and neighbours of a · x, plus an offset: least squares over training voxels in the brain.

    Taps lie a training voxel apart. On a finer grid they lie as many voxels apart as fit into one (see `predict`).
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self._products = np.zeros((0, 0))  # Xᵀ X and, in the last column, Xᵀ y
        self._edges_mm = np.zeros(3)
        self._voxels = 0

    def update(
        self,
        inputs: Mapping[str, np.ndarray],
        target: np.ndarray,
        brain: np.ndarray,
        chosen: np.ndarray,
        edges_mm: Sequence[float],
    ) -> None:
        """Add a training case.

        Args:
            inputs: volumes (x, y, z) by contrast.
            target: volume (x, y, z).
            brain: mask (x, y, z).
            chosen: which of the brain's voxels count, numbers (m,) into `volume[brain]`.
            edges_mm: edges of a voxel; cases are weighted by their voxels in the mean of it.
        """
        if not self.names:
            self.names = tuple(inputs)
            self._products = np.zeros((TAPS * len(self.names) + 1, TAPS * len(self.names) + 2))
        x, y, z = (axis[chosen] for axis in np.nonzero(brain))
        columns = [np.ones(chosen.size)]
        for name in self.names:
            padded = np.pad(inputs[name], 1, mode="edge")
            columns += [padded[x + i, y + j, z + k] for i, j, k in product(range(3), repeat=3)]
        seen = np.stack(columns, axis=1).astype(np.float64)
        self._products += seen.T @ np.column_stack([seen, target[brain][chosen].astype(np.float64)])
        self._edges_mm = self._edges_mm + chosen.size * np.asarray(edges_mm, float)
        self._voxels += chosen.size

    def coefficients(self) -> tuple[float, np.ndarray]:
        """Return the offset and the taps (inputs, 3, 3, 3); raises InputError if no case was seen."""
        if not self._voxels:
            raise InputError("the linear filter has seen no training case.", do="update it with the training cases")
        solved = np.linalg.lstsq(self._products[:, :-1], self._products[:, -1], rcond=1e-12)[0]
        return float(solved[0]), solved[1:].reshape(-1, 3, 3, 3)

    def predict(
        self, inputs: Mapping[str, np.ndarray], brain: np.ndarray, edges_mm: Sequence[float] | None = None
    ) -> np.ndarray:
        """Return the filtered inputs (x, y, z) as float32, 0 outside of the brain.

        Args:
            inputs: volumes (x, y, z) by contrast.
            brain: mask (x, y, z).
            edges_mm: edges of a voxel; None where they are those of the training.

        Raises:
            InputError: where an input is missing or no case was seen.
        """
        if lacking := [name for name in self.names if name not in inputs]:
            raise InputError("the linear filter lacks an input.", found=", ".join(inputs), expected=lacking[0])
        offset, taps = self.coefficients()
        apart = [1, 1, 1]
        if edges_mm is not None:
            apart = [max(1, round(e)) for e in self._edges_mm / self._voxels / np.asarray(edges_mm, float)]
        image = np.zeros(brain.shape, np.float32)
        inside = np.asarray(brain) > 0
        if (box := bounding_box(inside)) is None:
            return image
        seen = np.stack([_with_margin(inputs[name], box, apart) for name in self.names])
        weight = torch.from_numpy(taps.astype(np.float32))[None]
        found = torch.nn.functional.conv3d(torch.from_numpy(seen)[None], weight, dilation=apart)[0, 0].numpy()
        image[box] = (found + np.float32(offset)) * inside[box]
        return image

    def to_dict(self) -> State:
        """Return the state as plain arrays."""
        edges = self._edges_mm / max(self._voxels, 1)
        return {"names": np.array(self.names), "products": self._products, "edges_mm": edges}

    @classmethod
    def from_dict(cls, state: Mapping[str, np.ndarray]) -> LinearFilter:
        """Return the filter whose state `to_dict` gave; raises InputError for one whose parts do not fit together."""
        found = cls()
        found.names = tuple(str(name) for name in state["names"])
        found._products, found._edges_mm, found._voxels = state["products"].astype(float), state["edges_mm"], 1
        n = TAPS * len(found.names)
        if found._products.shape != (n + 1, n + 2) or found._edges_mm.shape != (3,):
            raise InputError("the linear filter is damaged.", found=found._products.shape, do="train again")
        return found


def _with_margin(image: np.ndarray, box: tuple[slice, slice, slice], margin: Sequence[int]) -> np.ndarray:
    """Return a box of an image, wider by a margin (x, y, z), the volume's faces repeated beyond it."""
    places = [
        np.clip(np.arange(part.start - m, part.stop + m), 0, n - 1)
        for part, m, n in zip(box, margin, image.shape, strict=True)
    ]
    return np.ascontiguousarray(image[np.ix_(*places)], np.float32)
