from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsynth.core.errors import InputError, RecipeError
from mrsynth.core.image import Image
from mrsynth.steps import invert_steps, parse_steps, run_steps
from mrsynth.steps.resize import resize_slices
from mrsynth.steps.transform import crop_or_pad
from small_cases import ball, brain_case

OSMAN = [
    {"brain_mask": {"source": "auto", "max_fraction": 0.6}},
    {"drop_empty_slices": {}},
    {"zscore": {}},
    {"unit": {"upper_percentile": 100}},
    {"field_of_view": {"size_mm": [300, 300]}},
    {"resize": {"size": [32, 32], "antialias": False}},
]


def test_zscore_measures_zero_mean_and_unit_deviation_in_the_brain():
    case, records = run_steps(brain_case(), [OSMAN[0], OSMAN[2]])
    inside = case.masks["brain"].data > 0
    for name, image in case.images.items():
        values = image.data[inside].astype(np.float64)
        assert abs(values.mean()) < 1e-5
        assert abs(values.std() - 1) < 1e-5
        assert set(records[1]["images"][name]) == {"mean", "sd"}


def test_unit_range_is_0_to_1_and_background_stays_0():
    case, _ = run_steps(brain_case(), OSMAN[:4])
    for image in case.images.values():
        assert image.data.min() == 0
        assert image.data.max() == pytest.approx(1, abs=1e-6)
        assert np.all(image.data[case.masks["brain"].data == 0] == 0)


def test_zscore_before_the_unit_range_changes_nothing():
    """Both are affine and the second is fixed by the volume's extremes: the paper's pair is a min–max scaling."""
    both, _ = run_steps(brain_case(), [OSMAN[0], OSMAN[2], OSMAN[3]])
    alone, _ = run_steps(brain_case(), [OSMAN[0], OSMAN[3]])
    np.testing.assert_allclose(both.images["t1"].data, alone.images["t1"].data, atol=2e-6)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.01, 5000), offset=st.floats(0, 2000), seed=st.integers(0, 5))
def test_intensity_steps_invert(scale: float, offset: float, seed: int):
    case = brain_case(seed=seed)
    scaled = {
        n: i.with_data(np.where(i.data > 0, scale * i.data + offset, 0).astype(np.float32))
        for n, i in case.images.items()
    }
    before = replace(case, images=scaled)
    after, records = run_steps(before, OSMAN, kinds=("intensity",))
    for name, image in after.images.items():
        back = invert_steps(image, records, kinds=("intensity",))
        top = before.images[name].data.max()
        np.testing.assert_allclose(back.data, before.images[name].data, atol=1e-5 * top)


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(0.01, 1000), offset=st.floats(0, 500))
def test_the_window_gives_all_scanners_one_scale(scale: float, offset: float):
    """z-score, then a fixed window: gain and offset of a scanner leave no trace."""
    steps = [OSMAN[0], OSMAN[2], {"window": {"low": -5, "high": 5}}]
    case = brain_case(contrasts=("t1",))
    other = case.images["t1"].with_data(
        np.where(case.images["t1"].data > 0, scale * case.images["t1"].data + offset, 0).astype(np.float32)
    )
    a, records = run_steps(case, steps)
    b, _ = run_steps(replace(case, images={"t1": other}), steps)
    np.testing.assert_allclose(a.images["t1"].data, b.images["t1"].data, atol=2e-4)
    inside = a.masks["brain"].data > 0
    assert a.images["t1"].data[inside].mean() == pytest.approx(0.5, abs=1e-4)
    assert a.images["t1"].data[inside].std() == pytest.approx(0.1, abs=1e-4)
    back = invert_steps(a.images["t1"], records)
    np.testing.assert_allclose(back.data[inside], case.images["t1"].data[inside], atol=0.02)


def test_percentile_clips_one_hot_voxel_and_says_so():
    case = brain_case()
    data = case.images["t1"].data.copy()
    data[12, 14, 10] = 1e6
    hot = replace(case, images={"t1": case.images["t1"].with_data(data)})
    plain, _ = run_steps(hot, [OSMAN[0], {"unit": {"upper_percentile": 100}}])
    robust, records = run_steps(hot, [OSMAN[0], {"unit": {"upper_percentile": 99.5}}])
    inside = plain.masks["brain"].data > 0
    assert np.median(plain.images["t1"].data[inside]) < 0.01
    assert np.median(robust.images["t1"].data[inside]) > 0.3
    assert records[1]["images"]["t1"]["clipped"] >= 1


def test_geometry_returns_to_the_patients_grid():
    case = brain_case()
    prepared, records = run_steps(case, OSMAN)
    assert prepared.images["t1"].data.shape[:2] == (32, 32)
    back = invert_steps(prepared.images["t1"], records)
    original = case.images["t1"]
    assert back.data.shape == original.data.shape
    np.testing.assert_allclose(back.affine, original.affine, atol=1e-9)
    inner = ball(original.data.shape, 6)
    error = np.abs(back.data - original.data)[inner]
    assert error.mean() < 0.01 * original.data.max()


def test_geometry_steps_move_the_affine_with_the_voxels():
    """A bright voxel keeps its position in mm through crop, pad and resize (to half a voxel)."""
    case = brain_case(shape=(30, 30, 20))
    data = case.images["t1"].data.copy()
    data[18, 12, 9] = 5000
    case = replace(case, images={"t1": case.images["t1"].with_data(data)})
    prepared, _ = run_steps(case, [OSMAN[0], OSMAN[1], OSMAN[4], {"resize": {"size": [60, 60], "antialias": False}}])
    image = prepared.images["t1"]
    peak = np.unravel_index(np.argmax(image.data), image.data.shape)
    position = image.affine @ [*peak, 1]
    assert np.abs(position[:3] - case.images["t1"].affine[:3, :3] @ [18, 12, 9]).max() <= 5.01


@given(start=st.tuples(*[st.integers(-6, 6)] * 3), shape=st.tuples(*[st.integers(1, 14)] * 3))
def test_crop_or_pad_keeps_every_voxel_that_stays_inside(start: tuple[int, int, int], shape: tuple[int, int, int]):
    data = np.arange(1, 8 * 7 * 6 + 1, dtype=np.float32).reshape(8, 7, 6)
    image = Image(data, np.eye(4), "t1")
    box = crop_or_pad(image, start, shape)
    assert box.data.shape == shape
    back = crop_or_pad(box, tuple(-s for s in start), data.shape)
    kept = back.data > 0
    np.testing.assert_array_equal(back.data[kept], data[kept])
    overlap = np.prod([max(0, min(n, s + m) - max(0, s)) for n, s, m in zip(data.shape, start, shape, strict=True)])
    assert kept.sum() == overlap


def test_resize_to_the_same_size_is_the_identity():
    image = brain_case().images["t1"]
    same = resize_slices(image, image.data.shape[:2], image.affine)
    np.testing.assert_allclose(same.data, image.data, atol=1e-3)


def test_records_are_json():
    _, records = run_steps(brain_case(), OSMAN)
    assert json.loads(json.dumps(records)) == list(records)


def test_masks_follow_the_geometry():
    case = brain_case()
    lesion = Image(np.where(ball((24, 28, 20), 3), 3, 0).astype(np.uint8), case.images["t1"].affine, "lesion")
    prepared, _ = run_steps(replace(case, masks={"lesion": lesion}), OSMAN)
    assert prepared.masks["lesion"].data.shape == prepared.images["t1"].data.shape
    assert set(np.unique(prepared.masks["lesion"].data)) == {0, 3}


def test_negative_overshoot_is_clipped_and_counted():
    case = brain_case()
    given_mask = Image(ball((24, 28, 20), 8).astype(np.uint8), case.images["t1"].affine, "brain")
    data = case.images["t1"].data.copy()
    data[12, 14, 10] = -50
    case = replace(case, images={"t1": case.images["t1"].with_data(data)}, masks={"brain": given_mask})
    prepared, records = run_steps(case, OSMAN[:1])
    assert prepared.images["t1"].data.min() == 0
    assert records[0]["negative"] == {"t1": 1}
    assert records[0]["source"] == "given"


def test_head_with_skull_is_refused():
    case = brain_case()
    full = {n: i.with_data(np.full_like(i.data, 100) + i.data) for n, i in case.images.items()}
    with pytest.raises(InputError, match="not skull-stripped"):
        run_steps(replace(case, images=full), OSMAN[:1])


def test_constant_brain_is_refused():
    case = brain_case(contrasts=("t1",))
    flat = case.images["t1"].with_data(np.where(case.images["t1"].data > 0, 7, 0).astype(np.float32))
    with pytest.raises(InputError, match="constant inside the brain"):
        run_steps(replace(case, images={"t1": flat}), [OSMAN[0], OSMAN[2]])


def test_images_on_two_grids_are_refused():
    case = brain_case()
    moved = replace(case.images["t2"], affine=np.diag([10, 10, 12, 1.0]))
    with pytest.raises(InputError, match="another grid") as error:
        run_steps(replace(case, images={**case.images, "t2": moved}), OSMAN)
    assert "register" in str(error.value)


def test_brain_larger_than_the_field_of_view_is_refused():
    with pytest.raises(InputError, match="field of view"):
        run_steps(brain_case(), [OSMAN[0], {"field_of_view": {"size_mm": [100, 100]}}])


def test_unknown_step_and_setting_name_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'zscore'"):
        parse_steps([{"z_score": {}}])
    with pytest.raises(RecipeError, match="did you mean 'upper_percentile'"):
        parse_steps([{"unit": {"uper_percentile": 99}}])


def test_intensities_of_a_contrast_that_was_not_seen_cannot_be_restored():
    case, records = run_steps(brain_case(contrasts=("t1",)), OSMAN[:4])
    with pytest.raises(InputError, match="cannot be restored"):
        invert_steps(case.images["t1"].with_data(case.images["t1"].data, "t2"), records)
