"""Speed of the metrics: the SSIM map beside scikit-image's in turns, and a whole evaluation of one case."""

from __future__ import annotations

import numpy as np
import torch
from skimage.metrics import structural_similarity

from benchmarks.machine import environment, in_turns, medians, row, sized
from mrsynth.core.tensors import Window, ssim_map
from mrsynth.metrics import PRESETS, build_regions, evaluate_pair

HEAD = sized((240, 240, 155), (24, 24, 16))
BRAIN_BOX = sized((144, 176, 144), (16, 18, 16))


def phantom(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return prediction, truth (float32), brain and lesion: an ellipsoid of noise, about a brain in size."""
    draw = np.random.default_rng(0)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    brain = (x / 0.58) ** 2 + (y / 0.72) ** 2 + (z / 0.9) ** 2 < 1
    truth = draw.random(shape, dtype=np.float32) * brain
    prediction = np.clip(truth + 0.1 * draw.standard_normal(shape, dtype=np.float32), 0, 1) * brain
    lesion = 2 * ((x - 0.2) ** 2 + y**2 + z**2 < 0.04).astype(np.uint8)
    return prediction, truth, brain, lesion


def ssim_rows(window: Window) -> None:
    prediction, truth, *_ = phantom(BRAIN_BOX)
    x, y = (torch.from_numpy(image)[None, None] for image in (prediction, truth))
    there = {"gaussian_weights": True, "use_sample_covariance": False} if window == "gaussian" else {}
    ours, theirs = medians(
        in_turns(
            lambda: ssim_map(x, y, data_range=1.0, window=window),
            lambda: structural_similarity(truth, prediction, data_range=1.0, full=True, **there),
        )
    )
    place = environment("torch", "scikit-image")
    row("metrics", f"SSIM map of a brain box, {window} window", ours, "s", **place)
    row("metrics", f"scikit-image / mrsynth, {window} window", theirs / ours, "ratio", **place)


def evaluation_row(preset: str) -> None:
    prediction, truth, brain, lesion = phantom(HEAD)
    regions = build_regions(HEAD, brain, lesion)
    seconds = medians(in_turns(lambda: evaluate_pair(prediction, truth, regions, 1.0, preset), repeats=3))[0]
    row("metrics", f"evaluate_pair of a head, preset {preset}", seconds, "s", **environment("torch"))


def main() -> None:
    ssim_rows("uniform")
    ssim_rows("gaussian")
    for preset in PRESETS:
        if PRESETS[preset].data_range in (None, 1.0):  # the others are for CT
            evaluation_row(preset)


if __name__ == "__main__":
    main()
