"""How metrics, regions, predictors and numbers are written in the report."""

from __future__ import annotations

import math
from collections.abc import Iterable

FIRST_METRICS = ("ssim", "psnr", "mae", "mse")
METRIC_NAMES = {
    "ssim": "SSIM",
    "psnr": "PSNR (dB)",
    "mae": "MAE",
    "mse": "MSE",
    "rmse": "RMSE",
    "nmi": "NMI",
    "cnr": "CNR",
    "cnr_truth": "CNR of the truth",
    "cnr_error": "CNR error",
    "lesion_to_brain_ratio": "lesion-to-brain ratio",
    "lesion_to_brain_ratio_truth": "lesion-to-brain ratio of the truth",
    "lesion_to_brain_ratio_error": "lesion-to-brain ratio error",
    "enhancement_percent": "enhancement (%)",
    "enhancement_percent_truth": "enhancement of the truth (%)",
    "enhancement_percent_error": "enhancement error (%)",
    "coverage": "share of voxels inside the interval",
    "half_width": "half width of the interval",
}
PREDICTOR_NAMES = {
    "model": "model",
    "identity": "identity",
    "training_mean": "training mean",
    "table_mean": "voxel table, mean",
    "table_loss": "voxel table, loss",
    "table_smooth": "smoothed table",
    "filter": "linear filter",
    "dose_line": "dose line",
    "second_scan": "second scan",
    "flat_brain": "flat brain",
}
PREDICTORS = tuple(PREDICTOR_NAMES)
TEST_NAMES = {"paired_t": "paired t", "t": "paired t", "wilcoxon": "Wilcoxon", "independent_t": "independent t"}
MISSING = "–"
ROUNDING = 1e-9
"""What computers leave of 0."""


def metric_name(metric: str) -> str:
    """Return a metric's name as papers write it; an unknown one is shown as it stands in the file."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def plain(name: str) -> str:
    """Return the name of a predictor, test or region in words."""
    return PREDICTOR_NAMES.get(name) or TEST_NAMES.get(name) or name.replace("_", " ")


def arrow(higher_is_better: bool | None) -> str:
    """Return ↑ where more is better, ↓ where less is, nothing where neither is known."""
    return {True: "↑", False: "↓"}.get(higher_is_better, "") if higher_is_better is not None else ""


def in_order(names: Iterable[str], first: tuple[str, ...]) -> list[str]:
    """Return names without repeats: those of `first` in its order, then the others as they came.

    Args:
        names: what is sorted; a name of `first` that is not among them is left out.
        first: the names that stand first.
    """
    seen = list(dict.fromkeys(names))
    return [name for name in first if name in seen] + [name for name in seen if name not in first]


def decimals(scale: float) -> int:
    """Return how many decimals show three significant digits of a number of this size, between 2 and 6."""
    if not math.isfinite(scale) or scale == 0:
        return 3
    return 0 if abs(scale) >= 1000 else min(max(2 - math.floor(math.log10(abs(scale))), 2), 6)


def number(value: float, digits: int, *, sign: bool = False) -> str:
    """Return a number with fixed decimals, ∞ for an infinite one, a dash for NaN.

    A number that its decimals would show as 0 is written in powers of ten.

    Args:
        value: the number.
        digits: how many decimals.
        sign: whether a + stands before a positive number.
    """
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    if float(text) == 0 and abs(value) > ROUNDING:  # the digits end before the number begins
        text = f"{value:{'+' if sign else ''}.1e}"
    return text.replace("-", "−")


def p_value(p: float) -> str:
    """Return a p value with two or three decimals, as < 0.001 below that."""
    if math.isnan(p):
        return MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def interval(low: float, high: float, digits: int, *, sign: bool = False) -> str:
    """Return an interval in brackets, "" where one of its ends is NaN.

    Args:
        low: the lower end.
        high: the upper end.
        digits: how many decimals.
        sign: whether a + stands before a positive number.
    """
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{number(low, digits, sign=sign)}, {number(high, digits, sign=sign)}]"


def duration(seconds: float) -> str:
    """Return a duration in words: 42 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
