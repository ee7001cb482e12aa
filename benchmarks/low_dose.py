"""pinetz2023's generator over a head at one dose: ours (streamed) beside the bare network on as many voxels; memory."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.machine import alone, environment, in_turns, medians, peak_mib, row, run_as_told, sized
from mrsynth.core.memory import keep_freed_memory
from mrsynth.nets import build_net
from mrsynth.synthesize.dose import AtDose, Dosage, noise
from mrsynth.volume.predict import Inference, predict_volume

EDGE, FULL_HEAD = sized((128, (176, 216, 176)), (16, (16, 24, 16)))
"""Voxels of 1 mm; the full head is the recipe's box about a brain."""

PATCH, PART = sized((64, 40), (8, 12))
HOW = Inference(patch=[PATCH] * 3)


def network() -> nn.Module:
    torch.manual_seed(0)
    return AtDose(build_net("lowdose"), Dosage(dose=0.17, b0_tesla=3.0, seed=1)).eval()


def head(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return noise, native and standard dose."""
    scans = [np.random.default_rng(contrast).random(shape, dtype=np.float32) for contrast in range(2)]
    return [noise(shape, 1), *scans]


def bare(net: nn.Module, inputs: list[np.ndarray]) -> Callable[[], None]:
    """Return the network on cubes that sum to the head's voxels, without margins: what no windows can beat."""
    cube = torch.rand(1, len(inputs), PATCH, PATCH, PATCH)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(inputs[0].size // PATCH**3):
                net(cube)

    return run


def memory_of(which: str, shape: tuple[int, ...]) -> dict[str, float]:
    """Return MiB beside weights and volume, and the seconds, of one prediction."""
    return alone("low_dose", which, *shape)


def measure(which: str, *edges: str) -> dict[str, float]:
    """Run one way once; how long it took and how much the process grew."""
    net, inputs = network(), head(tuple(map(int, edges)))
    keep_freed_memory()
    with torch.inference_mode():
        net(torch.rand(1, 3, 8, 8, 8))  # what libraries set up at their first call is not the prediction's
    before = peak_mib()
    run = {"bare": bare(net, inputs), "ours": lambda: predict_volume(net, inputs, HOW)}[which]
    start = time.perf_counter()
    run()
    return {"mib": peak_mib() - before, "seconds": time.perf_counter() - start}


def main() -> None:
    place = environment("torch")
    keep_freed_memory()
    net, inputs = network(), head((EDGE,) * 3)
    times = medians(in_turns(lambda: predict_volume(net, inputs, HOW), bare(net, inputs), repeats=3))
    part = [array[:PART, :PART, :PART] for array in inputs]
    with torch.inference_mode():
        whole = net(torch.from_numpy(np.stack(part))[None])[0, 0].numpy()
    streamed = predict_volume(net, part, HOW.model_copy(update={"memory_gib": 0.01}))
    error = float(np.abs(streamed - whole).max() / np.abs(whole).max())
    name = f"lowdose (1.8 M parameters), {EDGE}³, one dose"
    row("low_dose", f"{name}: seconds", times[0], "s", **place)
    row("low_dose", "time over that of the bare network on as many voxels", times[0] / times[1], "×", **place)
    row("low_dose", f"largest difference from the volume in one piece ({PART}³)", error, "", "≤ 1e-4", **place)
    row(
        "low_dose",
        f"memory beside weights and volume, {EDGE}³",
        memory_of("ours", inputs[0].shape)["mib"],
        "MiB",
        **place,
    )
    row("low_dose", f"… bare network on cubes of {PATCH}³", memory_of("bare", inputs[0].shape)["mib"], "MiB", **place)
    full = memory_of("ours", FULL_HEAD)
    size = "×".join(map(str, FULL_HEAD))
    row("low_dose", f"a head of 1 mm ({size}), one dose: seconds", full["seconds"], "s", **place)
    row("low_dose", "… memory beside weights and volume", full["mib"], "MiB", "≤ 2048 MiB", **place)


if __name__ == "__main__":
    run_as_told(main, measure)
