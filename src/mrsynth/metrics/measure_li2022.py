"""The convention of li2022 ("Evaluation of DRUNet"): whole slices, and how sharp and how continuous they are."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from mrsynth.metrics.checkerboard import checkerboard
from mrsynth.metrics.measure import Preset, brain_slices, in_parts, make_records, measure_slices
from mrsynth.metrics.pair import Pair
from mrsynth.metrics.record import MetricRecord
from mrsynth.metrics.slice_jumps import mean_step, slice_jump_ratio
from mrsynth.metrics.tenengrad import THRESHOLD, tenengrad


def measure_li2022(pair: Pair, preset: Preset) -> list[MetricRecord]:
    """Return PSNR, SSIM, MSE, RMSE and Tenengrad of the slices that hold brain, and the jumps between slices.

    tenengrad and slice_jump describe the prediction, those with `_truth` the truth. tenengrad_error is the absolute
    difference of the two sharpnesses. checkerboard is how strongly neighbouring pixels alternate (Figure 7).

    Args:
        pair: prediction and truth in [0, range], with the region `brain`.
        preset: names the metrics of `measure_slices`, mse among them, and SSIM's window.

    Raises:
        InputError: as `measure_slices` does.
    """
    records = measure_slices(pair, preset)
    (squared,) = [record for record in records if record.metric == "mse"]
    root = None if squared.value is None else math.sqrt(squared.value)
    records.append(replace(squared, metric="rmse", value=root, aggregation="root of mean of slices"))
    return records + _sharpness(pair, preset) + _jumps(pair, preset)


def _sharpness(pair: Pair, preset: Preset) -> list[MetricRecord]:
    slices = brain_slices(pair)
    sharp = [
        float(_tenengrads(image, slices, pair.data_range).mean()) if slices.size else None
        for image in (pair.prediction, pair.truth)
    ]
    error = None if sharp[0] is None or sharp[1] is None else abs(sharp[0] - sharp[1])
    values = dict(zip(("tenengrad", "tenengrad_truth", "tenengrad_error"), (*sharp, error), strict=True))
    boards = {
        name: float(checkerboard(image[..., slices], pair.data_range).mean()) if slices.size else None
        for name, image in (("checkerboard", pair.prediction), ("checkerboard_truth", pair.truth))
    }
    how: dict[str, Any] = {"region": "volume", "n": slices.size, "reason": "no slice holds enough brain", "fit": "none"}
    records = make_records(pair, preset, values, aggregation=f"mean of slices, T {THRESHOLD:g} of 8 bits", **how)
    return records + make_records(pair, preset, boards, aggregation="mean of slices, of 8 bits", **how)


def _tenengrads(image: np.ndarray, slices: np.ndarray, data_range: float) -> np.ndarray:
    """Return the Tenengrad of the chosen slices (n,); 32 at a time, so that memory stays flat."""
    return np.concatenate([tenengrad(image[..., part], data_range) for part in in_parts(slices)])


def _jumps(pair: Pair, preset: Preset) -> list[MetricRecord]:
    brain = pair.regions["brain"]
    values = {
        "slice_jump": mean_step(pair.prediction, brain, 2),
        "slice_jump_truth": mean_step(pair.truth, brain, 2),
        "slice_jump_ratio": slice_jump_ratio(pair.prediction, pair.truth, brain),
    }
    how = {"region": "brain", "aggregation": "neighbours along z", "fit": "none"}
    reason = "no neighbouring slices with brain, or a constant image"
    return make_records(pair, preset, values, n=int(np.count_nonzero(brain)), reason=reason, **how)


LI2022 = Preset(
    name="li2022",
    note=(
        "Li et al. 2022, equations 9 to 13: whole axial slices, with background, of images in [0, 1]; each metric a "
        "slice, then the mean over slices that hold brain. PSNR's maximum 2^B − 1 on B bits is the maximum 1 here. "
        "The paper names no window of SSIM: a 7×7 box. Tenengrad: mean over the pixels of the Sobel gradient in 8 "
        f"bits' grey levels where it is above T = {THRESHOLD:g}; the paper sums and does not give T. It describes "
        "one image, and noise or checkerboards raise it too (the paper's own U-Net has the highest): "
        "tenengrad_error, the distance to the truth's, is what a method should lower. RMSE: root of the mean over "
        "the slices. checkerboard: amplitude of the alternation of neighbouring pixels, ours. "
        "slice_jump: mean absolute difference of neighbouring slices in the brain; slice_jump_ratio: "
        "that over the same within the slices, beside the truth's; above 1 where slices jump, the limitation that "
        "the paper names. Table 4's intervals fit about 310 slices a group, T1w and T2w together, not 5 patients; "
        "here slices are averaged within a patient first."
    ),
    measure=measure_li2022,
    metrics=("psnr", "ssim", "mse"),
    dimension=2,
    data_range=1.0,
)
