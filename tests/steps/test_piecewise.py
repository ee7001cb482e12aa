from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mrsynth.core.image import Image
from mrsynth.steps.piecewise import Knots, map_image, merge_knots


def line(values: list[float]) -> Image:
    return Image(np.array(values, np.float32).reshape(-1, 1, 1), np.eye(4), "t1")


def test_between_knots_linear_and_beyond_them_straight_on():
    knots = Knots(np.array([0.0, 1, 3]), np.array([0.0, 10, 20]))
    found = map_image(line([-2, 0, 0.5, 1, 2, 3, 5]), knots).data.ravel()
    np.testing.assert_allclose(found, [-20, 0, 5, 10, 15, 20, 30])


@given(
    x=st.lists(st.integers(0, 30), min_size=2, max_size=20),
    resolution=st.sampled_from([0.0, 1.5, 4.0]),
)
def test_merged_knots_rise_and_keep_the_ends(x: list[int], resolution: float):
    y = np.linspace(0, 1, len(x))
    knots = merge_knots(np.sort(np.array(x, float)), y, resolution)
    if max(x) - min(x) <= resolution:
        assert knots is None
        return
    assert knots is not None
    assert np.all(np.diff(knots.x) > resolution)
    assert np.all(np.diff(knots.y) > 0)
    assert (knots.x[0], knots.y[0], knots.y[-1]) == (min(x), 0, 1)


def test_a_value_that_many_voxels_share_maps_to_the_middle_of_their_ranks():
    knots = merge_knots(np.array([0.0, 1, 1, 1, 2]), np.array([0, 0.25, 0.5, 0.75, 1]), 0.0)
    assert knots is not None
    np.testing.assert_allclose(knots.x, [0, 1, 2])
    np.testing.assert_allclose(knots.y, [0, 0.5, 1])
