"""The noise-preserving loss at 64³, batch 12: exact and gaussian solver, and POT's 1-D solver, where it is.

Each solver runs in a process of its own, forward and backward; the cheap ones take three turns after a warm-up, the
others one. POT (`pip install POT`) is measured twice: its batched solver with gradients, and one call a patch without.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from benchmarks.machine import alone, environment, peak_mib, row, run_as_told, sized
from mrsynth.losses.noise import PatchWasserstein, patches

SHAPE = sized((12, 1, 64, 64, 64), (1, 1, 12, 12, 12))
FULL_TURNS = {"exact": 3, "gaussian": 3, "POT batched": 3, "POT loop": 1}
TURNS = {name: sized(turns, 1) for name, turns in FULL_TURNS.items()}


def solver(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss (sum over patches, mean over the batch) with one of the solvers."""
    if name == "POT batched":
        import ot

        return lambda x, y: ot.wasserstein_1d(patches(x, 4, (1, 2, 0)).T, patches(y, 4, (1, 2, 0)).T).sum() / len(x)
    if name == "POT loop":
        import ot

        def loop(x: Tensor, y: Tensor) -> Tensor:
            pairs = zip(*(patches(t.detach(), 4, (1, 2, 0)).numpy() for t in (x, y)), strict=True)
            return torch.tensor(sum(ot.emd2_1d(a, b, metric="euclidean") for a, b in pairs) / len(x))

        return loop
    loss = PatchWasserstein(solver=name)  # type: ignore[arg-type]
    return lambda x, y: loss(x, y, offsets=[(1, 2, 0)])


def measure(name: str) -> dict[str, float]:
    """Run one solver forward and backward."""
    draw = torch.Generator().manual_seed(0)
    x, y = (torch.randn(SHAPE, generator=draw) for _ in range(2))
    loss = solver(name)
    warm = x if TURNS[name] > 1 else x[:1, :, :8, :8, :8]
    before = peak_mib()
    for image in (warm, x):
        image = image.clone().requires_grad_()
        start = time.perf_counter()
        value = loss(image, y[: len(image), :, : image.shape[2], : image.shape[3], : image.shape[4]])
        if value.requires_grad:
            value.backward()
    return {"s": time.perf_counter() - start, "mib": peak_mib() - before, "value": value.item()}


def main() -> None:
    place = environment("torch", *(["POT"] if find_spec("ot") else []))
    names = [name for name in TURNS if find_spec("ot") or not name.startswith("POT")]
    if len(names) < len(TURNS):
        print("POT is not installed: its rows are missing", file=sys.stderr)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for turn in range(max(TURNS.values())):
        for name in (n for n in names if turn < TURNS[n]):
            runs[name].append(alone("noise_loss", name))
    found = {n: {key: statistics.median(run[key] for run in taken) for key in taken[0]} for n, taken in runs.items()}
    wanted = {"POT batched": "≥ 3"}
    for name, one in found.items():
        what = "value only" if name == "POT loop" else "forward and backward"
        row("noise_loss", f"{name}: {what}, 64³, batch 12", one["s"], "s", **place)
        row("noise_loss", f"{name}: memory on top of the images", one["mib"], "MiB", **place)
        if name not in ("exact", "gaussian"):
            row(
                "noise_loss",
                f"{name} / exact, time",
                one["s"] / found["exact"]["s"],
                "ratio",
                wanted.get(name, ""),
                **place,
            )
            apart = abs(one["value"] / found["exact"]["value"] - 1)
            row("noise_loss", f"{name}: relative difference to exact", apart, "", **place)


if __name__ == "__main__":
    run_as_told(main, measure)
