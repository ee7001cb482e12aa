"""Scanner effects: noise statistics, coil field, slices, movement."""

from __future__ import annotations

import numpy as np
import pytest

from mrsynth.core.errors import InputError
from mrsynth.phantom.scanner import (
    Protocol,
    acquire,
    add_rician,
    coil_field,
    move,
    site_profile,
    sites,
    thick_slices,
)
from mrsynth.phantom.shape import rigid
from mrsynth.phantom.template import Grid

GRID = Grid((40, 44, 36), (-40.0, -44.0, -36.0), 2.0)


def test_noise_in_air_is_rayleigh_and_in_tissue_gaussian() -> None:
    sigma = 7.0
    air = add_rician(np.zeros(400_000, np.float32), sigma, np.random.default_rng(0))
    assert air.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=5e-3)
    assert air.std() == pytest.approx(sigma * np.sqrt(2 - np.pi / 2), rel=1e-2)
    tissue = add_rician(np.full(400_000, 60 * sigma, np.float32), sigma, np.random.default_rng(0))
    assert tissue.std() == pytest.approx(sigma, rel=1e-2)
    assert tissue.mean() == pytest.approx(np.hypot(60, 0.5**0.5) * sigma, rel=1e-3)


def test_the_coil_field_is_smooth_with_geometric_mean_one() -> None:
    field = coil_field(5, 0.1, GRID)
    assert field.shape == GRID.shape
    assert (field > 0).all()
    assert np.log(field).mean() == pytest.approx(0.0, abs=0.03)
    assert np.log(field).std() == pytest.approx(0.1, rel=0.25)
    assert np.abs(np.diff(np.log(field), axis=0)).max() < 0.05
    assert np.array_equal(coil_field(5, 0.0, GRID), np.ones(GRID.shape))


def test_the_coil_field_is_the_same_at_every_spacing() -> None:
    fine, coarse = coil_field(5, 0.1, GRID), coil_field(5, 0.1, GRID.resampled(4.0))
    averaged = fine.reshape(20, 2, 22, 2, 18, 2).mean((1, 3, 5))
    assert np.abs(averaged / coarse - 1).max() < 0.02


def test_thin_slices_change_nothing_and_thick_ones_keep_the_mean() -> None:
    image = np.random.default_rng(0).uniform(1, 2, (8, 8, 60)).astype(np.float32)
    assert thick_slices(image, 1.0, 1.0) is image
    thick = thick_slices(image, 5.0, 1.0)
    assert thick.shape == image.shape
    assert thick.mean() == pytest.approx(image.mean(), rel=0.01)
    assert thick.std(axis=2).mean() < 0.5 * image.std(axis=2).mean()
    assert thick_slices(image, 5.0, 1.0, keep_grid=False).shape == (8, 8, 12)
    flat = np.full((4, 4, 30), 3.0, np.float32)
    np.testing.assert_allclose(thick_slices(flat, 4.0, 1.0), 3.0, rtol=1e-6)


def acquired(image: np.ndarray, sigma: float = 0.0, **known: object) -> np.ndarray:
    protocol = Protocol.model_validate({"sequence": "spin_echo", "tr_s": 0.5, "te_s": 0.01, "scale": 1.0, **known})
    return acquire(image, np.ones_like(image), protocol, 1.0, sigma, np.random.default_rng(0))


@pytest.mark.parametrize("plane", ["x", "y", "z"])
def test_thick_slices_average_along_their_own_axis_alone(plane: str) -> None:
    axis, other = "xyz".index(plane), ("xyz".index(plane) + 1) % 3
    stripes = np.indices((24, 25, 26)) % 2.0
    known = {"slice_mm": 4.0, "in_plane_mm": 0.7, "plane": plane}
    across = acquired(1.0 + stripes[axis].astype(np.float32), **known)
    inner = across.swapaxes(axis, 0)[5:-5]  # the outermost slices lie half outside
    np.testing.assert_allclose(inner, 1.5, atol=0.05)  # each slice is the mean of two bright and two dark voxels
    along = 1.0 + stripes[other].astype(np.float32)
    np.testing.assert_allclose(acquired(along, **known), along, rtol=1e-6)
    plate = np.zeros((24, 25, 26), np.float32)
    plate.swapaxes(axis, 0)[12] = 1.0
    seen = acquired(plate, **known).swapaxes(axis, 0)[:, 5, 5]
    assert 0.08 < seen.max() < 0.3  # a plate one voxel thick fills a quarter of one slice, or an eighth of two
    assert seen.sum() == pytest.approx(1.0, abs=0.15)


def test_coarse_pixels_blur_in_the_plane_and_fine_ones_change_nothing() -> None:
    image = np.random.default_rng(0).uniform(1, 2, (30, 30, 30)).astype(np.float32)
    np.testing.assert_array_equal(acquired(image, slice_mm=1.0, in_plane_mm=0.5), image)
    coarse = acquired(image, slice_mm=1.0, in_plane_mm=1.5)
    assert coarse.mean() == pytest.approx(image.mean(), rel=0.01)
    assert coarse.std() < 0.6 * image.std()


def test_the_noise_of_an_acquired_voxel_is_one_number() -> None:
    noise = acquired(np.full((40, 40, 40), 100.0, np.float32), 1.0, slice_mm=5.0, in_plane_mm=1.0, plane="y") - 100.0
    likeness = [
        np.corrcoef(noise.swapaxes(axis, 0)[:-1].ravel(), noise.swapaxes(axis, 0)[1:].ravel())[0, 1]
        for axis in range(3)
    ]
    assert likeness[1] > 0.8
    assert max(abs(likeness[0]), abs(likeness[2])) < 0.05


def test_movement_by_whole_voxels_is_a_shift() -> None:
    image = np.random.default_rng(0).random(GRID.shape, np.float32)
    assert move(image, np.eye(4), GRID) is image
    moved = move(image, rigid([0, 0, 0], [4.0, -2.0, 0.0]), GRID)
    np.testing.assert_allclose(moved[2:, :-1], image[:-2, 1:], atol=1e-4)


def test_rotation_carries_a_point_where_the_matrix_says() -> None:
    image = np.zeros(GRID.shape, np.float32)
    image[30, 20, 18] = 1.0
    matrix = rigid([0.0, 0.0, 20.0], [0.0, 0.0, 2.0])
    at = np.array([*(np.array([30, 20, 18]) * 2.0 + GRID.origin_mm), 1.0])
    expected = (matrix @ at)[:3]
    moved = move(image, matrix, GRID)
    weights = moved / moved.sum()
    found = [(weights * axis).sum() for axis in GRID.axes_mm()]
    np.testing.assert_allclose(found, expected, atol=0.35)


def test_sites_differ_and_unknown_ones_are_refused() -> None:
    assert {site.b0_tesla for site in sites().values()} == {1.5, 3.0}
    assert {site.agent for site in sites().values()} == {"gadobutrol", "gadoterate"}
    with pytest.raises(InputError, match="did you mean 'site-A'"):
        site_profile("siteA")
