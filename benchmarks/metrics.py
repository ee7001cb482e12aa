"""Speed of the metrics: the map of structural similarity beside scikit-image, and a whole evaluation of one case.

`python -m benchmarks.metrics` prints one JSON row a measurement. Both sides of a comparison take turns in one run, so
that a busy machine slows both; believe the ratio of their medians.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy
import skimage
import torch
from skimage.metrics import structural_similarity

from mrsynth.evaluate import PRESETS, build_regions, evaluate_pair
from mrsynth.tensors import Window, ssim_map

HEAD = (240, 240, 155)
BRAIN_BOX = (144, 176, 144)


def environment() -> dict[str, str | int]:
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    versions = f"torch {torch.__version__}, scikit-image {skimage.__version__}, scipy {scipy.__version__}"
    device = f"CPU {platform.machine()}, {torch.get_num_threads()} threads"
    return {"device": device, "versions": f"{versions}, numpy {np.__version__}", "commit": commit or "none"}


def phantom(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return prediction, truth (float32), brain and lesion: an ellipsoid of noise, about a brain in size."""
    draw = np.random.default_rng(0)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    brain = (x / 0.58) ** 2 + (y / 0.72) ** 2 + (z / 0.9) ** 2 < 1
    truth = draw.random(shape, dtype=np.float32) * brain
    prediction = np.clip(truth + 0.1 * draw.standard_normal(shape, dtype=np.float32), 0, 1) * brain
    lesion = 2 * ((x - 0.2) ** 2 + y**2 + z**2 < 0.04).astype(np.uint8)
    return prediction, truth, brain, lesion


def in_turns(*functions: Callable[[], object], repeats: int = 5) -> list[float]:
    """Return the median seconds of each function, called in turns after one call each to warm up."""
    times: list[list[float]] = [[] for _ in functions]
    for repeat in range(repeats + 1):
        for function, taken in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            if repeat:
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def ssim_row(window: Window, shape: tuple[int, int, int]) -> dict[str, object]:
    prediction, truth, *_ = phantom(shape)
    x, y = (torch.from_numpy(image)[None, None] for image in (prediction, truth))
    there = {"gaussian_weights": True, "use_sample_covariance": False} if window == "gaussian" else {}
    ours, theirs = in_turns(
        lambda: ssim_map(x, y, data_range=1.0, window=window),
        lambda: structural_similarity(truth, prediction, data_range=1.0, full=True, **there),
    )
    row = {"what": f"ssim map, {window}", "shape": shape, "mrsynth_s": round(ours, 3), "skimage_s": round(theirs, 3)}
    return row | {"ratio": round(theirs / ours, 2)} | environment()


def evaluation_row(preset: str) -> dict[str, object]:
    prediction, truth, brain, lesion = phantom(HEAD)
    regions = build_regions(HEAD, brain, lesion)
    (seconds,) = in_turns(lambda: evaluate_pair(prediction, truth, regions, 1.0, preset), repeats=3)
    row = {"what": f"evaluate_pair, {preset}, {len(regions)} regions", "shape": HEAD, "mrsynth_s": round(seconds, 2)}
    return row | environment()


def main() -> None:
    for window in ("uniform", "gaussian"):
        print(json.dumps(ssim_row(window, BRAIN_BOX)), flush=True)
    for preset in PRESETS:
        print(json.dumps(evaluation_row(preset)), flush=True)


if __name__ == "__main__":
    main()
