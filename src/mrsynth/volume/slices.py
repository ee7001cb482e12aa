"""A 2-D network over a volume, slice by slice."""

from __future__ import annotations

import numpy as np

from mrsynth.core.image import slices_around
from mrsynth.volume.engine import Engine


def predict_slices(engine: Engine, inputs: list[np.ndarray], neighbours: int = 0) -> np.ndarray:
    """Return the prediction of every axial slice, each predicted once.

    Args:
        engine: of a network (b, c · (2n + 1), x, y) → (b, 1, x, y).
        inputs: c arrays (x, y, z).
        neighbours: n, the slices on each side that the network sees too: of each input k − n … k + n, beyond the volume
            its last slice again.

    Returns:
        (x, y, z) float32.
    """
    x, y, slices = inputs[0].shape
    result = np.empty((x, y, slices), dtype=np.float32)

    def take(start: int, stop: int) -> np.ndarray:
        near = slices_around(np.arange(start, stop), neighbours, slices)
        low, high = int(near[0, 0]), int(near[-1, -1]) + 1
        parts = [np.moveaxis(a[..., low:high], 2, 0)[near - low] for a in inputs]
        return np.concatenate(parts, axis=1).astype(np.float32, copy=False)

    def put(start: int, predicted: np.ndarray) -> None:
        result[..., start : start + len(predicted)] = np.moveaxis(predicted, 0, 2)

    engine.run(take, put, slices)
    return result
