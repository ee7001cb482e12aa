"""The table of presets, and the one entry: a pair of volumes and a preset give records."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mrsynth.core.errors import InputError, RecipeError
from mrsynth.core.settings import nearest
from mrsynth.metrics.measure import Preset, measure_regions, measure_slices
from mrsynth.metrics.measure_brasyn import BRASYN
from mrsynth.metrics.measure_li2022 import LI2022
from mrsynth.metrics.measure_pinetz2023 import PINETZ2023
from mrsynth.metrics.measure_synthrad import SYNTHRAD2023, SYNTHRAD2025
from mrsynth.metrics.measure_tumour import measure_tumour
from mrsynth.metrics.pair import PairInfo, checked_pair
from mrsynth.metrics.record import MetricRecord

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="default",
            note=(
                "3-D, inside the brain, each lesion label, each connected lesion and the shell around the lesion; the "
                "data range is declared by the caller. SSIM: 7×7×7 box, sample covariance, map averaged inside the "
                "region. Each value again after the best linear fit of prediction to truth inside the region."
            ),
            measure=measure_regions,
            metrics=("psnr", "ssim", "mae", "mse", "nmi"),
            dimension=3,
            fits=("none", "linear"),
        ),
        Preset(
            name="osman2022",
            note=(
                "Osman and Tamam 2022, section 2.5: whole axial slices, with background, of volumes normalised to "
                "[0, 1]; each metric a slice, then the mean over slices that hold brain. The paper names neither "
                "PSNR's maximum nor SSIM's window; the authors' public code calls scikit-image with its defaults: "
                "maximum 1 for images in [0, 1], a 7×7 box, and, as no data range is given, the range 2 that the "
                "library of 2021 took for float images. So `ssim` has the range of the images, 1, and `ssim_range2` is "
                "the one to hold against the paper's table. There the unit is the slice; here slices are averaged "
                "within a patient first."
            ),
            measure=measure_slices,
            metrics=("psnr", "mae", "mse", "ssim", "ssim_range2"),
            dimension=2,
            data_range=1.0,
        ),
        Preset(
            name="chen2022",
            note=(
                "Chen et al. 2022, section IV-A, on images in [0, 1]: MAE and PSNR (maximum 1) over all voxels of the "
                "brain and of the tumour; SSIM of each axial slice, averaged over the slices that hold brain. The "
                "paper's tumour masks were drawn by experts who are not described further; here `tumour` is the core: "
                "enhancing and non-enhancing tumour and necrosis, without the oedema; `lesion` is all of it. The paper "
                "says that all metrics are 'computed based on the brain region' and not how SSIM's window meets its "
                "edge: the map is that of the whole slice, whose background is 0 in both images, and its mean is taken "
                "inside the brain. The window is the loss's: Gaussian, 1.5 voxels, 11 taps, population covariance."
            ),
            measure=measure_tumour,
            metrics=("psnr", "mae", "mse", "ssim"),
            dimension=3,
            data_range=1.0,
            window="gaussian",
        ),
        PINETZ2023,
        LI2022,
        BRASYN,
        SYNTHRAD2023,
        SYNTHRAD2025,
    )
}
"""Every preset by name."""


def evaluate_pair(
    prediction: np.ndarray,
    reference: np.ndarray,
    regions: Mapping[str, np.ndarray],
    data_range: float | None,
    preset: str = "default",
    *,
    info: PairInfo | None = None,
    native: np.ndarray | None = None,
) -> list[MetricRecord]:
    """Return the records of a prediction beside its truth by a preset.

    Args:
        prediction: the image that was made (x, y, z).
        reference: the true one, of the same shape.
        regions: boolean masks by name (`build_regions`).
        data_range: the range that both images are declared to live on, in their units; None only where the preset
            declares one.
        preset: its name in PRESETS.
        info: case, contrast and predictor; None for a model's prediction of a case without a name.
        native: the image before contrast on the same scale, for the contrast measures.

    Raises:
        InputError: without a data range, for a range other than the preset's, shapes that differ, values that are not
            finite, a constant reference, and where the preset needs a region or a scale that the pair lacks.
        RecipeError: for a preset that does not exist.
    """
    if preset not in PRESETS:
        known = list(PRESETS)
        raise RecipeError(f"no preset '{preset}'.", expected="one of " + ", ".join(known), do=nearest(preset, known))
    chosen = PRESETS[preset]
    declared = _declared_range(chosen, data_range)
    prediction, reference, info = np.asarray(prediction), np.asarray(reference), info or PairInfo()
    pair = checked_pair(prediction, reference, regions, declared, info, native)
    if chosen.clip:
        prediction, reference = (np.clip(image, *chosen.clip) for image in (pair.prediction, pair.truth))
        pair = checked_pair(prediction, reference, regions, declared, info, native)
    return chosen.measure(pair, chosen)


def _declared_range(preset: Preset, data_range: float | None) -> float:
    if data_range is None and preset.data_range is None:
        raise InputError(
            "a data range is needed: the same images score tens of dB apart by range alone.",
            found="no data range",
            expected="the range the recipe declares for its images, e.g. 1.0 for [0, 1]",
            do="give data_range (--range)",
        )
    if data_range is not None and preset.data_range is not None and data_range != preset.data_range:
        raise InputError(
            f"preset {preset.name} is defined for one data range.", found=data_range, expected=preset.data_range
        )
    return preset.data_range if data_range is None else data_range  # type: ignore[return-value]
