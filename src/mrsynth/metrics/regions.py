"""The regions of a case in which a prediction is judged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from mrsynth.core.errors import InputError
from mrsynth.core.types import LESION_LABELS

SHELL_VOXELS = 3
"""Thickness of the shell around the lesion."""

MIN_LESION_VOXELS = 20
"""A connected lesion below this size is not judged by itself: a similarity averaged over fewer voxels is noise."""

MAX_LESIONS = 20
"""The largest lesions that are judged by themselves; memory stays bounded for scattered labels."""

LABEL_REGIONS: dict[int, str] = {
    label: "enhancing_tumour" if name == "enhancing" else name for label, name in LESION_LABELS.items()
}
"""Region of each lesion label; `enhancing` alone is where T1ce − T1 is above δ, as in the metric contract."""

Box = tuple[slice, slice, slice]


ENHANCES = 0.1
"""Voxels enhance where T1ce − T1 is above this share of the data range (pinetz2023 §3; chen2022 §III-D)."""


def build_regions(
    shape: tuple[int, int, int],
    brain: np.ndarray | None,
    lesion: np.ndarray | None = None,
    t1: np.ndarray | None = None,
    t1ce: np.ndarray | None = None,
    delta: float = ENHANCES,
) -> dict[str, np.ndarray]:
    """Return the regions of a case by name, boolean (x, y, z).

    `volume` is always there. No other region reaches out of the brain, because nothing is predicted there.

    Args:
        shape: (x, y, z).
        brain: mask; it gives `brain`.
        lesion: labels (types.LESION_LABELS). They give a region for each label that occurs, `lesion` (any label),
            `lesion#1`, `lesion#2`, … (26-connected, largest first, see MIN_LESION_VOXELS) and `shell` (within
            SHELL_VOXELS of the lesion, not in it). A mask without any lesion leaves `lesion` empty, so that the metrics
            say that it is missing.
        t1: image before contrast agent.
        t1ce: image after it, on the same scale. Both give `enhancing` (T1ce − T1 > delta) and `non_enhancing` (the rest
            of the brain).
        delta: in the units of t1 and t1ce.

    Raises:
        InputError: for shapes that differ and labels without a name.
    """
    for name, array in (("brain", brain), ("lesion", lesion), ("t1", t1), ("t1ce", t1ce)):
        if array is not None and array.shape != tuple(shape):
            raise InputError(f"{name} mask or image: another grid.", found=array.shape, expected=tuple(shape))
    regions = {"volume": np.ones(shape, bool)}
    if brain is not None:
        regions["brain"] = brain > 0
    inside = regions.get("brain", regions["volume"])
    if lesion is not None:
        regions |= {name: mask & inside for name, mask in _labels(lesion).items()}
        regions |= {f"lesion#{i}": one for i, one in enumerate(_connected(regions["lesion"]), start=1)}
        regions["shell"] = _shell(regions["lesion"]) & inside
    if t1 is not None and t1ce is not None:
        regions["enhancing"] = inside & (t1ce.astype(np.float32) - t1.astype(np.float32) > delta)
        regions["non_enhancing"] = inside & ~regions["enhancing"]
    return regions


def bounding_box(mask: np.ndarray, margin: int = 0) -> Box | None:
    """Return the smallest box around the mask; None if the mask is empty.

    Args:
        mask: (x, y, z).
        margin: by how many voxels the box is wider at each side, where the grid allows.
    """
    spans = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        if hit.size == 0:
            return None
        spans.append(slice(max(int(hit[0]) - margin, 0), min(int(hit[-1]) + 1 + margin, mask.shape[axis])))
    return spans[0], spans[1], spans[2]


def _labels(lesion: np.ndarray) -> dict[str, np.ndarray]:
    whole = lesion.astype(np.int64)
    if not np.array_equal(whole, lesion):
        raise InputError("the lesion mask holds values that are no labels.", expected="whole numbers")
    unknown = sorted(set(np.unique(whole).tolist()) - {0, *LABEL_REGIONS})
    if unknown:
        names = ", ".join(f"{label} {name}" for label, name in LESION_LABELS.items())
        raise InputError("the lesion mask holds labels without a name.", found=unknown, expected=f"0 or {names}")
    regions = {"lesion": whole > 0}
    for label, name in LABEL_REGIONS.items():
        mask = whole == label
        if mask.any():
            regions[name] = regions[name] | mask if name in regions else mask
    return regions


def _connected(lesion: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each connected lesion of MIN_LESION_VOXELS or more as a mask of its own, largest first."""
    box = bounding_box(lesion)
    if box is None:
        return
    labels, _ = ndimage.label(lesion[box], structure=np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    for index in np.argsort(-sizes, kind="stable")[:MAX_LESIONS]:
        if sizes[index] < MIN_LESION_VOXELS:
            return
        one = np.zeros(lesion.shape, bool)
        one[box] = labels == index + 1
        yield one


def _shell(lesion: np.ndarray) -> np.ndarray:
    shell = np.zeros(lesion.shape, bool)
    box = bounding_box(lesion, margin=SHELL_VOXELS)
    if box is not None:
        shell[box] = ndimage.binary_dilation(lesion[box], iterations=SHELL_VOXELS) & ~lesion[box]
    return shell
