"""The conventions of the SynthRAD challenges of 2023 and 2025: synthetic CT in HU, inside a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from mrsynth.core.tensors import ssim_map
from mrsynth.metrics.measure import Preset, batch_of, make_record
from mrsynth.metrics.metrics import mae, mse, psnr
from mrsynth.metrics.pair import Pair
from mrsynth.metrics.record import MetricRecord

LEAST_HU = -1024.0
"""Where both challenges' ranges begin."""

BORDER = 3
"""Voxels at each face of the volume that no similarity counts: half a window of 7."""

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales, finest first (Wang, Simoncelli & Bovik 2003, Asilomar, §3.2)."""

LEAST_EDGE = 97
"""Smaller volumes are continued by their border voxels up to this edge, so that five scales fit."""


def measure_synthrad(pair: Pair, preset: Preset) -> list[MetricRecord]:
    """Return MAE (of the values as they are), PSNR and similarity (clipped first) in the brain, or in the volume.

    For the similarity both images are set to the least value of the range outside of the mask.

    Args:
        pair: prediction and truth in HU; without a region `brain` the whole volume is measured.
        preset: names the metrics; the similarity is its `ssim` or `ms_ssim`.
    """
    region = "brain" if "brain" in pair.regions else "volume"
    mask = pair.regions.get(region, np.ones(pair.truth.shape, bool))
    low, high = LEAST_HU, LEAST_HU + pair.data_range
    records = []
    for metric in preset.metrics:
        value = None
        if mask.any():
            prediction, truth = (
                image if metric == "mae" else np.clip(image, low, high) for image in (pair.prediction, pair.truth)
            )
            value = METRICS[metric](prediction, truth, mask, (low, pair.data_range))
        reason = "" if value is not None else "the region is empty, or nothing of it lies off the border"
        how = {"region": region, "aggregation": "voxels" if metric in ("mae", "psnr") else "mean of the map"}
        record = make_record(pair, preset, metric, value, n=int(mask.sum()), reason=reason, fit="none", **how)
        records.append(record if metric == "mae" else replace(record, clip=f"{low:g}..{high:g}"))
    return records


def masked_ssim(
    prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray, limits: tuple[float, float]
) -> float | None:
    """Return the mean of the 3-D map of SSIM inside the mask, without the volume's border.

    Args:
        prediction: volume (x, y, z), clipped to the limits.
        truth: the same.
        mask: boolean (x, y, z).
        limits: least value and range.

    Returns:
        The mean; None where nothing of the mask lies off the border.
    """
    x, y = _masked(prediction, mask, limits), _masked(truth, mask, limits)
    return _inner_mean(ssim_map(x, y, data_range=limits[1]), batch_of(mask[None]))


def masked_ms_ssim(
    prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray, limits: tuple[float, float]
) -> float | None:
    """Return MS-SSIM inside the mask: the product over five scales of the mean of the map to the scale's exponent.

    It is as the challenge of 2025 computes it. Luminance counts at every scale; in the paper of MS-SSIM it counts at
    the coarsest alone. A map's values below 0 are 0. Halving takes the mean of voxels 2k − 1 and 2k, with 0 before the
    first; of the mask it takes every second voxel.

    Args:
        prediction: volume (x, y, z), clipped to the limits.
        truth: the same.
        mask: boolean (x, y, z).
        limits: least value and range.

    Returns:
        The product; None where nothing of the mask lies off the border at some scale.
    """
    x, y, inside = _masked(prediction, mask, limits), _masked(truth, mask, limits), batch_of(mask[None]).float()
    x, y, inside = (_filled_up(image) for image in (x, y, inside))
    product = 1.0
    for exponent in EXPONENTS:
        similarity = ssim_map(x, y, data_range=limits[1]).clamp(min=0) ** exponent
        mean = _inner_mean(similarity, inside > 0)
        if mean is None:
            return None
        product *= min(mean, 1.0)
        x, y = (nn.functional.avg_pool3d(nn.functional.pad(image, (1, 0) * 3), 2) for image in (x, y))
        inside = inside[..., ::2, ::2, ::2]
    return product


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]], float | None]] = {
    "mae": lambda prediction, truth, mask, _: mae(prediction[mask], truth[mask]),
    "psnr": lambda prediction, truth, mask, limits: psnr(mse(prediction[mask], truth[mask]), limits[1]),
    "ssim": masked_ssim,
    "ms_ssim": masked_ms_ssim,
}


def _masked(image: np.ndarray, mask: np.ndarray, limits: tuple[float, float]) -> Tensor:
    """Return the image above the least value, 0 outside of the mask: (1, 1, x, y, z) in float64."""
    return batch_of(np.where(mask, image.astype(np.float64) - limits[0], 0.0)[None])


def _filled_up(image: Tensor) -> Tensor:
    """Return (1, 1, x, y, z) with each edge at least LEAST_EDGE, continued by its border voxels."""
    missing = [max(0, LEAST_EDGE - n) for n in image.shape[2:]]
    pads = [side for n in missing[::-1] for side in (n // 2, n - n // 2)]
    return nn.functional.pad(image, pads, mode="replicate")


def _inner_mean(values: Tensor, inside: Tensor) -> float | None:
    x, y, z = (slice(BORDER, n - BORDER) for n in values.shape[2:])
    chosen = values[..., x, y, z][inside[..., x, y, z]]
    return float(chosen.mean(dtype=torch.float64)) if chosen.numel() else None


SYNTHRAD2023 = Preset(
    name="synthrad2023",
    note=(
        "SynthRAD 2023 (Huijben et al. 2024, Med Image Anal 97:103276), as its public evaluation computes it: CT in "
        "HU, inside the mask (here the brain). MAE of the values as they are; PSNR and SSIM clipped to [-1024, 3000] "
        "HU, range 4024. SSIM: 7×7×7 box, both images -1024 HU outside of the mask, map averaged inside."
    ),
    measure=measure_synthrad,
    metrics=("mae", "psnr", "ssim"),
    dimension=3,
    data_range=4024.0,
)

SYNTHRAD2025 = Preset(
    name="synthrad2025",
    note=(
        "SynthRAD 2025, as its public evaluation computes it: CT in HU, inside the mask (here the brain). MAE of the "
        "values as they are; PSNR and MS-SSIM clipped to [-1024, 3071] HU, range 4095. MS-SSIM: five scales, 7×7×7 "
        "box, each map averaged inside the mask; its luminance counts at every scale, which the definition of MS-SSIM "
        "has at the coarsest alone."
    ),
    measure=measure_synthrad,
    metrics=("mae", "psnr", "ms_ssim"),
    dimension=3,
    data_range=4095.0,
)
