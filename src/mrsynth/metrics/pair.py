"""A prediction beside its truth, checked once, so that the measuring code can take it as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mrsynth.core.errors import InputError


@dataclass(frozen=True)
class PairInfo:
    """What a pair is.

    Attributes:
        case: its name.
        contrast: what both volumes show.
        predictor: "model", or one of `rivals.RIVALS` and `rivals.KNOW_THE_TRUTH`.
        min_brain_fraction: in presets that go slice by slice, a slice counts where more than this fraction of its area
            is brain (0: any brain at all).
    """

    case: str = ""
    contrast: str = ""
    predictor: str = "model"
    min_brain_fraction: float = 0.0


@dataclass(frozen=True, eq=False)
class Pair:
    """Two volumes (x, y, z) of one float type on one grid, finite, the truth not constant.

    Attributes:
        prediction, truth: the image that was made, and the true one.
        regions: boolean, of the same shape.
        data_range: in the images' units.
        info: what the pair is.
        native: the image before contrast, on the same scale, where contrast is to be measured.
    """

    prediction: np.ndarray
    truth: np.ndarray
    regions: Mapping[str, np.ndarray]
    data_range: float
    info: PairInfo
    native: np.ndarray | None = None


def checked_pair(
    prediction: np.ndarray,
    reference: np.ndarray,
    regions: Mapping[str, np.ndarray],
    data_range: float,
    info: PairInfo,
    native: np.ndarray | None = None,
) -> Pair:
    """Return the pair, checked; a constant prediction is a bad one, and is measured.

    Args:
        prediction: the image that was made (x, y, z).
        reference: the true one, of the same shape.
        regions: boolean masks by name, of the same shape, at least one.
        data_range: of both images, in their units, above 0.
        info: case, contrast and predictor; names the pair in messages.
        native: the image before contrast on the same scale, where contrast is to be measured.

    Raises:
        InputError: for unlike shapes, values not finite, a bad data range, no region, and for a truth or native image
            that is constant.
    """
    who = f"{info.case or 'case'}, {info.predictor}"
    if not (math.isfinite(data_range) and data_range > 0):
        raise InputError(f"{who}: the data range cannot be used.", found=data_range, expected="a number above 0")
    if not regions:
        raise InputError(f"{who}: no region to measure in.", do="give build_regions(...) or {'volume': all ones}")
    if reference.ndim != 3:
        raise InputError(
            f"{who}: the reference is not a volume.", found=f"shape {reference.shape}", expected="(x, y, z)"
        )
    images = {"prediction": prediction, "reference": reference} | (
        {"native image": native} if native is not None else {}
    )
    for name, image in images.items():
        _check_image(image, reference.shape, f"{who}: the {name}", constant=name == "prediction")
    for name, mask in regions.items():
        if mask.shape != reference.shape:
            raise InputError(f"{who}: region {name} has another grid.", found=mask.shape, expected=reference.shape)
    double = any(np.dtype(image.dtype) == np.float64 for image in (prediction, reference))
    kind = np.float64 if double else np.float32
    return Pair(
        prediction.astype(kind, copy=False),
        reference.astype(kind, copy=False),
        {name: mask.astype(bool, copy=False) for name, mask in regions.items()},
        float(data_range),
        info,
        native,
    )


def _check_image(image: np.ndarray, shape: tuple[int, ...], what: str, constant: bool) -> None:
    if image.shape != shape:
        raise InputError(
            f"{what} has another shape than the reference.",
            found=image.shape,
            expected=shape,
            do="bring both onto one grid before they are compared",
        )
    low, high = float(image.min()), float(image.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = int(image.size - np.isfinite(image).sum())
        raise InputError(
            f"{what} holds values that are not finite.", found=f"{bad} of {image.size} voxels NaN or infinite"
        )
    if low == high and not constant:
        raise InputError(f"{what} is constant: there is nothing to compare.", found=f"{low:g} in every voxel")
