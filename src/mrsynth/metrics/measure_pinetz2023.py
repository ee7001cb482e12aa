"""The convention of pinetz2023 (§3 and supplement): how contrast and noise of a low-dose image are met."""

from __future__ import annotations

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.metrics.measure import Preset, make_records, measure_regions
from mrsynth.metrics.metrics import mae
from mrsynth.metrics.noise_level import grain_sd, residual_sd
from mrsynth.metrics.pair import Pair
from mrsynth.metrics.record import MetricRecord

ENHANCING, REST = "enhancing", "non_enhancing"


def measure_pinetz2023(pair: Pair, preset: Preset) -> list[MetricRecord]:
    """Return PSNR, SSIM, MAE and MSE of the volume and of the brain, MAE_CE and MAE_sigma.

    Beside MAE_CE stands the error of the mean (mae_ce_mean), beside MAE_sigma that of the grain (mae_grain) and the
    correlation of what is added to the native scan (residual_correlation).

    Args:
        pair: with the region `brain`. MAE_CE needs the region `enhancing`, MAE_sigma `non_enhancing` (`build_regions`
            with native and standard dose, delta 0.1) and the native scan; where a case lacks them they are missing,
            with a reason.
        preset: names the metrics of `measure_regions` and SSIM's window.

    Raises:
        InputError: where the brain is no region.
    """
    if "brain" not in pair.regions:
        raise InputError(f"preset {preset.name} needs a brain mask.", do="give --mask, or a region named 'brain'")
    records = []
    for name in ("volume", "brain"):
        mask = pair.regions[name] if name in pair.regions else np.ones(pair.truth.shape, bool)
        part = Pair(pair.prediction, pair.truth, {name: mask}, pair.data_range, pair.info)
        records += measure_regions(part, preset)
    return records + _contrast(pair, preset) + _noise(pair, preset)


def _contrast(pair: Pair, preset: Preset) -> list[MetricRecord]:
    """Return the error of the voxels that enhance (mae_ce), and of their mean (mae_ce_mean)."""
    mask = pair.regions.get(ENHANCING)
    n = 0 if mask is None else int(np.count_nonzero(mask))
    values: dict[str, float | None] = dict.fromkeys(("mae_ce", "mae_ce_mean"))
    if mask is not None and n:
        prediction, truth = pair.prediction[mask].astype(np.float64), pair.truth[mask].astype(np.float64)
        values = {"mae_ce": mae(prediction, truth), "mae_ce_mean": abs(float(prediction.mean() - truth.mean()))}
    reason = "" if n else "no native and standard-dose image" if mask is None else "the region is empty"
    how = {"region": ENHANCING, "aggregation": "voxels", "fit": "none"}
    return make_records(pair, preset, values, n=n, reason=reason, **how)


def _noise(pair: Pair, preset: Preset) -> list[MetricRecord]:
    """Return the error of the noise's standard deviation where nothing enhances, by residual and by grain."""
    mask, names = pair.regions.get(REST), ("sigma", "grain")
    values: dict[str, float | None] = {f"{n}{end}": None for n in names for end in ("", "_truth")}
    if mask is not None:
        for image, end in ((pair.prediction, ""), (pair.truth, "_truth")):
            if pair.native is not None:
                values[f"sigma{end}"] = residual_sd(image, pair.native, mask)
            values[f"grain{end}"] = grain_sd(image, mask)
    for name in names:
        a, b = values[name], values[f"{name}_truth"]
        values[f"mae_{name}"] = None if a is None or b is None else abs(a - b)
    values["residual_correlation"] = None if mask is None else _correlation(pair, mask)
    n = 0 if mask is None else int(np.count_nonzero(mask))
    reason = "no native image, or too few voxels that do not enhance"
    how = {"region": REST, "aggregation": "voxels", "fit": "none"}
    return make_records(pair, preset, values, n=n, reason=reason, **how)


def _correlation(pair: Pair, mask: np.ndarray) -> float | None:
    """Return the correlation of what prediction and truth add to the native scan, None where one of them adds nothing
    that varies."""
    if pair.native is None:
        return None
    added = [(image[mask] - pair.native[mask]).astype(np.float64) for image in (pair.prediction, pair.truth)]
    if min(one.size for one in added) < 2 or min(one.std() for one in added) == 0:
        return None
    return float(np.corrcoef(*added)[0, 1])


PINETZ2023 = Preset(
    name="pinetz2023",
    note=(
        "Pinetz et al. 2023, section 3 and supplement, on images whose 1 is the 0.95 quantile of the native brain. "
        "PSNR (maximum 1) and SSIM in 3-D, of the whole volume and of the brain; the paper names neither region nor "
        "window: 7×7×7 box. Contrast-enhancing (CE) voxels: standard dose − native > 0.1. mae_ce: mean absolute "
        "error over them, as the text says; mae_ce_mean: absolute error of their mean, as the supplement takes the "
        "enhancement. The paper's 0.011 lies below what two draws of its own noise differ by (its ℓ1 images miss "
        "the sigma by 0.012, so sigma is no less, and the difference 1.13 sigma): its table probably holds the "
        "latter. mae_sigma: absolute error of the standard deviation of image − native over the rest of the brain, "
        "which the supplement calls noise; it gives no formula. mae_grain: the same of the noise alone, estimated "
        "within each image by a mask that cancels anatomy (Immerkær 1996, with the median), ours. "
        "residual_correlation: of what prediction and truth add to the native scan there, ours. The mean over "
        "patients is taken by the summary."
    ),
    measure=measure_pinetz2023,
    metrics=("psnr", "ssim", "mae", "mse"),
    dimension=3,
    data_range=1.0,
)
