"""The metrics against the libraries that others use: scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import (
    mean_squared_error,
    normalized_mutual_information,
    peak_signal_noise_ratio,
    structural_similarity,
)

from mrsynth.core.tensors import Window, ssim_map
from mrsynth.metrics import evaluate_pair
from mrsynth.metrics.metrics import mse, nmi, psnr


def pair(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    truth = draw.random(shape)
    return np.clip(truth + draw.normal(0, 0.2, shape), 0, 1), truth


@pytest.mark.parametrize("data_range", [1.0, 2.0, 4095.0])
@pytest.mark.parametrize("shape", [(31, 24), (16, 21, 18)])
@pytest.mark.parametrize("window", ["uniform", "gaussian"])
def test_ssim_map_is_scikit_images(window: Window, shape: tuple[int, ...], data_range: float) -> None:
    prediction, truth = (data_range * image for image in pair(shape))
    settings_there = {"gaussian_weights": True, "use_sample_covariance": False} if window == "gaussian" else {}
    _, expected = structural_similarity(prediction, truth, data_range=data_range, full=True, **settings_there)
    x, y = (torch.from_numpy(image)[None, None] for image in (prediction, truth))
    found = ssim_map(x, y, data_range=data_range, window=window)[0, 0].numpy()
    assert np.abs(found - expected).max() < 1e-9


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_errors_and_information_are_scikit_images(seed: int) -> None:
    prediction, truth = pair((12, 13, 14), seed)
    assert mse(prediction, truth) == pytest.approx(mean_squared_error(truth, prediction))
    expected = peak_signal_noise_ratio(truth, prediction, data_range=1.0)
    assert psnr(mse(prediction, truth), 1.0) == pytest.approx(expected)
    assert nmi(prediction, truth) == pytest.approx(normalized_mutual_information(truth, prediction), abs=1e-9)


def test_osman2022_is_the_mean_of_scikit_image_over_slices() -> None:
    prediction, truth = pair((40, 36, 9))
    brain = np.zeros(truth.shape, bool)
    brain[8:30, 8:30, 1:8] = True
    found = {r.metric: r.value for r in evaluate_pair(prediction, truth, {"brain": brain}, 1.0, "osman2022")}
    kept = [(prediction[..., k], truth[..., k]) for k in range(1, 8)]
    assert found["mse"] == pytest.approx(np.mean([mean_squared_error(t, p) for p, t in kept]))
    assert found["psnr"] == pytest.approx(np.mean([peak_signal_noise_ratio(t, p, data_range=1) for p, t in kept]))
    for metric, data_range in (("ssim", 1.0), ("ssim_range2", 2.0)):
        expected = np.mean([structural_similarity(t, p, data_range=data_range) for p, t in kept])
        assert found[metric] == pytest.approx(expected, rel=1e-9)


def test_default_ssim_is_scikit_images_map_averaged_in_the_mask() -> None:
    prediction, truth = pair((20, 22, 24))
    brain = np.random.default_rng(1).random(truth.shape) < 0.3
    _, expected = structural_similarity(prediction, truth, data_range=1.0, full=True)
    records = evaluate_pair(prediction, truth, {"brain": brain}, 1.0)
    (found,) = [r.value for r in records if (r.metric, r.fit) == ("ssim", "none")]
    assert found == pytest.approx(expected[brain].mean(), rel=1e-9)
