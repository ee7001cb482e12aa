"""A 2-D network over a volume along several axes and with the slices turned, and the mean of it all.

What a network invents in one slice and not in the next shows as steps across the slices; seen along three axes the
steps lie in three directions and average out (pasumarthi2021: 3 planes × 5 rotations; li2022 names the steps a limit
of its own slices).

Turning interpolates, there and back, cubically: linearly it costs 5 to 7 dB more (docs/explain/inference.md). A brain
whose background is 0 would lose signal along its edge each time; so only what is not background is interpolated, and
divided by the share of the weights that fell on it, both ways:

    v = turn(image · m) / turn(m) where turn(m) ≥ ½, else nothing        m: not background in some input

A constant brain stays constant to its last voxel. The background is predicted in the slices as they lie, alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mrsynth.core.progress import part_of
from mrsynth.core.settings import PredictSettings
from mrsynth.volume.engine import Engine
from mrsynth.volume.slices import predict_slices

Size = tuple[int, int]


@dataclass(frozen=True)
class SliceNet:
    """A network of slices, (b, c · (2n + 1), u, v) → (b, 1, u, v).

    Attributes:
        engine: runs the network.
        neighbours: n, the slices on each side that it sees too.
        stride: what u and v must be multiples of; slices are filled up at their far ends.
        background: the value with which they are filled up.
    """

    engine: Engine
    neighbours: int = 0
    stride: int = 1
    background: float = 0.0

    def predict(self, volumes: list[np.ndarray]) -> np.ndarray:
        """Return the prediction of every slice along the last axis of c volumes (u, v, k)."""
        u, v, _ = volumes[0].shape
        more = [(0, -size % self.stride) for size in (u, v)]
        if any(far for _, far in more):
            volumes = [np.pad(a, [*more, (0, 0)], constant_values=self.background) for a in volumes]
        return predict_slices(self.engine, volumes, self.neighbours)[:u, :v]

    def predict_turned(
        self, volumes: list[np.ndarray], there: np.ndarray, degrees: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the prediction with all slices turned, turned back again.

        Slices are turned inside a square that holds their longer edge. What leaves the square is not predicted, nor is
        the background.

        Args:
            volumes: c arrays (u, v, k).
            there: bool (u, v, k), what is not background.
            degrees: the angle.

        Returns:
            The prediction (u, v, k), 0 where there is none, and where there is one, bool (u, v, k).
        """
        u, v, _ = there.shape
        edge = math.ceil(max(u, v) / self.stride) * self.stride
        turned, inside = turn_inside(volumes, there, degrees, (edge, edge))
        predicted = self.predict([np.where(inside, a, self.background) for a in turned])
        (back,), covered = turn_inside([predicted], inside, -degrees, (u, v))
        return back, covered


def predict_planes(net: SliceNet, inputs: list[np.ndarray], how: PredictSettings) -> np.ndarray:
    """Return the mean prediction over planes and rotations.

    Every voxel is predicted once in each plane, and once more at each rotation that leaves it inside the square.

    Args:
        net: the network of slices.
        inputs: c arrays (x, y, z). Where there are several planes or rotations the voxels must be cubic: others would
            show the network a distorted head.
        how: planes and rotations in degrees.

    Returns:
        (x, y, z) float32.
    """
    if how.is_axial:
        return net.predict(inputs)
    shape = inputs[0].shape
    there = np.logical_or.reduce([a != net.background for a in inputs])
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.uint16)
    done, all_slices = 0, len(how.rotations_deg) * sum(shape["xyz".index(plane)] for plane in how.planes)
    for plane in how.planes:
        along = "xyz".index(plane)
        volumes = [np.moveaxis(a, along, 2) for a in inputs]
        mask, sums, counts = (np.moveaxis(a, along, 2) for a in (there, total, count))  # views, to add to
        for degrees in how.rotations_deg:
            with part_of(done, shape[along], all_slices):
                if degrees == 0:
                    sums += net.predict(volumes)
                    counts += 1
                else:
                    predicted, covered = net.predict_turned(volumes, mask, degrees)
                    sums += predicted
                    counts += covered
            done += shape[along]
    return total / count


def turn_inside(
    volumes: list[np.ndarray], inside: np.ndarray, degrees: float, size: Size
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return volumes turned as if nothing existed but what is inside, and the inside turned.

    Args:
        volumes: arrays (u, v, k).
        inside: bool (u, v, k).
        degrees: the angle, as `turn` takes it.
        size: of the turned slices.

    Returns:
        The volumes (*size, k), 0 outside, and the inside (*size, k), bool.
    """
    share = turn(inside, degrees, size)
    covered = share >= 0.5
    least = np.maximum(share, 0.5)
    return [np.where(covered, turn(a * inside, degrees, size) / least, 0) for a in volumes], covered


def turn(volume: np.ndarray, degrees: float, size: Size) -> np.ndarray:
    """Return slices turned about their middle, cubically interpolated, 0 beyond their edges.

    Args:
        volume: (u, v, k).
        degrees: the angle.
        size: of the turned slices, about the same middle.

    Returns:
        (*size, k) float32.
    """
    u, v = volume.shape[:2]
    angle = math.radians(degrees)
    i, j = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in size)
    from_u = math.cos(angle) * i[:, None] + math.sin(angle) * j + u / 2
    from_v = -math.sin(angle) * i[:, None] + math.cos(angle) * j + v / 2
    # grid_sample wants the last axis first, from -1 to 1 over the outer edges of the voxels.
    grid = torch.stack([2 * from_v / v - 1, 2 * from_u / u - 1], dim=-1).float()
    stack = torch.from_numpy(np.ascontiguousarray(np.moveaxis(volume, 2, 0), np.float32))
    out = nn.functional.grid_sample(stack[None], grid[None], mode="bicubic", align_corners=False)
    return np.moveaxis(out[0].numpy(), 0, 2)
