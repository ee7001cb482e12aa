from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from mrsynth.drawing.axes import DARK, LIGHT
from mrsynth.drawing.curves import Curve, Series, curve_png

X = np.array([1.0, 10.0, 30.0, 100.0, 1000.0])
NOTHING = np.full(5, np.nan)
BRAIN = Series("brain PSNR", 28 - 0.2 * np.log10(X), np.full(5, 1.2), NOTHING, np.nan)
CURVE = Curve("λ3 / λ1", X, True, (BRAIN, replace(BRAIN, name="tumour PSNR", mean=19 + np.log10(X))))


def blue(png: bytes) -> np.ndarray:
    """The columns of the picture, as shares of its width, in which the first series is drawn."""
    picture = np.asarray(imread(BytesIO(png)))[..., :3]
    hit = (picture[..., 2] - picture[..., 0] > 0.35).any(axis=0)
    return np.flatnonzero(hit) / picture.shape[1]


def test_a_point_that_was_not_run_leaves_a_gap() -> None:
    series = replace(BRAIN, mean=np.where(X == 30, np.nan, BRAIN.mean))
    whole, gap = (blue(curve_png(replace(CURVE, series=(s,)), LIGHT)) for s in (BRAIN, series))
    assert np.diff(whole[whole < 0.98]).max() < 0.02
    assert np.diff(gap[gap < 0.98]).max() > 0.2


@pytest.mark.parametrize("log", [True, False])
def test_spacing_of_the_points(log: bool) -> None:
    few = Series("s", np.array([1.0, 1.0, 1.0]), np.zeros(3), np.full(3, np.nan), np.nan)
    png = curve_png(Curve("x", np.array([1.0, 10.0, 1000.0]), log, (few,)), LIGHT)
    picture = np.asarray(imread(BytesIO(png)))[..., :3]
    height = (picture[..., 2] - picture[..., 0] > 0.35).sum(axis=0)
    markers = np.flatnonzero(height[: int(0.97 * height.size)] > 6)
    middles = [group.mean() for group in np.split(markers, np.flatnonzero(np.diff(markers) > 20) + 1)]
    # The legend's marker stands somewhere below; the three points are the outermost and one at 1/3 or 1/2.
    share = (np.array(middles) - min(middles)) / (max(middles) - min(middles))
    assert np.abs(share - (1 / 3 if log else 1 / 2)).min() < 0.02


def test_themes_differ_and_bytes_do_not_vary() -> None:
    assert curve_png(CURVE, LIGHT) == curve_png(CURVE, LIGHT) != curve_png(CURVE, DARK)


def test_published_and_baseline_are_drawn_where_there_are_any() -> None:
    with_both = replace(BRAIN, published=BRAIN.mean - 0.1, baseline=25.0)
    plain, more = (curve_png(replace(CURVE, series=(s,)), LIGHT) for s in (BRAIN, with_both))
    assert plain != more


def test_one_point_and_none_at_all() -> None:
    one = Series("s", np.array([1.0]), np.array([np.nan]), np.array([np.nan]), np.nan)
    assert curve_png(Curve("x", np.array([1.0]), False, (one,)), LIGHT)
    assert curve_png(Curve("x", np.array([1.0]), True, (replace(one, mean=np.array([np.nan])),)), LIGHT)
