from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mrsynth.core.image import Case, Image
from mrsynth.core.seeds import generator
from mrsynth.steps import invert_steps, run_steps
from small_cases import ball, brain_case


def ct_case(seed: int = 0) -> Case:
    """Tissue, bone, air and the padding outside a scanner's round field of view, without any mask."""
    hu = generator(seed, "hu").normal(40, 30, (12, 12, 8)).astype(np.float32)
    hu[0], hu[1], hu[2] = -3024, -1000, 1500
    return Case({"ct": Image(hu, np.eye(4), "ct"), "t1": Image(np.abs(hu), np.eye(4), "t1")}, {}, {"case": "ct"})


def test_ct_window_needs_no_mask_and_leaves_other_images_alone():
    case = ct_case()
    after, records = run_steps(case, [{"ct_window": {"level": 40, "width": 80}}])
    hu, unit = case.images["ct"].data, after.images["ct"].data
    assert unit.dtype == np.float32
    assert np.all(unit[:2] == 0)
    assert np.all(unit[2] == 1)
    inside = (hu >= 0) & (hu <= 80)
    np.testing.assert_allclose(unit[inside], hu[inside] / 80, atol=1e-6)
    np.testing.assert_array_equal(after.images["t1"].data, case.images["t1"].data)
    found = records[0]["images"]
    assert found["ct"] == {"low": 0, "high": 80, "clipped": np.count_nonzero(~inside), "padding": 12 * 8}
    assert found["t1"] == {}
    back = invert_steps(after.images["ct"], records).data
    np.testing.assert_allclose(back[inside], hu[inside], atol=1e-5 * 80)


def test_padding_below_air_counts_as_air():
    """A window wide enough to hold the padding value shows it as air."""
    after, _ = run_steps(ct_case(), [{"ct_window": {"level": 0, "width": 8000}}])
    assert after.images["ct"].data[0].max() == pytest.approx((4000 - 1024) / 8000, abs=1e-6)


def test_ct_is_windowed_before_it_lies_on_the_grid_of_the_others():
    case = ct_case()
    moved = replace(case.images["t1"], affine=np.diag([2.0, 2, 2, 1]))
    brain = Image(np.ones((3, 3, 3), np.uint8), np.eye(4), "brain")
    case = replace(case, images={**case.images, "t1": moved}, masks={"brain": brain})
    _, records = run_steps(case, [{"ct_window": {}}])
    assert records[0]["images"]["ct"]["clipped"] > 0


def test_clip_is_counted_and_leaves_physical_units_alone():
    case = ct_case()
    over = case.images["t1"].with_data(case.images["t1"].data - 50)
    case = replace(case, images={**case.images, "t1": over})
    after, records = run_steps(case, [{"clip": {"low": 0, "high": 100}}])
    np.testing.assert_array_equal(after.images["t1"].data, np.clip(over.data, 0, 100))
    np.testing.assert_array_equal(after.images["ct"].data, case.images["ct"].data)
    assert records[0]["clipped"] == {"t1": np.count_nonzero((over.data < 0) | (over.data > 100))}
    np.testing.assert_array_equal(invert_steps(after.images["t1"], records).data, after.images["t1"].data)


def test_window_of_a_physical_unit_is_named():
    case = run_steps(brain_case(contrasts=("t1", "adc")), [{"brain_mask": {}}])[0]
    adc = case.images["adc"].with_data(case.images["adc"].data * np.float32(1e-6))
    case = replace(case, images={**case.images, "adc": adc})
    after, records = run_steps(case, [{"window": {"contrasts": ["adc"], "low": 0, "high": 3e-3}}])
    np.testing.assert_allclose(after.images["adc"].data, adc.data / 3e-3, atol=1e-6)
    np.testing.assert_allclose(invert_steps(after.images["adc"], records).data, adc.data, atol=1e-5 * 3e-3)


def test_window_sets_to_0_what_is_not_brain():
    case = brain_case(contrasts=("t1",))
    brain = Image(ball((24, 28, 20), 5).astype(np.uint8), case.images["t1"].affine, "brain")
    after, _ = run_steps(replace(case, masks={"brain": brain}), [{"window": {"low": 0, "high": 2000}}])
    assert np.all(after.images["t1"].data[brain.data == 0] == 0)
    assert np.all(after.images["t1"].data[brain.data > 0] > 0)
