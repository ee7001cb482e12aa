"""The contrast measures return the enhancement that was put in."""

from __future__ import annotations

import numpy as np
import pytest

from mrsynth.metrics.contrast import enhancement_measures, enhancing_lesion, reference_tissue


def test_known_enhancement_is_measured() -> None:
    draw = np.random.default_rng(0)
    native = draw.normal(100, 5, (20, 20, 20))
    lesion = np.zeros(native.shape, bool)
    lesion[8:12, 8:12, 8:12] = True
    after = np.where(lesion, 1.6 * native, native)
    found = enhancement_measures(after, native, lesion, ~lesion)
    assert found["enhancement_percent"] == pytest.approx(60)
    assert found["lesion_to_brain_ratio"] == pytest.approx(1.6, rel=0.02)
    assert found["cnr"] == pytest.approx(60 / 5, rel=0.05)


def test_division_by_zero_is_missing() -> None:
    image, lesion = np.zeros((4, 4, 4)), np.zeros((4, 4, 4), bool)
    lesion[0] = True
    assert set(enhancement_measures(image, image, lesion, ~lesion).values()) == {None}


def test_label_goes_before_difference_and_lesion_is_no_reference() -> None:
    lesion = np.zeros((4, 4, 4), bool)
    lesion[0] = True
    brain = np.ones((4, 4, 4), bool)
    regions = {"brain": brain, "lesion": lesion, "enhancing": brain, "enhancing_tumour": lesion}
    assert enhancing_lesion(regions) == ("enhancing_tumour", lesion)
    assert enhancing_lesion({"brain": brain, "enhancing": ~brain}) is None
    assert reference_tissue(regions) is None
    tissue = reference_tissue({"brain": brain, "lesion": lesion})
    assert tissue is not None
    assert not (tissue & lesion).any()
