"""Charts of a study: what is drawn where, read back from the pictures."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from PIL import Image as Picture

from mrsynth.drawing.charts import Line, losses_png, profile_png
from mrsynth.drawing.filters import Learned, filters_png, mosaic


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(png)).convert("RGB"))


def test_losses_of_each_training_are_drawn():
    def history(epochs: int) -> pd.DataFrame:
        down = np.linspace(1, 0.2, epochs)
        return pd.DataFrame({"epoch": range(epochs), "stage": 0, "train_loss": down, "val_loss": down + 0.1})

    one, two = (picture(losses_png(h)) for h in ({"A": history(9)}, {"A": history(9), "B": history(30)}))
    assert one.shape == two.shape
    assert (one != two).any()


def test_the_line_runs_from_the_patients_right():
    """x grows to the patient's right, which the picture shows on its left: values that grow with x fall there."""
    x = np.arange(40.0)
    image = np.repeat(x[:, None], 30, axis=1)
    png = picture(profile_png(Line(image, 12, (5, 34), (2.0, 2.0), {"ct": x / 40})))
    blank = picture(profile_png(Line(image, 12, (5, 34), (2.0, 2.0), {"ct": np.zeros(40)})))
    assert png.shape == blank.shape
    right = png[:, png.shape[1] // 2 + 60 :]
    dark = np.argwhere(right.sum(axis=2) < 160)  # the curve's ink
    left_end, right_end = (dark[np.abs(dark[:, 1] - column) < 40, 0] for column in np.quantile(dark[:, 1], (0.1, 0.9)))
    assert np.median(left_end) < np.median(right_end)


def test_a_mosaic_holds_every_image_once():
    images = [np.full((3, 4), float(n)) for n in range(7)]
    whole = mosaic(images)
    assert [int((whole == n).sum()) for n in range(7)] == [12] * 7
    assert whole.shape == (3 * 3 + 2, 3 * 4 + 2)
    assert np.isnan(whole).sum() == whole.size - 84


def test_filters_and_maps_of_two_networks():
    random = np.random.default_rng(0)
    one = Learned("MSE", *(random.random(s) for s in ((64, 7, 7), (81, 2, 2), (9, 16, 16), (32, 32))))
    pictures = [picture(filters_png(networks)) for networks in ([one], [one, one])]
    assert pictures[1].shape[1] > 1.6 * pictures[0].shape[1]
    assert pictures[0].std() > 20
