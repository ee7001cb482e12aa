"""The contextual loss in tiles beside the plain form with all N×N distances: forward and backward, time and memory.

16 features; each form in a process of its own, in turns. Of 448×448 target points, of which the plain form would need
150 GiB for each N×N matrix, eight rows of synthetic points are run: all would take the same memory and 56 × the time.
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor

from benchmarks.machine import alone, environment, peak_mib, row, run_as_told, sized
from mrsynth.losses.contextual import contextual

FEATURES = 16
EDGES, LARGE, ROWS, TURNS = sized(((64, 96), 448, 8, 2), ((8,), 16, 4, 1))


def plain(s: Tensor, r: Tensor) -> Tensor:
    """Return the loss of points (n, f) with every distance in memory."""
    mean = r.mean(0)
    a, b = (torch.nn.functional.normalize(t - mean, dim=1) for t in (s, r))
    distance = 1 - a @ b.T
    relative = distance / (distance.min(dim=1, keepdim=True).values + 1e-5)
    weight = torch.exp((1 - relative) / 0.5)
    return -(weight / weight.sum(1, keepdim=True)).max(dim=0).values.mean().log()


def measure(form: str, points: str) -> dict[str, float]:
    """Run one form forward and backward on points × points synthetic points; of the large size, on a few rows."""
    edge = int(points)
    draw = torch.Generator().manual_seed(0)
    r = torch.randn(1, FEATURES, edge, edge, generator=draw)
    s = r + 0.3 * torch.randn(r.shape, generator=draw)
    s = (s[:, :, :ROWS] if edge == LARGE else s).clone().requires_grad_()
    contextual(s[..., :4, :4], r[..., :4, :4]).backward()
    before = peak_mib()
    start = time.perf_counter()
    value = contextual(s, r) if form == "tiled" else plain(s[0].flatten(1).T, r[0].flatten(1).T)
    value.backward()
    return {"s": time.perf_counter() - start, "mib": peak_mib() - before, "value": value.item()}


def main() -> None:
    place = environment("torch")
    for edge in EDGES:
        turns = [{form: alone("contextual_loss", form, edge) for form in ("tiled", "plain")} for _ in range(TURNS)]
        found = {f: {k: statistics.median(t[f][k] for t in turns) for k in ("s", "mib", "value")} for f in turns[0]}
        for form, one in found.items():
            row("contextual_loss", f"{form}, {edge}×{edge} points: forward and backward", one["s"], "s", **place)
            row("contextual_loss", f"{form}, {edge}×{edge} points: memory", one["mib"], "MiB", **place)
        apart = abs(found["tiled"]["value"] / found["plain"]["value"] - 1)
        row("contextual_loss", f"{edge}×{edge} points: relative difference of the values", apart, "", **place)
    one, what = alone("contextual_loss", "tiled", LARGE), f"tiled, {ROWS}×{LARGE} points against {LARGE}×{LARGE}"
    row("contextual_loss", f"{what}: forward and backward", one["s"], "s", **place)
    row("contextual_loss", f"{what}: memory", one["mib"], "MiB", **place)


if __name__ == "__main__":
    run_as_told(main, measure)
