"""Networks of the recipes over a volume by torch, ONNX Runtime and OpenVINO: CPU time, and what --engine auto picks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.machine import environment, row, sized
from mrsynth.core.extras import is_there
from mrsynth.nets import build_net
from mrsynth.volume.predict import Inference, predict_volume
from mrsynth.volume.runtimes import PACKAGES, chosen

Patch = list[int | None] | None
SLAB: Patch = [None, None, 3]


class Network(NamedTuple):
    """A network and what it goes over. of: the recipe; neighbours: slices on each side that it sees too."""

    of: str
    name: str
    settings: dict[str, Any]
    shape: tuple[int, int, int]
    patch: Patch = None
    neighbours: int = 0


NARROW = {"inputs": 3, "mode": "slab", "widths": [8, 16, 32], "blocks": 1}
QUARTER = {"inputs": 3, "mode": "slab", "widths": [16, 32, 64, 128], "norm": "batch"}
NETS = sized(
    (
        Network("osman2022, 192²", "unet2d", {"inputs": 1}, (192, 192, 4)),
        Network("pasumarthi2021, 192²", "unet25d", {"inputs": 14}, (192, 192, 4), None, 3),
        Network("li2022 with DRUNet-34, 192²", "drunet", {"inputs": 1, "depth": 34}, (192, 192, 4)),
        Network("chen2022/small, slabs of 128²", "hrfcn", NARROW, (128, 128, 4), SLAB),
        Network("chen2022/unet3d, a quarter as wide, slabs of 128²", "unet3d", QUARTER, (128, 128, 4), SLAB),
    ),
    (
        Network("toy", "unet2d", {"inputs": 1, "widths": [4, 4], "dropout": [0.0, 0.0]}, (16, 16, 2)),
        Network("toy slab", "hrfcn", {**NARROW, "widths": [4, 8, 16]}, (16, 16, 3), SLAB),
    ),
)


def cpu_seconds(function: Callable[[], object]) -> float:
    """Return the CPU time of a call: a busy machine does not lengthen it much."""
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    place = environment("torch", *(name for name in ("onnxruntime", "openvino") if is_there(name)))
    engines = [name for name in ("onnx", "openvino") if all(map(is_there, PACKAGES[name]))]
    for network in NETS:
        torch.manual_seed(0)
        net = build_net(network.name, **network.settings).eval()
        count = network.settings["inputs"] // (2 * network.neighbours + 1)
        volumes = list(np.random.default_rng(0).random((count, *network.shape), np.float32))
        times = {engine: _times(net, volumes, network, engine) for engine in ("torch", *engines)}
        row("engines", f"{network.of}: torch, CPU time", times["torch"], "s", **place)
        picked = chosen("auto", network.patch, "cpu", "32")
        for engine in engines:
            words = f"{network.of}: {engine} faster than torch by" + (" (auto picks it)" if engine == picked else "")
            wanted = "≥ 1" if engine == picked else ""
            row("engines", words, times["torch"] / max(times[engine], 1e-9), "×", wanted, **place)


def _times(net: nn.Module, volumes: list[np.ndarray], network: Network, engine: str) -> float:
    """Return the median CPU time of a volume; the first, which writes the network as ONNX, does not count."""
    how = Inference.model_validate({"patch": network.patch, "neighbours": network.neighbours, "engine": engine})
    taken = [cpu_seconds(lambda: predict_volume(net, volumes, how)) for _ in range(sized(6, 2))]
    return statistics.median(taken[1:])


if __name__ == "__main__":
    main()
