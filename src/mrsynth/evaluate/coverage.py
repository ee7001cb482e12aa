"""How often the truth lies inside the interval that an error map draws around an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mrsynth.core.image import grid_error
from mrsynth.evaluate.truth import Truth
from mrsynth.io import read_prediction
from mrsynth.io.predictions import ErrorMap, verified
from mrsynth.metrics import MetricRecord, build_regions
from mrsynth.model import Contract

REGIONS = ("brain", "lesion")


def read_error(folder: Path, error: ErrorMap, truth: Truth, contract: Contract) -> np.ndarray:
    """Read the error map of a prediction.

    Args:
        folder: of the predictions.
        error: as the record lists it.
        truth: the case, on whose grid it must lie.
        contract: the model's.

    Returns:
        (x, y, z): half the width of the interval.

    Raises:
        InputError: where it is another file than the model made, or lies on another grid.
    """
    image = read_prediction(verified(folder, error), contract.target)
    if wrong := grid_error(truth.row.case, truth.target, image):
        raise wrong
    return image.data


def coverage(truth: Truth, prediction: np.ndarray, half: np.ndarray, preset: str, width: float) -> list[MetricRecord]:
    """Return the share of voxels whose error is at most the map's, and the map's mean, in the brain and in lesions.

    A wide interval holds everything: the two are read together.

    Args:
        truth: the case.
        prediction: (x, y, z), not fitted to anything.
        half: (x, y, z).
        preset: the metric convention beside whose values these stand.
        width: the data range.
    """
    regions = build_regions(truth.target.data.shape, truth.brain, truth.lesion)
    inside = np.abs(prediction - truth.target.data) <= half
    records = []
    for region in REGIONS:
        if (mask := regions.get(region)) is None:
            continue
        n = int(mask.sum())
        for metric, values in (("coverage", inside), ("half_width", half)):
            records.append(
                MetricRecord(
                    metric=metric,
                    value=float(values[mask].mean()) if n else None,
                    region=region,
                    data_range=width,
                    dimension=3,
                    aggregation="voxels",
                    clip="none",
                    case=truth.row.case,
                    contrast=truth.target.contrast,
                    preset=preset,
                    predictor="model",
                    fit="none",
                    n=n,
                    reason="" if n else "the region is empty",
                )
            )
    return records
