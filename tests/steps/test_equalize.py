from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from skimage.exposure import equalize_hist

from mrsynth.core.image import Case, Image
from mrsynth.core.seeds import generator
from mrsynth.steps import run_steps
from small_cases import ball


def tissue_case(noise: float = 0.05, seed: int = 0) -> Case:
    """Three tissues with noise inside a ball, 0 outside."""
    inside = ball((32, 32, 32), 14)
    rng = generator(seed, "tissues")
    data = np.zeros(inside.shape, np.float32)
    count = np.count_nonzero(inside)
    data[inside] = 500 * np.abs(rng.choice([0.4, 0.8, 1.0], count, p=[0.2, 0.4, 0.4]) + rng.normal(0, noise, count))
    brain = Image(inside.astype(np.uint8), np.eye(4), "brain")
    return Case({"t1": Image(data, np.eye(4), "t1")}, {"brain": brain}, {"case": "tissues"})


@pytest.mark.parametrize("bins", [16, 256])
def test_the_brain_becomes_evenly_distributed(bins: int):
    case, _ = run_steps(tissue_case(), [{"equalize": {"bins": bins}}])
    values = np.sort(case.images["t1"].data[case.masks["brain"].data > 0])
    even = (np.arange(values.size) + 0.5) / values.size
    assert np.abs(values - even).max() < 1 / bins
    assert (values[0], values[-1]) == (0, 1)


def test_it_is_the_textbooks_equalisation():
    """scikit-image on the same mask, fine bins: the same ranks."""
    case = tissue_case()
    after, _ = run_steps(case, [{"equalize": {}}])
    inside = case.masks["brain"].data > 0
    textbook = equalize_hist(case.images["t1"].data, nbins=4096, mask=inside)
    assert np.abs(after.images["t1"].data - textbook)[inside].max() < 2 / 256


def test_only_the_order_of_values_counts():
    case = tissue_case()
    bent = case.images["t1"].with_data(case.images["t1"].data ** np.float32(1.7))
    a, _ = run_steps(case, [{"equalize": {}}])
    b, _ = run_steps(replace(case, images={"t1": bent}), [{"equalize": {}}])
    np.testing.assert_allclose(a.images["t1"].data, b.images["t1"].data, atol=2 / 256)


def test_one_hot_voxel_changes_nothing_for_the_others():
    case = tissue_case()
    hot = case.images["t1"].data.copy()
    hot[16, 16, 16] = 1e6
    a, _ = run_steps(case, [{"equalize": {}}])
    b, _ = run_steps(replace(case, images={"t1": case.images["t1"].with_data(hot)}), [{"equalize": {}}])
    difference = np.abs(a.images["t1"].data - b.images["t1"].data)
    difference[16, 16, 16] = 0
    assert difference.max() <= 2 / 256
