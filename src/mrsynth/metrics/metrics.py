"""The metrics, as functions of the voxels of one region: plain arrays in, one number out.

`prediction` and `truth` are arrays of equal shape in the same units; how they were chosen (region, slice) is the
caller's. What a number means together with its region, range and aggregation is written down in a MetricRecord.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

HIGHER_IS_BETTER: dict[str, bool] = {
    "psnr": True,
    "ssim": True,
    "ssim_range2": True,
    "nmi": True,
    "mae": False,
    "mse": False,
    "rmse": False,
    "ms_ssim": True,
    "mae_ce": False,
    "mae_ce_mean": False,
    "mae_sigma": False,
    "mae_grain": False,
    "tenengrad_error": False,
    "cnr_error": False,
    "lesion_to_brain_ratio_error": False,
    "enhancement_percent_error": False,
}
"""Which way a metric is good. Metrics that describe one image (cnr, ...) stand for no quality and are not listed."""

NMI_BINS = 100
"""Bins an axis of the joint histogram (scikit-image's default)."""

MIN_FIT_VOXELS = 3
"""A line through fewer voxels fits whatever they hold."""


class Line(NamedTuple):
    """slope · prediction + offset.

    Attributes:
        slope, offset: of the line; offset in image units.
    """

    slope: float
    offset: float


def mse(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean squared error, in squared image units.

    Args:
        prediction: the values that were made.
        truth: the true ones, of the same shape.
    """
    difference = prediction.astype(np.float64, copy=False) - truth
    return float(np.vdot(difference, difference) / difference.size)


def mae(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean absolute error, in image units.

    Args:
        prediction: the values that were made.
        truth: the true ones, of the same shape.
    """
    return float(np.abs(prediction.astype(np.float64, copy=False) - truth).mean())


def psnr(squared_error: float, data_range: float) -> float:
    """Return the peak signal-to-noise ratio in dB: 10·log10(range² / MSE); infinite for an error of 0.

    Args:
        squared_error: mean squared error, in squared image units.
        data_range: in image units.
    """
    return math.inf if squared_error == 0 else 10 * math.log10(data_range**2 / squared_error)


def flat_brain_psnr(truth: np.ndarray, brain: np.ndarray, data_range: float) -> float:
    """Return the PSNR in dB that the best flat brain reaches: a constant, the truth's own mean, inside the mask.

    It says how much of a PSNR comes from an intensity scale alone: a min–max scale that a few bright voxels set leaves
    the rest dark and near each other (docs/papers/osman2022.md).

    Args:
        truth: the scan (x, y, z), on the scale to be judged.
        brain: mask (x, y, z), not empty.
        data_range: of that scale.
    """
    inside = truth[np.asarray(brain) > 0].astype(np.float64)
    return psnr(float(inside.var()), data_range)


def nmi(prediction: np.ndarray, truth: np.ndarray, bins: int = NMI_BINS) -> float | None:
    """Return the normalised mutual information (H(X) + H(Y)) / H(X, Y), in [1, 2]; None where both are constant.

    Studholme et al. 1999 (Pattern Recognition 32:71), as in scikit-image: a joint histogram between each image's own
    least and greatest value, so that an affine change of either image changes nothing.

    Args:
        prediction: the values that were made.
        truth: the true ones, of the same shape.
        bins: of each axis of the histogram.
    """
    joint = np.bincount(_bin(truth, bins) * bins + _bin(prediction, bins), minlength=bins * bins)
    table = joint.reshape(bins, bins)
    together = _entropy(joint)
    return None if together == 0 else (_entropy(table.sum(0)) + _entropy(table.sum(1))) / together


def linear_fit(prediction: np.ndarray, truth: np.ndarray) -> Line:
    """Return the line that takes the prediction nearest to the truth (least squares); a constant one gets slope 0.

    Args:
        prediction: the values that were made.
        truth: the true ones, of the same shape.
    """
    x, y = prediction.astype(np.float64).ravel(), truth.astype(np.float64).ravel()
    mean_x, mean_y = float(x.mean()), float(y.mean())
    x -= mean_x
    y -= mean_y
    spread = float(np.vdot(x, x))
    if spread <= x.size * (np.finfo(prediction.dtype).eps * abs(mean_x)) ** 2:
        return Line(0.0, mean_y)
    slope = float(np.vdot(x, y)) / spread
    return Line(slope, mean_y - slope * mean_x)


def _bin(values: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each value among equal bins from least to greatest (the greatest falls into the last)."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.zeros(values.size, np.intp)
    scaled = (values.ravel().astype(np.float64) - low) * (bins / (high - low))
    return np.minimum(scaled.astype(np.intp), bins - 1)


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
