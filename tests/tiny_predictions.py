"""What mrsynth synthesize says of predictions that were made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mrsynth.io.predictions import (
    Dosage,
    PredictedImage,
    Prediction,
    PredictionsRecord,
)
from mrsynth.io.way import InferenceWay, MissingWay, Way

Images = Mapping[str, Sequence[tuple[str, float | None]]]
"""Case → its files, each with the dose that the model was told."""


def predicted(images: Images, failed: Mapping[str, str] | None = None, weights: str = "0" * 64) -> PredictionsRecord:
    """Return the record of predictions on the grid of the T1."""
    way = Way(
        weights_sha256=weights,
        like="t1",
        units="range",
        missing=MissingWay(policy="refuse", without=[], imputers={}),
        imputers_saw={},
        inference=InferenceWay(overlap=None, precision="32"),
    )
    cases = {
        case: Prediction(
            images=[
                PredictedImage(file=file, dosage=None if dose is None else Dosage(dose=dose, b0_tesla=3, seed=0))
                for file, dose in files
            ],
            like="t1",
        )
        for case, files in images.items()
    }
    common = {"version": "0", "recipe": "tiny", "run": "/run", "model_inputs": ["t1"], "target": "t2", "range": (0, 1)}
    return PredictionsRecord(**common, way=way, cases=cases, failed=dict(failed or {}))  # type: ignore[arg-type]
