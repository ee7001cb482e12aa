"""reorient, resample and pad_or_crop as steps: the way there, the record, and the way back."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mrsynth.core.errors import InputError, RecipeError
from mrsynth.core.image import Case, Image, same_grid
from mrsynth.steps import invert_steps, parse_steps, run_steps
from mrsynth.steps.reorient import axis_codes
from mrsynth.steps.template import template, template_grid
from mrsynth.steps.transform import crop_or_pad, on_all
from small_cases import ball, brain_case

TILTED = np.array([[0.98, -0.1, 0.2, -20], [0.1, 1.2, 0.3, 5], [-0.1, 0.1, 2.5, 3], [0, 0, 0, 1]])
"""Oblique, anisotropic and sheared."""


def two_grids() -> Case:
    """T1 and T2 of one smooth anatomy on two grids, and a lesion mask on T2's."""
    affines = {"t1": np.diag([2.0, 2.0, 2.0, 1.0]), "t2": TILTED}
    shapes = {"t1": (24, 26, 22), "t2": (40, 36, 20)}
    images = {}
    for name, affine in affines.items():
        at = np.tensordot(affine[:3, :3], np.indices(shapes[name]), 1) + affine[:3, 3, None, None, None]
        value = 100 + 30 * np.sin(at[0] / 12) + 30 * np.cos(at[1] / 10) + 10 * np.sin(at[2] / 14)
        images[name] = Image(value.astype(np.float32), affine, name)
    lesion = Image(np.where(ball(shapes["t2"], 5), 3, 0).astype(np.uint8), TILTED, "lesion")
    return Case(images, {"lesion": lesion}, {"case": "two"})


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR"])
def test_reorient_turns_and_turns_back_without_touching_a_value(axes: str):
    case = two_grids()
    turned, records = run_steps(case, [{"reorient": {"axes": axes}}])
    assert json.loads(json.dumps(records)) == list(records)
    for name, image in case.images.items():
        assert axis_codes(turned.images[name].affine) == axes
        assert turned.images[name].data.flags.c_contiguous
        np.testing.assert_array_equal(np.sort(turned.images[name].data, axis=None), np.sort(image.data, axis=None))
        back = invert_steps(turned.images[name], records)
        np.testing.assert_array_equal(back.data, image.data)
        np.testing.assert_allclose(back.affine, image.affine, atol=1e-12)
    assert axis_codes(turned.masks["lesion"].affine) == axes


def test_reorient_keeps_positions():
    case = two_grids()
    turned, _ = run_steps(case, [{"reorient": {"axes": "LPS"}}])
    for image, other in ((case.images["t2"], turned.images["t2"]),):
        peak = np.unravel_index(image.data.argmax(), image.data.shape)
        there = np.unravel_index(other.data.argmax(), other.data.shape)
        np.testing.assert_allclose(image.affine @ [*peak, 1], other.affine @ [*there, 1])


def test_resample_brings_images_and_masks_onto_the_first_ones_grid():
    case = two_grids()
    done, records = run_steps(case, [{"resample": {"order": "cubic"}}])
    assert all(same_grid(image, case.images["t1"]) for image in [*done.images.values(), *done.masks.values()])
    np.testing.assert_array_equal(done.images["t1"].data, case.images["t1"].data)
    grids = records[0]["grids"]
    assert (grids["t1"]["interpolated"], grids["t2"]["interpolated"]) == (False, True)
    assert set(np.unique(done.masks["lesion"].data)) == {0, 3}
    seen = done.images["t2"].data > 0
    assert np.abs(done.images["t2"].data - done.images["t1"].data)[seen].max() < 8
    assert np.median(np.abs(done.images["t2"].data - done.images["t1"].data)[seen]) < 0.1


def test_a_prediction_returns_to_the_grid_of_the_chosen_input():
    case = two_grids()
    done, records = run_steps(case, [{"resample": {"to": "t2", "spacing_mm": [1, 1, 1], "order": "cubic"}}])
    assert json.loads(json.dumps(records)) == list(records)
    prediction = done.images["t2"].with_data(done.images["t2"].data, "flair")
    for like in ("t1", "t2"):
        back = invert_steps(prediction, records, like=like)
        assert same_grid(back, case.images[like])
    inner = (slice(4, -4), slice(4, -4), slice(3, -3))
    assert np.abs(back.data - case.images["t2"].data)[inner].max() < 0.5


def test_the_way_back_from_a_larger_field_of_view_copies_voxels():
    case = brain_case(spacing_mm=(2.0, 2.0, 2.0))
    steps = [{"resample": {"spacing_mm": [2, 2, 2], "shape": [30, 32, 26]}}]
    done, records = run_steps(case, steps)
    assert done.images["t1"].data.shape == (30, 32, 26)
    assert not records[0]["grids"]["t2"]["interpolated"]
    for name, image in case.images.items():
        np.testing.assert_array_equal(invert_steps(done.images[name], records).data, image.data)


def test_a_head_off_the_centre_fits_into_a_field_of_view_about_the_brain():
    """As in a planning CT: air added on one side changes neither the voxels nor the way back."""
    case = brain_case()
    wide = on_all(
        case, lambda image: crop_or_pad(image, (-60, 0, 0), (60 + image.data.shape[0], *image.data.shape[1:]))
    )
    steps = [{"brain_mask": {}}, {"field_of_view": {"size_mm": [200, 260], "around": "brain"}}]
    plain, other = (run_steps(one, steps) for one in (case, wide))
    np.testing.assert_array_equal(plain[0].images["t1"].data, other[0].images["t1"].data)
    np.testing.assert_allclose(plain[0].images["t1"].affine, other[0].images["t1"].affine)
    assert same_grid(invert_steps(other[0].images["t1"], other[1]), wide.images["t1"])
    with pytest.raises(InputError, match="does not fit into the recipe's field of view along x"):
        run_steps(wide, [steps[0], {"field_of_view": {"size_mm": [200, 260]}}])


def test_resample_to_the_template_takes_its_grid():
    done, _ = run_steps(two_grids(), [{"resample": {"to": "template", "spacing_mm": [4, 4, 4]}}])
    extent = np.array(done.images["t1"].data.shape) * 4
    assert (np.abs(extent - np.array(template_grid().shape)) <= 4).all()
    image, rim = template()
    assert axis_codes(image.affine) == "RAS"
    np.testing.assert_array_equal(image.data, image.data[::-1])
    assert 1.6e6 < (image.data > 0).sum() < 2.1e6  # mm³: MNI space is larger than people
    assert ((rim.data > 0) >= (image.data > 0)).all()


def test_resample_asks_for_a_contrast_that_is_there():
    with pytest.raises(InputError, match="no flair"):
        run_steps(two_grids(), [{"resample": {"to": "flair"}}])
    with pytest.raises(RecipeError, match="greater than 0"):
        parse_steps([{"resample": {"spacing_mm": [1, 0, 1]}}])
    for nothing in ({"resize": {"size": [0, 224]}}, {"field_of_view": {"size_mm": [240, -240]}}):
        with pytest.raises(RecipeError, match="greater than 0"):
            parse_steps([nothing])
    with pytest.raises(RecipeError, match="three sides"):
        parse_steps([{"reorient": {"axes": "RAR"}}])


def with_brain(centre: tuple[int, int, int] = (10, 14, 8)) -> Case:
    case = brain_case()
    inside = np.roll(ball((24, 28, 20), 5), np.array(centre) - (12, 14, 10), axis=(0, 1, 2))
    return replace(case, masks={"brain": Image(inside.astype(np.uint8), case.images["t1"].affine, "brain")})


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ({"margin_mm": 20}, (14, 14, 14)),
        ({"shape": [16, 18, 16]}, (16, 18, 16)),
        ({"size_mm": [200, 160, 300]}, (20, 16, 30)),
        ({"shape": [40, 26, 18], "around": "center"}, (40, 26, 18)),
    ],
)
def test_a_box_keeps_the_brain_and_its_place(box: dict, shape: tuple[int, int, int]):
    case = with_brain()
    cut, records = run_steps(case, [{"pad_or_crop": box}])
    assert cut.images["t1"].data.shape == shape
    assert (cut.masks["brain"].data > 0).sum() == (case.masks["brain"].data > 0).sum()
    filled = np.argwhere(cut.masks["brain"].data)
    if box.get("around") != "center":
        assert np.abs((filled.min(axis=0) + filled.max(axis=0)) / 2 - (np.array(shape) - 1) / 2).max() <= 0.5
    inside = cut.masks["brain"].data > 0
    np.testing.assert_array_equal(cut.images["t1"].data[inside], case.images["t1"].data[case.masks["brain"].data > 0])
    back = invert_steps(cut.images["t1"], records)
    assert same_grid(back, case.images["t1"])
    kept = back.data != 0
    np.testing.assert_array_equal(back.data[kept], case.images["t1"].data[kept])


def test_a_box_that_cuts_off_brain_is_refused():
    with pytest.raises(InputError, match="does not fit"):
        run_steps(with_brain(), [{"pad_or_crop": {"shape": [8, 30, 30]}}])
    with pytest.raises(RecipeError, match="needs a shape"):
        parse_steps([{"pad_or_crop": {"around": "center"}}])


@pytest.mark.parametrize(
    "wider",
    [
        {"field_of_view": {"size_mm": [60, 64]}},
        {"pad_or_crop": {"shape": [30, 40, 31], "around": "center"}},
        {"resample": {"spacing_mm": [2, 2, 2], "shape": [40, 40, 40]}},
    ],
)
def test_what_is_added_around_a_normalised_image_is_its_background(wider: dict):
    """After a z-score 0 is the brain's mean: a frame of it would be grey matter around black air."""
    case = brain_case(spacing_mm=(2.0, 2.0, 2.0))
    done, records = run_steps(case, [{"brain_mask": {}}, {"zscore": {}}, wider])
    outside = done.masks["brain"].data == 0
    for name, image in done.images.items():
        assert image.data.size > case.images[name].data.size
        assert image.data[outside].max() == image.data.min() < -1
        np.testing.assert_allclose(invert_steps(image, records).data, case.images[name].data, atol=1e-2)


@pytest.mark.parametrize(
    "step", [{"resample": {"spacing_mm": [3, 3, 3], "order": "cubic"}}, {"resize": {"size": [30, 30]}}]
)
def test_what_is_interpolated_follows_from_the_name_and_not_from_the_type(step: dict):
    """A scan of 8 bits is no mask, and a mask of another type has nothing between its labels."""
    case = two_grids()
    grid = case.images["t1"]
    scan = np.rint(grid.data).astype(np.uint8)
    lesion = np.where(ball(scan.shape, 5), 6, 0)

    def through(scan_type: type, mask_type: type) -> tuple[np.ndarray, np.ndarray]:
        mask = Image(lesion.astype(mask_type), grid.affine, "lesion")
        done, _ = run_steps(Case({"t1": grid.with_data(scan.astype(scan_type))}, {"lesion": mask}), [step])
        return done.images["t1"].data, done.masks["lesion"].data

    data, labels = through(np.float32, np.uint8)
    assert set(np.unique(labels)) == {0, 6}
    for scan_type, mask_type in ((np.uint8, np.int16), (np.int16, np.float32), (np.uint16, bool)):
        other, marks = through(scan_type, mask_type)
        np.testing.assert_array_equal(other, data)
        np.testing.assert_array_equal(marks > 0, labels > 0)
        assert len(np.unique(marks)) == 2
