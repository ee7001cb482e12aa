"""A real patient, judged by every preset: the numbers exist, and the conventions differ as the contract says."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mrsynth.metrics import LinearIdentity, build_regions, evaluate_pair


@pytest.mark.real
def test_the_same_prediction_scores_apart_by_convention(real_data: Path) -> None:
    case = real_data / "brats" / "BraTS2021_01481"
    image = {k: np.asarray(nib.load(case / f"{case.name}_{k}.nii.gz").dataobj) for k in ("t1", "t2", "seg")}
    brain = image["t1"] > 0
    t1, t2 = (np.clip(image[k] / np.percentile(image[k][brain], 99.5), 0, 1) * brain for k in ("t1", "t2"))
    baseline = LinearIdentity()
    baseline.update({"t1": t1}, t2, brain)
    prediction = baseline.predict({"t1": t1}, brain)
    regions = build_regions(t2.shape, brain, image["seg"])
    records = [
        r
        for preset in ("default", "osman2022", "chen2022")
        for r in evaluate_pair(prediction, t2.astype(np.float32), regions, 1.0, preset)
    ]
    assert all(r.value is not None and np.isfinite(r.value) for r in records)
    psnr = {(r.preset, r.region): r.value for r in records if r.metric == "psnr" and r.fit == "none"}
    assert psnr["osman2022", "volume"] > psnr["default", "brain"] + 5
    fits = [r.value for r in records if r.metric == "mse" and r.region == "brain"]
    assert fits[0] == pytest.approx(fits[1], rel=1e-4)  # the baseline was fitted on this very brain
