"""Flags: none on a sound case, a sentence for each thing that is wrong on purpose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrsynth.core.image import Case
from mrsynth.phantom import simulate_subject
from mrsynth.phantom.draw import SubjectSettings
from mrsynth.prepare.warnings import flags_of
from mrsynth.steps import run_steps

STEPS = [{"brain_mask": {}}, {"zscore": {}}]


@pytest.fixture(scope="module")
def case() -> Case:
    return simulate_subject(1, SubjectSettings(spacing_mm=2))


def flags(case: Case) -> list[str]:
    prepared, records = run_steps(case, STEPS)
    return flags_of(prepared, records)


def with_t2(case: Case, data: np.ndarray) -> Case:
    return replace(case, images={**case.images, "t2": case.images["t2"].with_data(data)})


def test_a_sound_case_has_no_flag(case: Case):
    assert flags(case) == []


def test_a_contrast_out_of_place_is_named(case: Case):
    found = flags(with_t2(case, np.roll(case.images["t2"].data, 3, axis=2)))
    assert len(found) == 1
    assert "t2 seems to lie" in found[0]
    assert 4 < float(found[0].split("lie ")[1].split(" mm")[0]) < 8


def test_a_mirrored_contrast_is_named(case: Case):
    assert any("t2" in flag and "mirrored" in flag for flag in flags(with_t2(case, case.images["t2"].data[::-1])))


def test_half_a_brain_is_named(case: Case):
    brain = case.masks["brain"]
    half = np.where(np.arange(brain.data.shape[2]) < 45, 0, brain.data)
    found = flags(replace(case, masks={"brain": brain.with_data(half)}))
    assert any("ml" in flag for flag in found)


def test_a_brain_that_is_cut_off_is_named(case: Case):
    masks = {"brain": replace(case.masks["brain"], data=case.masks["brain"].data[:, :70])}
    images = {name: replace(image, data=image.data[:, :70]) for name, image in case.images.items()}
    assert any("cut off at the front" in flag for flag in flags(replace(case, images=images, masks=masks)))


def test_an_image_that_ends_before_the_brain_does_is_named(case: Case):
    """Its share is that of the brain's voxels above the last slice, also on a finer, turned grid."""
    inside = case.masks["brain"].data > 0
    top = int(np.flatnonzero(inside.any(axis=(0, 1)))[-1]) - 12
    t2 = replace(case.images["t2"], data=case.images["t2"].data[..., : top + 1])
    short = replace(case, images={**case.images, "t2": t2})
    for steps in ([], [{"reorient": {"axes": "LPS"}}], [{"pad_or_crop": {"shape": [80, 96, 80], "around": "brain"}}]):
        prepared, records = run_steps(short, [{"resample": {"to": "t1"}}, STEPS[0], *steps, STEPS[1]])
        (found,) = [flag for flag in flags_of(prepared, records) if "ends before" in flag]
        left = prepared.masks["brain"].data > 0
        lost = inside[..., top + 1 :].sum()
        assert found.startswith("t2 ends before the brain does: ")
        assert float(found.split(": ")[1].split(" %")[0]) == pytest.approx(100 * lost / left.sum(), abs=1)
    prepared, records = run_steps(case, [{"resample": {"to": "t1"}}, *STEPS])
    assert flags_of(prepared, records) == []


def test_what_a_normalisation_clipped_is_named(case: Case):
    prepared, records = run_steps(case, [*STEPS, {"window": {"low": 0, "high": 1}}])
    assert any("window clipped" in flag and "t1" in flag for flag in flags_of(prepared, records))
