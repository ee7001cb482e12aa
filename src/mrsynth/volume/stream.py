"""A network streamed along the first space axis: each row of each layer is computed once and dropped when it is used.

A pass takes the next rows of the input. Every layer computes what follows from its inputs so far and keeps only the
rows that its users still need: two before a 3³ convolution, more where a short branch waits for a long one. The result
is that of the whole image at once, without halo, seams or a voxel computed twice, in memory that does not grow with the
image's length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mrsynth.core.memory import NO_CEILING, Ceiling
from mrsynth.core.progress import say_step
from mrsynth.volume.layers import Layer
from mrsynth.volume.rows import AXIS, Spread, Window


def stream(layers: list[Layer], x: Tensor, rows: int, ceiling: Ceiling = NO_CEILING) -> Tensor:
    """Run a network row by row; says how many rows are done after each pass.

    Args:
        layers: of the network, traced for inputs of x's shape and type.
        x: (b, c, *space).
        rows: input rows a pass.
        ceiling: of the process's memory.

    Returns:
        The network's output for x.
    """
    kept: dict[int, tuple[int, Tensor]] = {0: (0, x)}
    result: Tensor | None = None
    last, total = len(layers) - 1, layers[-1].length
    for steps in schedule(layers, rows):
        for step in steps:
            if step.start < step.stop:
                layer = layers[step.number]
                ceiling.make_room((step.stop - step.start) * (layer.elements + layer.scratch) * x.element_size())
                new = _compute(layers, step, kept)
                if step.number == last:
                    if result is None:
                        result = new.new_empty((*new.shape[:AXIS], total, *new.shape[AXIS + 1 :]))
                    result.narrow(AXIS, step.start, step.stop - step.start).copy_(new)
                    say_step(step.stop, total)
                else:
                    first, old = kept.get(step.number, (step.start, None))
                    if old is not None:
                        ceiling.make_room((old.numel() + new.numel()) * x.element_size())
                    kept[step.number] = (first, new if old is None else torch.cat([old, new], dim=AXIS))
                    del old
                del new
            for number, keep in step.drop:
                _drop(kept, number, keep)
    if result is None:
        raise ValueError("an image without rows")
    return result


def peak_bytes(layers: list[Layer], rows: int, bytes_each: int) -> int:
    """Return the most memory that `stream` holds at once beside input and output, by the schedule alone.

    Args:
        layers: of the network.
        rows: input rows a pass.
        bytes_each: of a number.
    """
    live: dict[int, tuple[int, int]] = {}
    total = peak = 0
    for steps in schedule(layers, rows):
        for number, start, stop, drop in steps:
            elements = layers[number].elements
            if start < stop:
                new = (stop - start) * elements
                first, end = live.get(number, (start, start))
                joined = (stop - first) * elements if end > first else 0
                passing = _padded_elements(layers, number, start, stop) + (stop - start) * layers[number].scratch
                peak = max(peak, total + new + max(joined, passing))
                live[number] = (first, stop)
                total += new
            for other, keep in drop:
                first, end = live.pop(other, (keep, keep))
                total -= (min(keep, end) - first) * layers[other].elements
                if keep < end:
                    live[other] = (keep, end)
    return peak * bytes_each


class Step(NamedTuple):
    """A layer computes the rows [start, stop).

    Attributes:
        number: of the layer.
        start: the first row.
        stop: the row after the last.
        drop: what each layer then gives up: (number of the layer, first row still needed).
    """

    number: int
    start: int
    stop: int
    drop: tuple[tuple[int, int], ...]


def schedule(layers: list[Layer], rows: int) -> Iterator[list[Step]]:
    """Yield the passes over a network, each the steps that it takes in order.

    Args:
        layers: of the network.
        rows: input rows a pass.
    """
    length = layers[0].length
    quota = [-(-rows * layer.length // length) for layer in layers]
    done = [0] * len(layers)
    while done[-1] < layers[-1].length:
        before, done = done, _advance(layers, done, quota)
        yield _steps(layers, before, done)


def _advance(layers: list[Layer], done: list[int], quota: list[int]) -> list[int]:
    """Return how many rows of each layer are there after a pass."""
    new = [min(done[0] + quota[0], layers[0].length)]
    for number, layer in enumerate(layers[1:], start=1):
        there = layer.length
        for slot, source in enumerate(layer.inputs):
            if new[source] < layers[source].length:
                there = min(there, layer.rows.ready(new[source]) if slot == 0 else new[source])
        # A layer with more rows than its input (padded at the end) has them when the input is complete.
        there = max(there, done[number])
        new.append(there if layer.cheap else min(there, done[number] + quota[number]))
    return new


def _steps(layers: list[Layer], before: list[int], after: list[int]) -> list[Step]:
    """Return what a pass computes, in order, and what can be dropped after each step."""
    count = len(layers)
    starts, stops, keeps, last = list(before), list(after), list(after), list(range(count))
    needed: list[tuple[int, int] | None] = [None] * count  # of cheap layers: in this pass
    for number in range(count - 1, 0, -1):
        layer = layers[number]
        if layer.cheap:
            starts[number], stops[number] = needed[number] or (after[number], after[number])
        for slot, source in enumerate(layer.inputs):
            if starts[number] < stops[number]:
                first, end = _needs(layers, number, slot, starts[number], stops[number])
                old = needed[source]
                needed[source] = (first, end) if old is None else (min(old[0], first), max(old[1], end))
                last[source] = max(last[source], number)
            following = keeps[number] if layer.cheap else after[number]
            if following < layer.length:
                first, _ = _needs(layers, number, slot, following, following + 1)
                keeps[source] = min(keeps[source], first)
    drops: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for number in range(1, count):  # the input itself is never dropped
        if starts[number] < stops[number] or before[number] > 0:
            keep = stops[number] if layers[number].cheap else keeps[number]
            drops[last[number]].append((number, keep))
    return [
        Step(number, starts[number], stops[number], tuple(drops[number]))
        for number in range(1, count)
        if starts[number] < stops[number] or drops[number]
    ]


def _needs(layers: list[Layer], number: int, slot: int, start: int, stop: int) -> tuple[int, int]:
    """Return the rows of an input from which a layer's rows [start, stop) follow, as far as they exist."""
    layer = layers[number]
    length = layers[layer.inputs[slot]].length
    first, end = layer.rows.needs(start, stop) if slot == 0 else (start, stop)
    return min(max(first, 0), length), max(min(end, length), 0)


def _beyond(layers: list[Layer], number: int, start: int, stop: int) -> tuple[int, int]:
    """Return how many rows before and after its first input a layer sees: its padding."""
    layer = layers[number]
    if isinstance(layer.rows, Spread):  # what does not exist adds nothing
        return 0, 0
    first, end = layer.rows.needs(start, stop)
    return max(-first, 0), max(end - layers[layer.inputs[0]].length, 0) - max(first - layers[layer.inputs[0]].length, 0)


def _is_whole(layer: Layer, front: int, back: int) -> bool:
    """Return whether a layer sees all of its padding at both ends, which it can then do by itself."""
    return isinstance(layer.rows, Window) and front == back == layer.rows.padding and layer.padded is not None


def _padded_elements(layers: list[Layer], number: int, start: int, stop: int) -> int:
    """Return the size of the copy that is made to pad a layer's input, 0 where none is."""
    layer, (front, back) = layers[number], _beyond(layers, number, start, stop)
    if not (front or back) or _is_whole(layer, front, back):
        return 0
    first, end = _needs(layers, number, 0, start, stop)
    return (front + end - first + back) * layers[layer.inputs[0]].elements


def _compute(layers: list[Layer], step: Step, kept: dict[int, tuple[int, Tensor]]) -> Tensor:
    """Return a layer's rows of a step from its inputs' kept rows."""
    number, start, stop, _ = step
    layer = layers[number]
    inputs: list[Tensor] = []
    for slot, source in enumerate(layer.inputs):
        first, end = _needs(layers, number, slot, start, stop)
        if first == end:  # a layer whose rows all lie beyond its input: nothing but padding
            shape = list(layers[source].shape)
            shape[AXIS] = 0
            inputs.append(kept[0][1].new_empty(shape))
            continue
        begin, rows = kept[source]
        inputs.append(rows.narrow(AXIS, first - begin, end - first))
    apply = layer.apply
    front, back = _beyond(layers, number, start, stop)
    if layer.padded is not None and _is_whole(layer, front, back):
        apply = layer.padded
    elif front or back:
        sides = [0, 0] * (inputs[0].ndim - 1 - AXIS) + [front, back]
        inputs[0] = functional.pad(inputs[0], sides, value=layer.beyond)
    own = len(inputs) - sum(count for _, count in layer.after)
    out = apply(inputs[:own], start, stop)
    for following, count in layer.after:
        out = following([out, *inputs[own : own + count]], start, stop)
        own += count
    return out


def _drop(kept: dict[int, tuple[int, Tensor]], number: int, keep: int) -> None:
    """Give up a layer's rows before `keep`."""
    if number not in kept:
        return
    first, rows = kept.pop(number)
    end = first + rows.shape[AXIS]
    if keep <= first:
        kept[number] = (first, rows)
    elif keep < end:
        kept[number] = (keep, rows.narrow(AXIS, keep - first, end - keep).clone())
