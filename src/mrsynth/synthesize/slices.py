"""A 2-D network over a volume, slice by slice."""

from __future__ import annotations

import numpy as np

from mrsynth.synthesize.blocks import Engine, Tell


def predict_slices(engine: Engine, inputs: list[np.ndarray], tell: Tell | None = None) -> np.ndarray:
    """Return the prediction of every axial slice, each predicted once.

    engine: of a network (b, c, x, y) → (b, 1, x, y). inputs: c arrays (x, y, z). Result (x, y, z) float32.
    """
    x, y, slices = inputs[0].shape
    result = np.empty((x, y, slices), dtype=np.float32)

    def take(start: int, stop: int) -> np.ndarray:
        parts = [np.moveaxis(a[..., start:stop], 2, 0) for a in inputs]
        return np.stack(parts, axis=1).astype(np.float32, copy=False)

    def put(start: int, predicted: np.ndarray) -> None:
        result[..., start : start + len(predicted)] = np.moveaxis(predicted, 0, 2)

    engine.run(take, put, slices, tell)
    return result
