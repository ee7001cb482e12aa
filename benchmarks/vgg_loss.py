"""A training step through VGG-16's features on a CPU: li2022's contextual loss (conv5_3) at three sizes of slices, and
pinetz2023's content loss (relu3_3) of boxes: seconds and memory, of the features and loss alone and of the whole step.

Batches of 5 slices, DRUNet-34; 4 boxes of 16³. VGG-16 with drawn weights, which take the same time. Each in a process
of its own; time is that of all its cores added, so that a busy machine does not lengthen it; memory is beside what it
holds before.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.machine import alone, environment, peak_mib, row, run_as_told, sized
from mrsynth.losses.contextual import Contextual
from mrsynth.losses.perceptual import Perceptual
from mrsynth.nets import build_net
from mrsynth.nets.vgg import VGG

EDGES, BATCH, DEPTH, BOX, BOXES, TURNS = sized(((96, 192, 448), 5, 34, 16, 4, 3), ((64,), 1, 18, 8, 1, 1))


def measure(what: str, edge: str) -> dict[str, float]:
    """Run steps on slices (a loss, or "net": DRUNet with the contextual loss) or boxes ("boxes") of an edge."""
    torch.manual_seed(0)
    size = int(edge)
    if what == "boxes":
        loss: Callable[[Tensor, Tensor], Tensor] = Perceptual(VGG("vgg16", "relu3_3"))
        target = torch.rand(BOXES, 1, size, size, size)
    else:
        loss, target = Contextual(VGG("vgg16", "conv5_3")), torch.rand(BATCH, 1, size, size)
    image = torch.rand_like(target).requires_grad_()
    net = build_net("drunet", depth=DEPTH, inputs=1, imagenet=True, head="linear") if what == "net" else None
    before, taken = peak_mib(), []
    for _ in range(TURNS):
        start = time.process_time()
        loss(image if net is None else net(image), target).backward()
        taken.append(time.process_time() - start)
    return {"s": statistics.median(taken), "mib": peak_mib() - before}


def main() -> None:
    place = environment("torch")
    parts = [(f"{BATCH} slices of {e}×{e}, conv5_3 and contextual loss", "loss", e) for e in EDGES]
    parts += [(f"{BATCH} slices of {e}×{e}, the same with DRUNet-{DEPTH}", "net", e) for e in EDGES]
    parts += [(f"{BOXES} boxes of {BOX}³, relu3_3 and ‖·‖₁", "boxes", BOX)]
    for words, what, edge in parts:
        found = alone("vgg_loss", what, edge)
        row("vgg_loss", f"{words}: forward and backward", found["s"], "core s", **place)
        row("vgg_loss", f"{words}: memory", found["mib"], "MiB", **place)


if __name__ == "__main__":
    run_as_told(main, measure)
