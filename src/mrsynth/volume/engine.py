"""A network over blocks of one shape (slices, slabs, windows, a whole volume), as many at once as memory allows."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mrsynth.core.errors import MrsynthError
from mrsynth.core.memory import NO_CEILING, Ceiling
from mrsynth.core.progress import part_of, say_step
from mrsynth.volume.layers import CannotStreamError, Layer
from mrsynth.volume.stream import peak_bytes, stream
from mrsynth.volume.trace import trace

LOG = logging.getLogger("mrsynth.synthesize")

AT_ONCE = {"cpu": 16, "cuda": 64}
"""Blocks in a batch at most: more are no faster."""

ROWS = {"cpu": 16, "cuda": 1024}
"""Rows in a pass at most, where a block is streamed: what a pass touches stays nearer to the processor."""


class Plan(NamedTuple):
    """How much of the work is done at once.

    Attributes:
        batch: blocks at once.
        rows: of the first axis in a pass; all of them where nothing is streamed.
    """

    batch: int
    rows: int


@dataclass(frozen=True)
class Engine:
    """A network made ready, and where it runs.

    Attributes:
        net: (b, c, *space) → (b, 1, *space).
        device: where it runs.
        dtype: of the network's values; results are float32.
        budget: bytes that it may use beside weights and volume.
        whole: calls the network without streaming (compiled), where that is wanted.
        ceiling: of the process's memory.
        traced: the layers by the shape of a block, None where they cannot be streamed.
    """

    net: Callable[[Tensor], Tensor]
    device: torch.device
    dtype: torch.dtype
    budget: int
    whole: Callable[[Tensor], Tensor] | None = None
    ceiling: Ceiling = NO_CEILING
    traced: dict[tuple[int, ...], list[Layer] | None] = field(default_factory=dict, repr=False)

    def can_stream(self, space: Sequence[int], channels: int) -> bool:
        """Return whether each row of the network's output is known to follow from some rows of its input.

        Args:
            space: voxels along each axis of a block.
            channels: of a block.
        """
        return self._layers(1, channels, tuple(space)) is not None

    def run(
        self,
        take: Callable[[int, int], np.ndarray],
        put: Callable[[int, np.ndarray], None],
        count: int,
    ) -> None:
        """Predict blocks 0 … count − 1, as many at once as memory allows.

        Args:
            take: (start, stop) → the blocks from start to stop − 1, (b, c, *space).
            put: (start, prediction (b, *space)) takes the result of the blocks from start on.
            count: how many blocks there are.

        Raises:
            MrsynthError: not even the smallest part of a block fits into memory.
        """
        if not count:
            return
        channels, *space = take(0, 1).shape[1:]
        start = 0
        plan = self._plan(channels, tuple(space), count)
        if self.whole and plan.rows < space[0]:
            LOG.warning("A block is larger than the memory given: it is streamed, not compiled.")
        while start < count:
            stop = min(start + plan.batch, count)
            try:
                with part_of(start, stop - start, count) if count > 1 else nullcontext():
                    predicted = self._predict(take(start, stop), plan)
                    if count > 1:
                        say_step(1, 1)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                plan = self._smaller(plan, channels, tuple(space))
                LOG.warning("Out of memory: going on with %d at once, %d rows a pass.", plan.batch, plan.rows)
                continue
            put(start, predicted)
            start = stop

    def _predict(self, block: np.ndarray, plan: Plan) -> np.ndarray:
        """Return the prediction (b, *space) of one batch."""
        layout = torch.channels_last_3d if block.ndim == 5 else torch.channels_last
        batch, channels, *space = block.shape
        self.ceiling.make_room()
        with torch.inference_mode():
            x = torch.from_numpy(block).to(self.device, self.dtype).contiguous(memory_format=layout)
            del block  # a copy may stand in its place now
            layers = self._layers(batch, channels, tuple(space))
            if layers is None or (self.whole and plan.rows >= space[0]):
                out = (self.whole or self.net)(x)
            else:
                out = stream(layers, x, plan.rows, self.ceiling)
            return out[:, 0].float().cpu().numpy()

    def _plan(self, channels: int, space: tuple[int, ...], count: int) -> Plan:
        """Return the largest batch within the budget; where a single block is too large, the most rows of it."""
        most = min(AT_ONCE.get(self.device.type, 16), count)
        layers = self._layers(1, channels, space)
        if layers is None:
            return Plan(most if len(space) == 2 else 1, space[0])
        alone, budget = peak_bytes(layers, space[0], self.dtype.itemsize), self._budget_of(channels, space)
        if alone <= budget:
            return Plan(max(1, min(most, budget // max(alone, 1))), space[0])
        rows = ROWS.get(self.device.type, 16)
        while rows > 1 and peak_bytes(layers, rows, self.dtype.itemsize) > budget:
            rows //= 2
        return Plan(1, rows)

    def _budget_of(self, channels: int, space: tuple[int, ...]) -> int:
        """Return what the layers may use for a block: the budget without its input and output and, of a volume on a
        CPU, without the copy that oneDNN makes of a layer's weights while it computes."""
        block = (channels + 1) * math.prod(space) * self.dtype.itemsize
        weights = list(self.net.parameters()) if isinstance(self.net, nn.Module) else []
        copied = len(space) == 3 and self.device.type == "cpu"
        largest = max((w.numel() * w.element_size() for w in weights), default=0) if copied else 0
        return max(self.budget - block - largest, 0)

    def _smaller(self, plan: Plan, channels: int, space: tuple[int, ...]) -> Plan:
        """Return half of a plan that did not fit; raises MrsynthError where there is no half."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if plan.batch > 1:
            return Plan(plan.batch // 2, plan.rows)
        if plan.rows > 1 and self._layers(1, channels, space) is not None:
            return Plan(1, min(plan.rows, 2 * ROWS.get(self.device.type, 16)) // 2)
        raise MrsynthError(
            "The network does not fit into the memory at hand.",
            found=f"{channels} × {' × '.join(map(str, space))} voxels, on {self.device}, one row at a time",
            do="close other programs, or take --device cpu, --precision bf16, or a smaller network",
        )

    def _layers(self, batch: int, channels: int, space: tuple[int, ...]) -> list[Layer] | None:
        """Return the network's layers for blocks of a shape, None where it cannot be streamed."""
        shape = (batch, channels, *space)
        if shape not in self.traced:
            try:
                self.traced[shape] = trace(self.net, shape) if isinstance(self.net, nn.Module) else None
            except CannotStreamError as error:
                LOG.info("The network runs in one piece: %s.", error)
                self.traced[shape] = None
        return self.traced[shape]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch or Python says that memory ran out."""
    text = str(error).lower()
    words = ("out of memory", "not enough memory", "defaultcpuallocator", "can't allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in text for word in words)
