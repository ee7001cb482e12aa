"""Two ways to measure a pair, in regions of the volume and slice by slice; a preset is a way to measure and data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mrsynth.core.errors import InputError
from mrsynth.core.tensors import Moments, Window, local_moments, ssim_from_moments, window_radius
from mrsynth.metrics.contrast import ENHANCEMENT_MEASURES, enhancement_measures, enhancing_lesion, reference_tissue
from mrsynth.metrics.metrics import MIN_FIT_VOXELS, Line, linear_fit, mae, mse, nmi, psnr
from mrsynth.metrics.pair import Pair
from mrsynth.metrics.record import MetricRecord
from mrsynth.metrics.regions import bounding_box


@dataclass(frozen=True)
class Preset:
    """A published or own convention: data, and the function that measures by it.

    Attributes:
        name: by which recipes and tables ask for it.
        note: what it does, its source, and where the source is silent.
        measure: what measures a pair by it.
        metrics: that it measures, by name.
        dimension: 2 (slice by slice) or 3.
        fits: "none", "linear".
        data_range: the range that the convention declares; None leaves it to the caller.
        clip: both images are clipped to it first (image units).
        window: of local statistics (SSIM).
    """

    name: str
    note: str
    measure: Callable[[Pair, Preset], list[MetricRecord]]
    metrics: tuple[str, ...]
    dimension: int
    fits: tuple[str, ...] = ("none",)
    data_range: float | None = None
    clip: tuple[float, float] | None = None
    window: Window = "uniform"


@dataclass(frozen=True, eq=False)
class Voxels:
    """The voxels of one region.

    Attributes:
        prediction, truth: (n,).
        moments: the local ones there, each (1, 1, n).
    """

    prediction: np.ndarray
    truth: np.ndarray
    moments: Moments

    def after(self, line: Line) -> Voxels:
        """Return the voxels as if the whole prediction had been replaced by slope · prediction + offset.

        Means, variances and covariances follow an affine change exactly, so nothing is filtered again.
        """
        mean_x, mean_y, var_x, var_y, cov = self.moments
        slope, offset = line
        moved = Moments(slope * mean_x + offset, mean_y, slope**2 * var_x, var_y, slope * cov)
        return Voxels(slope * self.prediction + offset, self.truth, moved)


VOXEL_METRICS: dict[str, Callable[[Voxels, float], float | None]] = {
    "mse": lambda voxels, _: mse(voxels.prediction, voxels.truth),
    "mae": lambda voxels, _: mae(voxels.prediction, voxels.truth),
    "psnr": lambda voxels, data_range: psnr(mse(voxels.prediction, voxels.truth), data_range),
    "ssim": lambda voxels, data_range: float(ssim_from_moments(voxels.moments, data_range).mean(dtype=torch.float64)),
    "nmi": lambda voxels, _: nmi(voxels.prediction, voxels.truth),
}
"""Metrics of a region; None where a metric is undefined there."""

AFFINE_INVARIANT = frozenset({"nmi"})
"""Metrics that a linear fit cannot change: recorded once."""


def measure_regions(pair: Pair, preset: Preset) -> list[MetricRecord]:
    """Return the preset's metrics in each region, for each fit (made inside that region), and the contrast measures.

    The whole volume with its background counts only where no other region was given. SSIM is a 3-D map averaged in the
    region.

    Args:
        pair: prediction and truth; the contrast measures need its native image, a brain and an enhancing lesion.
        preset: names metrics, fits and SSIM's window.
    """
    names = [name for name in pair.regions if name != "volume"] or ["volume"]
    union = np.logical_or.reduce([pair.regions[name] for name in names])
    box = bounding_box(union, margin=window_radius(preset.window)) or (slice(0, 1),) * 3
    prediction, truth = (np.ascontiguousarray(image[box]) for image in (pair.prediction, pair.truth))
    moments = _moments(prediction, truth, union[box], preset.window)
    flat = Moments(*(moment.reshape(1, 1, -1) for moment in moments))
    records: list[MetricRecord] = []
    for name in names:
        inside = np.flatnonzero(pair.regions[name][box])
        index = torch.from_numpy(inside)
        voxels = Voxels(prediction.ravel()[inside], truth.ravel()[inside], Moments(*(m[..., index] for m in flat)))
        records += _region_records(pair, preset, name, voxels)
    return records + _contrast_records(pair, preset)


def measure_slices(pair: Pair, preset: Preset) -> list[MetricRecord]:
    """Return the preset's metrics of whole axial slices, averaged over the slices that hold enough brain.

    A slice counts where brain covers more than pair.info.min_brain_fraction of it. A PSNR that is infinite is left out
    of the mean. SSIM is the mean of the 2-D map without a border of half a window (scikit-image). `ssim_range2` is the
    same map with twice the data range.

    Args:
        pair: prediction and truth in [0, range], with the region `brain`.
        preset: names metrics and SSIM's window.

    Raises:
        InputError: without a brain region, or for a truth far out of [0, range].
    """
    if "brain" not in pair.regions:
        needs = "a brain mask to choose slices"
        raise InputError(f"preset {preset.name} needs {needs}.", do="give --mask, or a region named 'brain'")
    require_normalised(pair, preset)
    values = _slice_values(pair, brain_slices(pair), preset.window)
    return [_slice_record(pair, preset, metric, values[metric]) for metric in preset.metrics]


def require_normalised(pair: Pair, preset: Preset) -> None:
    """Raise InputError where the truth lies far out of [0, range].

    Args:
        pair: its truth and data range are looked at.
        preset: the one that asks, for the message.

    Raises:
        InputError: where the truth reaches below −0.5 or above 1.5 of the range.
    """
    low, high = float(pair.truth.min()) / pair.data_range, float(pair.truth.max()) / pair.data_range
    if low < -0.5 or high > 1.5:
        raise InputError(
            f"preset {preset.name} is defined on images normalised to [0, {pair.data_range:g}].",
            found=f"a reference from {pair.truth.min():g} to {pair.truth.max():g}",
            do="normalise each volume to its least and greatest value",
        )


def brain_slices(pair: Pair) -> np.ndarray:
    """Return the axial slices (n,) of which brain covers more than pair.info.min_brain_fraction."""
    return np.flatnonzero(pair.regions["brain"].mean(axis=(0, 1)) > pair.info.min_brain_fraction)


def batch_of(images: np.ndarray) -> torch.Tensor:
    """Return images (b, *space) as a tensor (b, 1, *space)."""
    return torch.from_numpy(np.ascontiguousarray(images)).unsqueeze(1)


def _moments(prediction: np.ndarray, truth: np.ndarray, inside: np.ndarray, window: Window) -> Moments:
    """Return the local moments of two volumes, filtered about their means inside.

    In single precision E[x²] − E[x]² of a nearly constant prediction is mostly rounding, which a steep linear fit would
    raise above every signal.
    """
    chosen = inside if inside.any() else np.ones_like(inside)
    centres = [image[chosen].mean(dtype=np.float64).astype(image.dtype) for image in (prediction, truth)]
    x, y = (batch_of((image - centre)[None]) for image, centre in zip((prediction, truth), centres, strict=True))
    mean_x, mean_y, var_x, var_y, cov = local_moments(x, y, window=window)
    return Moments(mean_x + float(centres[0]), mean_y + float(centres[1]), var_x, var_y, cov)


def _region_records(pair: Pair, preset: Preset, region: str, voxels: Voxels) -> list[MetricRecord]:
    """Return the records of one region: each metric for each fit, or why it is missing."""
    n, records = voxels.truth.size, []
    for fit in preset.fits:
        metrics = [metric for metric in preset.metrics if fit == "none" or metric not in AFFINE_INVARIANT]
        reason = "the region is empty" if n == 0 else ""
        if fit == "linear" and 0 < n < MIN_FIT_VOXELS:
            reason = f"a linear fit needs {MIN_FIT_VOXELS} voxels"
        fitted = voxels if fit == "none" or reason else voxels.after(linear_fit(voxels.prediction, voxels.truth))
        for metric in metrics:
            value = None if reason else VOXEL_METRICS[metric](fitted, pair.data_range)
            why = reason or ("" if value is not None else "both images are constant in the region")
            how = "mean of the map" if metric == "ssim" else "voxels"
            records.append(
                make_record(pair, preset, metric, value, region=region, aggregation=how, fit=fit, n=n, reason=why)
            )
    return records


def _contrast_records(pair: Pair, preset: Preset) -> list[MetricRecord]:
    """Return each contrast measure of prediction and truth (`_truth`), and their absolute difference (`_error`)."""
    if pair.native is None:
        return []
    lesion, tissue = enhancing_lesion(pair.regions), reference_tissue(pair.regions)
    if lesion is None or tissue is None:
        reason = "no enhancing lesion" if lesion is None else "no brain outside of the lesion"
        blank = [name + end for name in ENHANCEMENT_MEASURES for end in ("", "_truth", "_error")]
        return [
            make_record(
                pair, preset, name, None, region="enhancing", aggregation="voxels", fit="none", n=0, reason=reason
            )
            for name in blank
        ]
    region, mask = lesion
    predicted = enhancement_measures(pair.prediction, pair.native, mask, tissue)
    true = enhancement_measures(pair.truth, pair.native, mask, tissue)
    records = []
    for name in ENHANCEMENT_MEASURES:
        a, b = predicted[name], true[name]
        error = None if a is None or b is None else abs(a - b)
        for metric, value in ((name, a), (f"{name}_truth", b), (f"{name}_error", error)):
            why = "" if value is not None else "division by zero"
            n = int(mask.sum())
            records.append(
                make_record(
                    pair, preset, metric, value, region=region, aggregation="voxels", fit="none", n=n, reason=why
                )
            )
    return records


def in_parts(slices: np.ndarray) -> list[np.ndarray]:
    """Return slice numbers (n,) 32 at a time, so that what is computed of them needs little memory."""
    return [slices[start : start + 32] for start in range(0, slices.size, 32)]


def _slice_values(pair: Pair, slices: np.ndarray, window: Window) -> dict[str, np.ndarray]:
    """Return each metric of each slice, in float64 (n,); 32 slices at a time, so that memory stays flat."""
    radius = window_radius(window)
    inner = (slice(None), 0, slice(radius, -radius or None), slice(radius, -radius or None))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("mse", "mae", "psnr", "ssim", "ssim_range2")}
    for chosen in in_parts(slices):
        prediction, truth = (np.moveaxis(image[..., chosen], -1, 0) for image in (pair.prediction, pair.truth))
        difference = prediction.astype(np.float64) - truth
        squared = (difference**2).mean(axis=(1, 2))
        parts["mse"].append(squared)
        parts["mae"].append(np.abs(difference).mean(axis=(1, 2)))
        parts["psnr"].append(np.array([psnr(float(value), pair.data_range) for value in squared]))
        moments = local_moments(batch_of(prediction), batch_of(truth), window=window)
        for name, data_range in (("ssim", pair.data_range), ("ssim_range2", 2 * pair.data_range)):
            similarity = ssim_from_moments(moments, data_range)[inner].mean(dim=(1, 2), dtype=torch.float64)
            parts[name].append(similarity.numpy())
    return {name: np.concatenate(part) if part else np.empty(0) for name, part in parts.items()}


def _slice_record(pair: Pair, preset: Preset, metric: str, values: np.ndarray) -> MetricRecord:
    finite = values[np.isfinite(values)]
    perfect = values.size - finite.size
    if values.size == 0:
        value, reason = None, "no slice holds enough brain"
    elif np.isnan(values).all():
        value, reason = None, "slices are smaller than the window"
    elif finite.size == 0:
        value, reason = math.inf, ""
    else:
        value, reason = float(finite.mean()), f"{perfect} perfect slices left out" if perfect else ""
    how = {"region": "volume", "aggregation": "mean of slices", "fit": "none"}
    return make_record(pair, preset, metric, value, n=values.size, reason=reason, **how)


def make_records(
    pair: Pair, preset: Preset, values: Mapping[str, float | None], *, n: int, reason: str, **how: str
) -> list[MetricRecord]:
    """Return a record for each metric.

    Args:
        pair: tells the case, contrast, predictor and data range.
        preset: tells its name, dimension and clip.
        values: metric → value; None where it is missing.
        n: voxels, or slices.
        reason: why a value is missing, for those that are.
        **how: region, aggregation and fit.
    """
    return [
        make_record(pair, preset, name, value, n=n, reason=reason if value is None else "", **how)
        for name, value in values.items()
    ]


def make_record(
    pair: Pair, preset: Preset, metric: str, value: float | None, *, n: int, reason: str, **how: str
) -> MetricRecord:
    """Return a record of one metric; the data range of `ssim_range2` is twice the pair's.

    Args:
        pair: tells the case, contrast, predictor and data range.
        preset: tells its name, dimension and clip.
        metric: its name.
        value: None where it is missing.
        n: voxels, or slices.
        reason: why the value is missing, or what was left out of it; else empty.
        **how: region, aggregation and fit.
    """
    return MetricRecord(
        metric=metric,
        value=value,
        data_range=2 * pair.data_range if metric == "ssim_range2" else pair.data_range,
        dimension=preset.dimension,
        clip=f"{preset.clip[0]:g}..{preset.clip[1]:g}" if preset.clip else "none",
        case=pair.info.case,
        contrast=pair.info.contrast,
        preset=preset.name,
        predictor=pair.info.predictor,
        n=n,
        reason=reason,
        **how,
    )
