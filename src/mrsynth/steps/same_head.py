"""Whether two images that were brought together show one head: their fine structure says so, their outlines do not.

Any two heads can be laid on each other, and then share much information: skull, scalp, the outline of the brain. What
they do not share is what lies within a few millimetres inside the brain: sulci, ventricles, vessels. So the mutual
information is measured of what is left of both images without their coarse part, deep inside the head. A scan of
thick or noisy slices shares little of it with any other; what counts is how much more it shares where it lies than a
few millimetres aside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.steps.transform import Grid, bring, regular_grid

JUDGED = ("t1", "t1ce", "t1ld", "t2", "flair")
"""Contrasts that show the same structures. A CT, an ADC or an image of diffusion shows too little of them."""

GRID_MM, COARSE_MM = 2.0, 6.0
"""Where it is measured, and from which size on structure is coarse (the standard deviation of a Gaussian)."""

THICK_MM = 2.5
"""An image all of whose edges are longer shows no fine structure."""

DEPTH_MM = 12.0
"""So far below the surface of the head begins what counts: scalp and skull of all heads are alike."""

BINS, LEAST_VOXELS = 32, 5_000
"""Of the joint histogram. With fewer voxels the information of chance alone is as large as what is looked for."""

EXTREMES = (0.01, 0.99)
"""Quantiles between which the bins lie: vessels and noise would take most of them."""

ASIDE_MM = 8.0
"""So far an image is moved, both ways along each axis, to see what it shares where it does not lie."""

TOLD, REFUSED = 0.05, 0.03
"""Nats of shared detail below which a match is told as doubtful, and below which it is refused (measured:
docs/explain/trust.md)."""


def require_same_head(fixed: Image, moving: Image) -> float | None:
    """Return what `shared_detail` does; raises InputError where that is so little that the heads are two.

    Args:
        fixed: as in `shared_detail`.
        moving: as in `shared_detail`.
    """
    found = shared_detail(fixed, moving)
    if found is not None and found < REFUSED:
        raise InputError(
            f"{moving.contrast} and {fixed.contrast} show two heads.",
            found=f"{found:.3f} nats of shared detail inside the brain where they were brought together",
            expected=f"at least {REFUSED}",
            do="look at both images: are they of one person and of the same examination?",
        )
    return found


def doubts(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each image of which a registration says that it may show another head.

    Args:
        records: what each step of a preparation recorded.
    """
    return [
        f"{name} may show another head than {record['reference']}: {own['detail']:.2f} nats of shared detail, "
        f"{TOLD} at least in heads that are one."
        for record in records
        if record["step"] == "register"
        for name, own in record["grids"].items()
        if own.get("detail") is not None and own["detail"] < TOLD
    ]


def shared_detail(fixed: Image, moving: Image) -> float | None:
    """Return the mutual information of two images' fine structure deep inside the head, in nats, less the most of it
    that is there where one of them is moved aside.

    Args:
        fixed: an image (x, y, z) without air beyond 12 mm about the head (`match.pyramid` crops it so).
        moving: another one, whose affine brings it onto the first.

    Returns:
        The difference; None where it says nothing: of other contrasts, of thick voxels, of too small a common part.
    """
    if fixed.contrast not in JUDGED or moving.contrast not in JUDGED:
        return None
    if max(min(fixed.spacing_mm), min(moving.spacing_mm)) > THICK_MM:
        return None
    grid = regular_grid(Grid.of(fixed), (GRID_MM,) * 3, None)
    still, moved = (bring(image, grid, "linear", antialias=True).data for image in (fixed, moving))
    deep, seen = _deep(still), _seen(moved)
    if (deep & seen).sum() < LEAST_VOXELS:
        return None
    still, moved = _fine(still), _fine(moved)
    steps, elsewhere = round(ASIDE_MM / GRID_MM), []
    for axis, step in product(range(3), (-steps, steps)):
        there = deep & np.roll(seen, step, axis)
        elsewhere.append(_information(still[there], np.roll(moved, step, axis)[there]))
    inside = deep & seen
    return _information(still[inside], moved[inside]) - max(elsewhere)


def _deep(image: np.ndarray) -> np.ndarray:
    """Return what lies `DEPTH_MM` below the surface of what is no air."""
    from scipy import ndimage

    head = ndimage.binary_fill_holes(ndimage.binary_closing(image > 0.15 * image.max(), iterations=2))
    depth: np.ndarray = ndimage.distance_transform_edt(np.pad(head, 1))[1:-1, 1:-1, 1:-1] * GRID_MM
    return depth > DEPTH_MM


def _seen(image: np.ndarray) -> np.ndarray:
    """Return where an image has signal, without its rim."""
    from scipy import ndimage

    seen: np.ndarray = ndimage.binary_erosion(image != 0, iterations=2)
    return seen


def _fine(image: np.ndarray) -> np.ndarray:
    """Return an image without its coarse part."""
    from scipy import ndimage

    coarse: np.ndarray = ndimage.gaussian_filter(image, COARSE_MM / GRID_MM)
    return image - coarse


def _information(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mutual information of two lists of values, in nats; 0 of lists that say nothing."""
    if not one.size:
        return 0.0
    first, second = (np.clip(values, *np.quantile(values, EXTREMES)) for values in (one, other))
    joint = np.histogram2d(first, second, bins=BINS)[0]
    joint /= joint.sum()
    alone = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / alone[there])).sum())
