"""A whole head through a 3-D network: ours (streamed), MONAI's sliding window and the bare network, in turns; memory.

The head is 128³ for the times (MONAI's windows see each voxel 3.4 times there, as on 192×256×192) and 192×256×192 for
our memory. MONAI is compared with where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from torch import nn

from benchmarks.machine import alone, environment, in_turns, medians, peak_mib, row, run_as_told, sized
from mrsynth.core.memory import keep_freed_memory
from mrsynth.nets import build_net
from mrsynth.volume.fold import fold_batch_norm
from mrsynth.volume.predict import Inference, predict_volume

HEAD, FULL_HEAD = sized(((128, 128, 128), (192, 256, 192)), ((16, 16, 16), (16, 24, 16)))
PATCH, WINDOW, PART = sized((64, 96, 64), (8, 16, 16))
HOW = Inference(patch=[PATCH] * 3)


def network() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return build_net("hrfcn", generator=generator, mode="cube", widths=[16, 32, 64], blocks=1).eval()


def head(shape: tuple[int, ...]) -> list[np.ndarray]:
    return [np.random.default_rng(contrast).random(shape, dtype=np.float32) for contrast in range(3)]


def ours(net: nn.Module, inputs: list[np.ndarray]) -> Callable[[], np.ndarray]:
    return lambda: predict_volume(net, inputs, HOW)


def bare(net: nn.Module, inputs: list[np.ndarray]) -> Callable[[], None]:
    """Return the network on cubes that sum to the head's voxels, without margins: what no windows can beat."""
    count = inputs[0].size // PATCH**3
    cube = torch.rand(1, len(inputs), PATCH, PATCH, PATCH)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(count):
                net(cube)

    return run


def monai(net: nn.Module, inputs: list[np.ndarray], device: str = "cpu") -> Callable[[], object]:
    from monai.inferers import SlidingWindowInferer

    inferer = SlidingWindowInferer(roi_size=(WINDOW,) * 3, sw_batch_size=1, overlap=0.25, mode="gaussian")

    def run() -> object:
        with torch.inference_mode():
            return inferer(torch.from_numpy(np.stack(inputs))[None].to(device), net)

    return run


def memory_of(which: str, shape: tuple[int, ...]) -> float:
    """Return the MiB that one prediction takes beside weights and volume."""
    return alone("full_head", which, *shape)["mib"]


def measure(which: str, *edges: str) -> dict[str, float]:
    """Run one way once; how much the process grew."""
    net, inputs = network(), head(tuple(map(int, edges)))
    with torch.inference_mode():
        net(torch.rand(1, 3, 8, 8, 8))  # what libraries set up at their first call is not the prediction's
    before = peak_mib()
    {"ours": ours, "bare": bare, "monai": monai}[which](net, inputs)()
    return {"mib": peak_mib() - before}


def main() -> None:
    with_monai = find_spec("monai") is not None
    place = environment("torch", *(["monai"] if with_monai else []))
    keep_freed_memory()  # for all of them
    net, inputs = network(), head(HEAD)
    ways = [ours(net, inputs), bare(net, inputs), bare(fold_batch_norm(net), inputs)]
    ways += [monai(net, inputs)] if with_monai else []
    times = medians(in_turns(*ways, repeats=3))
    with torch.inference_mode():
        whole = net(torch.from_numpy(np.stack([a[:PART, :PART, :PART] for a in inputs]))[None])[0, 0].numpy()
    parts = predict_volume(net, [a[:PART, :PART, :PART] for a in inputs], HOW.model_copy(update={"memory_gib": 0.05}))
    name = "hrfcn (cube, widths 16, 32, 64), 128³"
    row("full_head", f"{name}: seconds", times[0], "s", **place)
    row(
        "full_head",
        "time over that of the bare network on as many voxels",
        times[0] / times[1],
        "×",
        "≤ 1.2 ×",
        **place,
    )
    row("full_head", "… of the bare network with folded normalisation", times[0] / times[2], "×", **place)
    if with_monai:
        row(
            "full_head",
            "MONAI's sliding window (96³, overlap 0.25) over ours",
            times[3] / times[0],
            "×",
            "≥ 2.5 ×",
            **place,
        )
    error = float(np.abs(parts - whole).max() / np.abs(whole).max())
    row(
        "full_head",
        "largest difference from the volume in one piece, of its maximum (64³)",
        error,
        "",
        "≤ 1e-4",
        **place,
    )
    row(
        "full_head",
        "memory beside weights and volume, 192×256×192",
        memory_of("ours", FULL_HEAD),
        "MiB",
        "≤ 2048 MiB",
        **place,
    )
    row("full_head", "… 128³", memory_of("ours", HEAD), "MiB", "≤ 2048 MiB", **place)
    row("full_head", "… 128³, bare network on cubes of 64³", memory_of("bare", HEAD), "MiB", **place)
    if with_monai:
        row("full_head", "… 128³, MONAI", memory_of("monai", HEAD), "MiB", **place)


if __name__ == "__main__":
    run_as_told(main, measure)
