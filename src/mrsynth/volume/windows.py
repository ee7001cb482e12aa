"""Overlapping boxes that cover a volume, and their predictions blended; for networks that cannot see the whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from mrsynth.volume.engine import Engine


def predict_windows(
    engine: Engine, inputs: list[np.ndarray], size: Sequence[int], overlap: Sequence[int]
) -> np.ndarray:
    """Return the weighted mean of the predictions of all boxes over a volume.

    The weight of a voxel falls linearly from the middle of its box to the box's faces, where a network knows least.

    Args:
        engine: of a network (b, c, *size) → (b, 1, *size).
        inputs: c arrays (x, y, z).
        size: of a box; a volume that is smaller is filled up with zeros, the background.
        overlap: voxels that neighbours share at least, one number an axis.

    Returns:
        (x, y, z) float32.
    """
    shape = inputs[0].shape
    padded = tuple(max(length, edge) for length, edge in zip(shape, size, strict=True))
    corners = list(
        product(*(starts(n, edge, edge - both) for n, edge, both in zip(padded, size, overlap, strict=True)))
    )
    weight = _weight(size)
    total, weights = np.zeros(padded, np.float32), np.zeros(padded, np.float32)

    def take(start: int, stop: int) -> np.ndarray:
        block = np.zeros((stop - start, len(inputs), *size), np.float32)
        for box, corner in zip(block, corners[start:stop], strict=True):
            for channel, image in zip(box, inputs, strict=True):
                part = image[tuple(slice(c, c + edge) for c, edge in zip(corner, size, strict=True))]
                channel[tuple(slice(n) for n in part.shape)] = part
        return block

    def put(start: int, predicted: np.ndarray) -> None:
        for box, corner in zip(predicted, corners[start:], strict=False):
            here = tuple(slice(c, c + edge) for c, edge in zip(corner, size, strict=True))
            total[here] += weight * box
            weights[here] += weight

    engine.run(take, put, len(corners))
    total /= weights
    return total[tuple(slice(n) for n in shape)]


def starts(length: int, size: int, step: int) -> list[int]:
    """Return where boxes begin so that they cover a length: every step, the last one moved inside.

    Args:
        length: voxels along the axis, at least `size`.
        size: of a box.
        step: from a box to the next; below 1 it counts as 1.
    """
    return [*range(0, length - size, max(step, 1)), length - size]


def _weight(size: Sequence[int]) -> np.ndarray:
    """Return a box's weights: 1 at its faces, rising by 1 a voxel to the middle, the product over the axes."""
    weight = np.ones((), np.float32)
    for edge in size:
        place = np.arange(edge)
        weight = weight[..., None] * np.minimum(place + 1, edge - place).astype(np.float32)
    return weight / weight.max()
