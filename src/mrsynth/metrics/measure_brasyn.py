"""The convention of the BraSyn challenge: similarity of the tumour and of the rest, each on a volume of zeros."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mrsynth.core.tensors import ssim_map
from mrsynth.metrics.measure import Preset, batch_of, make_record
from mrsynth.metrics.pair import Pair
from mrsynth.metrics.record import MetricRecord

PERCENTILES = (0.5, 99.5)


def measure_brasyn(pair: Pair, preset: Preset) -> list[MetricRecord]:
    """Return SSIM of the lesion and of everything else; both are missing, with the reason, for a case without lesion.

    Args:
        pair: prediction and truth; its region `lesion` is the tumour.
        preset: names SSIM's window.
    """
    lesion = pair.regions.get("lesion", np.zeros(pair.truth.shape, bool))
    prediction, truth = (scaled(image) for image in (pair.prediction, pair.truth))
    records = []
    for name, mask in (("lesion", lesion), ("non_lesion", ~lesion)):
        value = None
        if lesion.any():
            x, y = (batch_of((image * mask)[None]) for image in (prediction, truth))
            value = float(ssim_map(x, y, data_range=1.0, window=preset.window).mean(dtype=torch.float64))
        record = make_record(
            pair,
            preset,
            "ssim",
            value,
            n=int(np.count_nonzero(mask)),
            reason="" if lesion.any() else "the case has no lesion",
            region=name,
            aggregation="mean of the map over the volume, 0 outside of the region",
            fit="none",
        )
        percentiles = f"{PERCENTILES[0]:g}..{PERCENTILES[1]:g} percentile of each image"
        records.append(replace(record, data_range=1.0, clip=percentiles))
    return records


def scaled(image: np.ndarray) -> np.ndarray:
    """Return an image clipped to its own percentiles (the lower no less than 0) and brought to [0, 1]."""
    low, high = np.percentile(image, PERCENTILES)
    low = max(float(low), 0.0)
    if high <= low:
        return np.zeros_like(image)
    return ((np.clip(image, low, high) - low) / (high - low)).astype(image.dtype)


BRASYN = Preset(
    name="brasyn",
    note=(
        "BraSyn of BraTS 2023 (Li et al. 2023, arXiv:2305.09011), as its public script means it: each image by itself "
        "clipped to its 0.5 and 99.5 percentiles, background included, and brought to [0, 1]; then all but the tumour "
        "(any label) is set to 0 in both and the 3-D map of SSIM (Gaussian, 1.5 voxels) is averaged over the whole "
        "volume, zeros included, and the same for all but the rest. The range is 1; the script gives its library none, "
        "which then takes the larger extent of the two masked images. So `lesion` is near 1 whatever the tumour looks "
        "like, and grows as the tumour shrinks. The challenge's Dice of a segmentation network is not computed."
    ),
    measure=measure_brasyn,
    metrics=("ssim",),
    dimension=3,
    window="gaussian",
)
