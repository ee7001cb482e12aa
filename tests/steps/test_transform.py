from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrsynth.core.errors import InputError
from mrsynth.core.image import Image
from mrsynth.core.seeds import generator
from mrsynth.steps.transform import Grid, apply_affine, bring, crop_or_pad, regular_grid, shared_voxels, turn


def oblique(spacing: tuple[float, float, float], shear: float = 0.0) -> np.ndarray:
    """An affine turned by 12° and 7°, with a gantry tilt (y slides along z)."""
    a, b = np.radians([12, 7])
    turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn_z @ turn_x @ np.array([[1, 0, 0], [0, 1, shear], [0, 0, 1]]) @ np.diag(spacing)
    affine[:3, 3] = (-31.0, 17.0, 8.0)
    return affine


AFFINES = {
    "ras": np.diag([2.0, 2.0, 2.0, 1.0]),
    "anisotropic": np.diag([1.0, 1.5, 4.0, 1.0]),
    "oblique": oblique((1.0, 1.2, 3.0)),
    "sheared": oblique((1.0, 1.0, 2.5), shear=0.3),
}


def smooth(affine: np.ndarray, shape: tuple[int, int, int], contrast: str = "t1") -> Image:
    """A smooth function of the position in mm, sampled on a grid."""
    at = apply_affine(affine, np.indices(shape).reshape(3, -1).astype(float))
    values = 100 + 20 * np.sin(at[0] / 9) + 20 * np.cos(at[1] / 11) + 20 * np.sin(at[2] / 10 + 1)
    return Image(values.reshape(shape).astype(np.float32), affine, contrast)


def noise(shape: tuple[int, int, int] = (7, 6, 5)) -> Image:
    return Image(generator(0, "noise").random(shape, dtype=np.float32) + 1, AFFINES["oblique"], "t1")


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_voxels_are_copied_where_grids_differ_by_order_and_direction_of_axes(axes: tuple[int, int, int]):
    image = noise()
    for flips in product((False, True), repeat=3):
        turned = turn(image, axes, flips)
        assert shared_voxels(image, Grid.of(turned)) is not None
        np.testing.assert_array_equal(bring(image, Grid.of(turned), "linear", True).data, turned.data)
        back = bring(turned, Grid.of(image), "cubic", True)
        np.testing.assert_array_equal(back.data, image.data)
        np.testing.assert_allclose(back.affine, image.affine)


@settings(max_examples=30, deadline=None)
@given(start=st.tuples(*[st.integers(-4, 4)] * 3), shape=st.tuples(*[st.integers(1, 9)] * 3))
def test_whole_voxel_shifts_are_crops(start: tuple[int, int, int], shape: tuple[int, int, int]):
    box = crop_or_pad(noise(), start, shape)
    np.testing.assert_array_equal(bring(noise(), Grid.of(box), "bspline", True).data, box.data)


def test_a_shift_by_a_part_of_a_voxel_is_interpolated():
    image = noise()
    moved = np.array(image.affine)
    moved[:3, 3] += 0.3 * moved[:3, 0]
    assert shared_voxels(image, Grid((7, 6, 5), moved)) is None
    by_hand = 0.7 * image.data[:-1] + 0.3 * image.data[1:]
    np.testing.assert_allclose(bring(image, Grid((6, 6, 5), moved), "linear", False).data, by_hand, atol=1e-6)


@pytest.mark.parametrize("order", ["linear", "cubic", "bspline"])
@pytest.mark.parametrize("kind", AFFINES)
def test_a_smooth_image_keeps_its_values_at_every_position(kind: str, order):
    """Onto an upright 1.5 mm grid, the values are those of the function itself, wherever the scan lay."""
    image = smooth(AFFINES[kind], (40, 36, 24))
    middle = apply_affine(image.affine, np.array([[19.5], [17.5], [11.5]]))[:, 0]
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = middle - 6.0
    there = bring(image, Grid((9, 9, 9), affine), order, False)
    bound = 2.0 if order == "linear" else 0.05
    assert np.abs(there.data - smooth(affine, (9, 9, 9)).data).max() < bound
    np.testing.assert_array_equal(there.affine, affine)


@pytest.mark.parametrize("kind", AFFINES)
def test_there_and_back_stays_within_a_bound(kind: str):
    image = smooth(AFFINES[kind], (30, 30, 16))
    grid = regular_grid(Grid.of(image), (1.0, 1.0, 1.0), None)
    back = bring(bring(image, grid, "cubic", True), Grid.of(image), "cubic", False)
    inner = (slice(6, -6), slice(6, -6), slice(4, -4))
    assert np.abs(back.data - image.data)[inner].max() < 0.5
    np.testing.assert_array_equal(back.affine, image.affine)


def test_overshoot_is_clipped_to_the_range_of_the_image():
    data = np.zeros((16, 16, 16), np.float32)
    data[8:] = 1
    image = Image(data, np.eye(4), "t1")
    fine = regular_grid(Grid.of(image), (0.4, 0.4, 0.4), None)
    for order in ("cubic", "bspline"):
        result = bring(image, fine, order, False).data
        assert result.min() >= 0
        assert result.max() <= 1


def test_masks_keep_their_labels():
    labels = generator(0, "labels").choice(np.array([0, 1, 4], np.uint8), size=(9, 9, 9))
    mask = Image(labels, np.eye(4), "lesion")
    turned = bring(mask, Grid((9, 9, 9), oblique((1.0, 1.0, 1.0))), "cubic", True)
    assert turned.data.dtype == np.uint8
    assert set(np.unique(bring(mask, regular_grid(Grid.of(mask), (0.7,) * 3, None), "cubic", True).data)) == {0, 1, 4}


def test_outside_is_air():
    low = Image(np.full((4, 4, 4), -1000, np.float32), np.eye(4), "ct")
    low.data[1:3] = 40
    for grid in (Grid((8, 8, 8), np.eye(4)), Grid((8, 8, 8), np.diag([1.3, 1.3, 1.3, 1.0]))):
        assert bring(low, grid, "linear", False).data[-1, -1, -1] == -1000
        assert bring(replace(low, contrast="t1"), grid, "linear", False).data[-1, -1, -1] == 0


def test_antialiasing_removes_what_the_coarse_grid_cannot_hold():
    """Stripes of one voxel become their mean, not a new pattern."""
    stripes = np.zeros((64, 8, 8), np.float32)
    stripes[::2] = 1
    image = Image(stripes, np.eye(4), "t1")
    affine = np.diag([2.5, 1.0, 1.0, 1.0])
    coarse = Grid((24, 8, 8), affine)
    inner = (slice(3, -3), 4, 4)
    assert np.ptp(bring(image, coarse, "linear", False).data[inner]) > 0.4
    assert np.abs(bring(image, coarse, "linear", True).data[inner] - 0.5).max() < 0.1


def test_a_regular_grid_keeps_centre_and_extent():
    own = Grid((20, 30, 10), AFFINES["oblique"])
    for spacing, shape in (((2.0, 2.0, 2.0), None), (None, (24, 24, 24)), ((1.0, 1.0, 1.0), (8, 9, 10))):
        grid = regular_grid(own, spacing, shape)
        np.testing.assert_allclose(grid.centre_mm(), own.centre_mm(), atol=1e-9)
    spread = regular_grid(own, None, (24, 24, 24))
    np.testing.assert_allclose(np.linalg.norm(spread.affine[:3, :3], axis=0) * 24, [20, 36, 30], atol=1e-6)
    assert regular_grid(own, (1.0, 1.2, 1.0), None).shape == (20, 30, 30)


def test_a_sheared_grid_becomes_orthogonal_and_covers_the_scan():
    own = Grid((20, 20, 20), AFFINES["sheared"])
    grid = regular_grid(own, (1.0, 1.0, 1.0), None)
    np.testing.assert_allclose(grid.affine[:3, :3].T @ grid.affine[:3, :3], np.eye(3), atol=1e-9)
    indices = apply_affine(np.linalg.inv(grid.affine), own.corners_mm())
    assert indices.min() > -0.5
    assert (indices.max(axis=1) < np.array(grid.shape) - 0.5).all()


def test_a_grid_that_no_machine_can_hold_is_refused():
    with pytest.raises(InputError, match="too large"):
        bring(noise(), Grid((4096, 4096, 4096), np.eye(4)), "linear", False)
