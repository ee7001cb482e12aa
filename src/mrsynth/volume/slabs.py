"""A network that was trained on slabs of a few slices, over a volume, slab by slab."""

from __future__ import annotations

import numpy as np

from mrsynth.core.errors import RecipeError
from mrsynth.volume.engine import Engine
from mrsynth.volume.windows import predict_windows


def predict_slabs(engine: Engine, inputs: list[np.ndarray], slices: int, overlap: int | None = None) -> np.ndarray:
    """Return the prediction of slabs of whole axial slices.

    Trained on slabs, a network knows zeros beyond the first and the last slice, so it must see slabs again: the volume
    at once would be new to it. Overlapping slabs are averaged with weights that favour a slab's middle, since a slice
    at the edge of its slab has no neighbour on one side.

    Args:
        engine: of a network (b, c, x, y, slices) → (b, 1, x, y, slices).
        inputs: c arrays (x, y, z).
        slices: how many a slab has.
        overlap: slices that neighbouring slabs share, by default all but one. 0 predicts each slice once, but for those
            of the last slab, which is moved inside.

    Returns:
        (x, y, z) float32.

    Raises:
        RecipeError: the overlap leaves no step.
    """
    overlap = slices - 1 if overlap is None else overlap
    if not 0 <= overlap < slices:
        raise RecipeError(
            "Neighbouring slabs cannot overlap so much.",
            found=overlap,
            expected=f"0 to {slices - 1} of {slices} slices",
        )
    x, y, _ = inputs[0].shape
    return predict_windows(engine, inputs, (x, y, slices), (0, 0, overlap))
