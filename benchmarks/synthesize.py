"""One whole head (240×240×155) through a synthesizer of osman2022: seconds and peak memory, beside the bare network."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import environment, in_turns, medians, peak_mib, row, sized
from mrsynth.core.image import Image
from mrsynth.io import write_image
from mrsynth.model import save_model
from mrsynth.nets import build_net
from mrsynth.recipes.recipe import load_recipe
from mrsynth.synthesize import load_model
from mrsynth.synthesize.run import synthesize_files

HEAD = sized((240, 240, 155), (48, 48, 12))
EDGE, PASSES = sized((224, 9), (48, 1))  # 140 slices with brain


def untrained_run(folder: Path) -> Path:
    """Save an untrained osman2022 model: speed does not depend on the weights."""
    recipe = load_recipe("osman2022")
    contract = {
        "recipe": recipe.name,
        "inputs": recipe.task.inputs,
        "target": recipe.task.target,
        "net": recipe.net.name,
        "net_settings": recipe.net.settings,
        "patch": None,
        "flags": False,
        "steps": recipe.prepare,
        "range": recipe.range,
        "intensity": [],
        "began": {"data_fingerprint": "", "started": "2026-01-01T00:00:00+00:00", "start": None},
        "training": {
            "recipe": recipe.name,
            "title": "",
            "paper": "",
            "translation": "",
            "inputs": recipe.task.inputs,
            "target": recipe.task.target,
            "seed": 0,
            "n_cases": {"train": 0, "val": 0, "test": 0},
            "patients": {},
            "scans": [],
            "epochs": 0,
            "best_epoch": 0,
            "best_val_loss": 0.0,
            "device": "CPU",
            "commit": "unknown",
            "versions": {},
            "parameters": 0,
            "seconds": 0.0,
            "samples": {"kind": "slices", "train": 0, "val": 0},
        },
    }
    save_model(folder / "model", build_net(recipe.net.name, **recipe.net.settings).state_dict(), contract, "")
    return folder


def head() -> np.ndarray:
    """Return a skull-stripped head about as large as a brain: an ellipsoid of noise on zeros."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in HEAD), indexing="ij")
    inside = (x / 0.58) ** 2 + (y / 0.72) ** 2 + (z / 0.9) ** 2 < 1
    return inside * np.random.default_rng(0).uniform(100, 900, HEAD).astype(np.float32)


def main() -> None:
    place = environment("torch")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = untrained_run(folder / "run")
        write_image(Image(head(), np.eye(4), "t1"), folder / "t1.nii.gz")
        start = time.perf_counter()
        synthesize_files(run, {"t1": folder / "t1.nii.gz"}, folder / "first.nii.gz")
        first = time.perf_counter() - start
        net = load_model(run).net
        slices = torch.rand(16, 1, EDGE, EDGE).contiguous(memory_format=torch.channels_last)

        def bare() -> None:
            with torch.inference_mode():
                for _ in range(PASSES):
                    net(slices)

        whole, alone = medians(
            in_turns(
                lambda: synthesize_files(run, {"t1": folder / "t1.nii.gz"}, folder / "out.nii.gz"), bare, repeats=3
            )
        )
    row("synthesize", "a head, file to file, first call", first, "s", "≤ 12 s", **place)
    row("synthesize", "a head, file to file, later calls (load model and scan, write)", whole, "s", "≤ 12 s", **place)
    row("synthesize", "of it the bare network", alone, "s", **place)
    row("synthesize", "peak memory of the process", peak_mib(), "MiB", "≤ 2048 MiB", **place)


if __name__ == "__main__":
    main()
