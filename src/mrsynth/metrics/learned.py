"""A training and what its network learned, as numbers: what li2022 reads from Figures 8 and 9 by eye."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

TEXTURE_ABOVE = 0.25
"""Cycles a pixel: half of what a filter can resolve."""


def oscillation(losses: Float[np.ndarray, " epochs"]) -> float | None:
    """Return how far a curve jumps from epoch to epoch: the mean absolute second difference over the median.

    Args:
        losses: validation losses.

    Returns:
        The number; None for fewer than 3 epochs, or a median that is not positive.
    """
    middle = float(np.median(losses)) if losses.size else 0.0
    return float(np.abs(np.diff(losses, 2)).mean()) / middle if losses.size > 2 and middle > 0 else None


def late_fall(losses: Float[np.ndarray, " epochs"], share: float = 0.6) -> float | None:
    """Return which part of a curve's whole fall comes after a share of its epochs.

    Args:
        losses: validation losses.
        share: of the epochs; the paper's curves are flat after 60 of 100.

    Returns:
        The part, from 0 to 1; None for fewer than 5 epochs, or a curve that never fell.
    """
    first = int(np.ceil(share * losses.size))
    if losses.size < 5 or losses.min() >= losses[0]:
        return None
    return float(max(0.0, losses[:first].min() - losses[first:].min()) / (losses[0] - losses.min()))


def filter_texture(filters: Float[np.ndarray, "n u v"]) -> float:
    """Return the mean share of a filter's power above half of the frequencies that it can resolve, 0 to 1.

    Args:
        filters: of the first layer.
    """
    power = np.abs(np.fft.fft2(filters)) ** 2
    high = np.maximum(*np.meshgrid(*(np.abs(np.fft.fftfreq(n)) for n in filters.shape[1:]), indexing="ij"))
    whole = power.sum(axis=(1, 2))
    share = power[:, high > TEXTURE_ABOVE].sum(axis=1) / np.where(whole > 0, whole, 1)
    return float(share.mean())


def sparsity(maps: Float[np.ndarray, "n u v"]) -> float | None:
    """Return Hoyer's sparsity of the values of all maps: 0 where all are alike, 1 where one alone is not 0.

    P. O. Hoyer, J Mach Learn Res 5:1457, 2004: (√n − ‖x‖₁/‖x‖₂) / (√n − 1).

    Args:
        maps: of a layer.

    Returns:
        The number; None where every value is 0.
    """
    values = np.abs(maps.astype(np.float64)).ravel()
    length = float(np.linalg.norm(values))
    root = float(np.sqrt(values.size))
    return (root - float(values.sum()) / length) / (root - 1) if length > 0 and values.size > 1 else None


def detail(maps: Float[np.ndarray, "n u v"]) -> float | None:
    """Return the mean step between neighbouring values of a map over its standard deviation, over maps that vary.

    Args:
        maps: of a layer.
    """
    varied = [one.astype(np.float64) for one in maps if float(np.std(one)) > 0]
    steps = [np.mean([np.abs(np.diff(one, axis=axis)).mean() for axis in (0, 1)]) / one.std() for one in varied]
    return float(np.mean(steps)) if steps else None
