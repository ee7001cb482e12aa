"""How chen2022 measures: errors over the voxels of brain and tumour, similarity slice by slice inside the brain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.tensors import Window, masked_mean, ssim_map, window_radius
from mrsynth.metrics.measure import Preset, batch_of, brain_slices, make_record, require_normalised
from mrsynth.metrics.metrics import mae, mse, psnr
from mrsynth.metrics.pair import Pair
from mrsynth.metrics.record import MetricRecord
from mrsynth.metrics.regions import bounding_box

TUMOUR_CORE: tuple[str, ...] = ("enhancing_tumour", "necrosis", "non_enhancing_tumour")
"""The regions of `tumour`: its core, without the oedema around it and without plaques of another disease."""


def measure_tumour(pair: Pair, preset: Preset) -> list[MetricRecord]:
    """Return the preset's errors in brain, tumour and each lesion, and the brain's similarity (chen2022 §IV-A).

    MAE, MSE and PSNR are those of all voxels of a region. SSIM: the map of each axial slice is averaged over the
    slice's brain, then over the slices that hold enough brain (pair.info.min_brain_fraction), as the paper keeps
    foreground slices only. A case without tumour has missing values there, with the reason.

    Args:
        pair: prediction and truth in [0, range], with the region `brain`.
        preset: names the errors and SSIM's window.

    Raises:
        InputError: without a brain region, or for a truth far out of [0, range].
    """
    if "brain" not in pair.regions:
        raise InputError(f"preset {preset.name} needs a brain mask.", do="give --mask, or a region named 'brain'")
    require_normalised(pair, preset)
    records: list[MetricRecord] = []
    for name, mask, reason in _regions(pair):
        values = _errors(pair, mask) if mask.any() else dict[str, float]()
        for metric in (m for m in preset.metrics if m != "ssim"):
            value, n = values.get(metric), int(mask.sum())
            records.append(
                make_record(
                    pair, preset, metric, value, region=name, aggregation="voxels", fit="none", n=n, reason=reason
                )
            )
    return [*records, _similarity(pair, preset)]


def _regions(pair: Pair) -> Iterator[tuple[str, np.ndarray, str]]:
    """Yield name and mask of each region, and why an empty one is empty."""
    regions = pair.regions
    yield "brain", regions["brain"], "" if regions["brain"].any() else "the region is empty"
    none = np.zeros(pair.truth.shape, bool)
    tumour = np.logical_or.reduce([none, *(regions[name] for name in TUMOUR_CORE if name in regions)])
    why = "the case has no tumour label" if "lesion" in regions else "the case has no mask of its lesions"
    yield "tumour", tumour, "" if tumour.any() else why
    for name, mask in regions.items():
        if name in ("lesion", "enhancing_tumour") or name.startswith("lesion#"):
            yield name, mask, "" if mask.any() else "the region is empty"


def _errors(pair: Pair, mask: np.ndarray) -> dict[str, float]:
    """Return the errors over the voxels of a region that is not empty."""
    prediction, truth = pair.prediction[mask], pair.truth[mask]
    squared = mse(prediction, truth)
    return {"mse": squared, "mae": mae(prediction, truth), "psnr": psnr(squared, pair.data_range)}


def _similarity(pair: Pair, preset: Preset) -> MetricRecord:
    """Return the mean over slices of the map's mean over the slice's brain."""
    slices = brain_slices(pair)
    values = _slice_similarities(pair, slices, preset.window)
    value, reason = (float(values.mean()), "") if slices.size else (None, "no slice holds enough brain")
    how = {"region": "brain", "aggregation": "mean of slices, each of the map in the region", "fit": "none"}
    record = make_record(pair, preset, "ssim", value, n=slices.size, reason=reason, **how)
    return replace(record, dimension=2)


def _slice_similarities(pair: Pair, slices: np.ndarray, window: Window) -> np.ndarray:
    """Return each slice's mean of the map over its brain, in float64 (n,); 32 slices at a time, so memory stays flat.

    Only the brain's bounding box is filtered, with the margin that its windows see.
    """
    brain = pair.regions["brain"]
    x, y, _ = bounding_box(brain, margin=window_radius(window)) or (slice(0, 1),) * 3
    means = []
    for start in range(0, slices.size, 32):
        chosen = slices[start : start + 32]
        prediction, truth, inside = (
            np.moveaxis(v[x, y][..., chosen], -1, 0) for v in (pair.prediction, pair.truth, brain)
        )
        similarity = ssim_map(batch_of(prediction), batch_of(truth), data_range=pair.data_range, window=window)
        means.append(masked_mean(similarity.double(), batch_of(inside)).numpy())
    return np.concatenate(means) if means else np.empty(0)
