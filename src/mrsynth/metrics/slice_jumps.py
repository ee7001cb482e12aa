"""How much an image jumps from slice to slice: what a 2-D network does not see (li2022, "Discussion")."""

from __future__ import annotations

import numpy as np


def mean_step(image: np.ndarray, inside: np.ndarray, axis: int) -> float | None:
    """Return the mean absolute difference of neighbours along an axis, both of them inside the mask.

    Args:
        image: (x, y, z).
        inside: boolean mask (x, y, z).
        axis: 0, 1 or 2.

    Returns:
        The mean in image units; None where no two neighbours are inside.
    """
    both = inside[_cut(axis, 1, None)] & inside[_cut(axis, None, -1)]
    if not both.any():
        return None
    ahead, behind = image[_cut(axis, 1, None)][both], image[_cut(axis, None, -1)][both]
    return float(np.abs(ahead.astype(np.float64) - behind).mean())


def slice_jump_ratio(prediction: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> float | None:
    """Return how rough a prediction is across its slices, beside the truth: 1 where it is as the truth.

    It is (step along z / step in the plane) of the prediction over the same of the truth. Steps are as in `mean_step`;
    that in the plane is the mean of x and y. Above 1 slices jump, below they are smeared into each other. An affine
    change of either image cancels, and so does, nearly, a blur that is alike in all directions.

    Args:
        prediction: the image that was made (x, y, z).
        truth: the true one, of the same shape.
        inside: boolean mask (x, y, z).

    Returns:
        The ratio; None where a step is 0 or missing.
    """
    across = [_anisotropy(image, inside) for image in (prediction, truth)]
    if across[0] is None or not across[1]:
        return None
    return across[0] / across[1]


def _anisotropy(image: np.ndarray, inside: np.ndarray) -> float | None:
    x, y, z = (mean_step(image, inside, axis) for axis in range(3))
    if x is None or y is None or z is None or x + y == 0:
        return None
    return 2 * z / (x + y)


def _cut(axis: int, start: int | None, stop: int | None) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if a == axis else slice(None) for a in range(3))
