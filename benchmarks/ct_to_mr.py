"""MR from CT with DRUNet-34: a head of 160 slices of 448×448, ours and the bare network in turns, and our memory.

Times are those of 16 of the slices, times ten: a slice costs the same wherever it lies.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.machine import alone, environment, in_turns, medians, peak_mib, row, run_as_told, sized
from mrsynth.core.image import Image
from mrsynth.core.memory import keep_freed_memory
from mrsynth.nets import build_net
from mrsynth.steps.resize import resize_slices
from mrsynth.volume.predict import Inference, predict_volume

EDGE, SLICES, TIMED, OWN_EDGE = sized((448, 160, 16, 256), (64, 2, 2, 32))


def network() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return build_net("drunet", generator=generator, depth=34, inputs=1, imagenet=True).eval()


def head(slices: int) -> np.ndarray:
    return np.random.default_rng(0).random((EDGE, EDGE, slices), dtype=np.float32)


def ours(net: nn.Module, ct: np.ndarray) -> Callable[[], np.ndarray]:
    """Return the prediction of the slices and its way back to 256×256."""

    def run() -> np.ndarray:
        image = Image(predict_volume(net, [ct], Inference()), np.eye(4), "t1")
        return resize_slices(image, (OWN_EDGE, OWN_EDGE), np.eye(4)).data

    return run


def bare(net: nn.Module, ct: np.ndarray) -> Callable[[], None]:
    """Return the network on the same slices, one after the other."""
    slices = torch.from_numpy(np.ascontiguousarray(np.moveaxis(ct, 2, 0)))[:, None, None]

    def run() -> None:
        with torch.inference_mode():
            for one in slices:
                net(one)

    return run


def measure(which: str, slices: str) -> dict[str, float]:
    """Run one way once; how much the process grew, weights and input beside it."""
    net, ct = network(), head(int(slices))
    with torch.inference_mode():
        net(torch.rand(1, 1, 32, 32))
    before = peak_mib()
    {"ours": ours, "bare": bare}[which](net, ct)()
    return {"mib": peak_mib() - before}


def main() -> None:
    place = environment("torch")
    keep_freed_memory()
    net, ct = network(), head(TIMED)
    times = medians(in_turns(ours(net, ct), bare(net, ct), repeats=3))
    name = f"DRUNet-34, {SLICES} slices of {EDGE}×{EDGE}, back to {OWN_EDGE}×{OWN_EDGE}"
    row("ct_to_mr", f"{name}: seconds (from {TIMED} slices)", times[0] * SLICES / TIMED, "s", **place)
    row("ct_to_mr", "time over that of the bare network on the slices", times[0] / times[1], "×", "≤ 1.2 ×", **place)
    for which, what in (
        ("ours", "memory beside weights and input; 1.25 GiB of it for slices side by side, the rest for the result"),
        ("bare", "… of the bare network, a slice at a time, its results not kept"),
    ):
        row("ct_to_mr", what, alone("ct_to_mr", which, SLICES)["mib"], "MiB", **place)


if __name__ == "__main__":
    run_as_told(main, measure)
