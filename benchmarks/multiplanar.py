"""The virtual contrast model over a head along three axes at five rotations, beside the bare network on as many slices.

The head is 64³ and the network has half its width, for a machine of two cores; a wider network takes longer, and what
turning adds counts less.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.machine import environment, in_turns, medians, row, sized
from mrsynth.core.memory import keep_freed_memory
from mrsynth.core.settings import PredictSettings
from mrsynth.nets import build_net
from mrsynth.volume.predict import Inference, predict_volume

EDGE, NEIGHBOURS, AT_ONCE = sized((64, 3, 16), (16, 3, 16))
ROTATIONS_DEG: tuple[float, ...] = sized((0, 18, 36, 54, 72), (0, 36))
FIFTEEN = PredictSettings(planes=("z", "y", "x"), rotations_deg=ROTATIONS_DEG)


def head() -> list[np.ndarray]:
    """Return two scans of a ball of noise, 0 around it, as a stripped head is."""
    place = np.arange(EDGE) - (EDGE - 1) / 2
    inside = sum(axis**2 for axis in np.meshgrid(place, place, place)) < (0.4 * EDGE) ** 2
    return [np.where(inside, np.random.default_rng(n).random(inside.shape, np.float32), 0) for n in range(2)]


def bare(net: nn.Module, passes: int) -> Callable[[], None]:
    """Return the network on as many slices."""
    slices = torch.rand(AT_ONCE, 2 * (2 * NEIGHBOURS + 1), EDGE, EDGE).contiguous(memory_format=torch.channels_last)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(passes * EDGE // AT_ONCE):
                net(slices)

    return run


def main() -> None:
    place = environment("torch")
    keep_freed_memory()
    net, inputs = build_net("unet25d", width=16).eval().to(memory_format=torch.channels_last), head()
    hows = [Inference(neighbours=NEIGHBOURS, planes=planes) for planes in (PredictSettings(), FIFTEEN)]
    axial, all_15 = ((lambda how=how: predict_volume(net, inputs, how)) for how in hows)
    times = medians(in_turns(axial, all_15, bare(net, 1), bare(net, 15), repeats=3))
    name = f"unet25d (width 16), {EDGE}³"
    row("multiplanar", f"{name}, 3 planes × 5 rotations: seconds", times[1], "s", **place)
    row("multiplanar", "time over that of the bare network on as many slices", times[1] / times[3], "×", **place)
    row("multiplanar", "axial slices, each once: time over that of the bare network", times[0] / times[2], "×", **place)


if __name__ == "__main__":
    main()
