"""A network as a list of layers, noted by a recorder of calls of torch: `trace` runs it, `rules` knows the calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mrsynth.volume.rows import AXIS, Rows, Same

Apply = Callable[[Sequence[Tensor], int, int], Tensor]
"""(rows of the inputs, output rows [start, stop)) → those output rows."""


class CannotStreamError(Exception):
    """A layer that looks at the whole image, or whose rows are not known; the message names it."""


@dataclass(frozen=True)
class Layer:
    """A step of the network.

    Attributes:
        inputs: numbers of layers, of which the first is seen through `rows`, the others row by row.
        rows: which rows of the first input a row of the output needs.
        shape: of the output.
        apply: computes rows of the output.
        cheap: rather made again than kept (concatenation, upsampling, crops).
        padded: `apply` with the layer's own padding at both ends.
        overwrite: `apply` into the memory of the first input.
        beyond: the value outside the input.
        after: layers that follow at once in the same memory, each with its number of further inputs.
        scratch: numbers that computing a row takes beside inputs and output.
    """

    inputs: tuple[int, ...]
    rows: Rows
    shape: tuple[int, ...]
    apply: Apply
    cheap: bool = False
    padded: Apply | None = None
    overwrite: Apply | None = None
    beyond: float = 0.0
    after: tuple[tuple[Apply, int], ...] = ()
    scratch: int = 0

    @property
    def length(self) -> int:
        """Return how many rows the output has."""
        return self.shape[AXIS]

    @property
    def elements(self) -> int:
        """Return how many numbers one of its rows has."""
        return prod(self.shape) // self.length


class Recorder(TorchFunctionMode):
    """Runs torch's functions on tensors without memory and notes those that depend on the network's input.

    Args:
        rules: for each function of torch, what notes a call of it.
        x: the network's input.
        device: of the network.

    Attributes:
        layers: those noted so far; layer 0 is the input.
        numbers: of the layer that made a tensor, by the tensor's id.
    """

    def __init__(self, rules: dict[Any, Callable[..., None]], x: Tensor, device: torch.device) -> None:
        super().__init__()
        self.rules, self.device = rules, device
        self.layers: list[Layer] = []
        self.numbers: dict[int, int] = {}
        self.tensors: list[Tensor] = []  # kept, so that no id is used twice
        self.note(x, (), Same(), lambda xs, start, stop: xs[0])

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(id(a) in self.numbers for a in _flat([args, kwargs])):
            return func(*args, **kwargs)
        if getattr(func, "__self__", None) is torch.Tensor.device:
            return self.device  # where a layer makes what depends on the place
        out = func(*_without_memory(args), **_without_memory(kwargs))
        if isinstance(out, torch.Size) or not isinstance(out, Tensor | tuple | list):
            return out
        if func not in self.rules:
            raise CannotStreamError(f"{getattr(func, '__name__', func)} is not known row by row")
        self.rules[func](self, out, *args, **kwargs)
        return out

    def note(self, out: Tensor, inputs: Sequence[Tensor], rows: Rows, apply: Apply, **more: Any) -> None:
        """Note how `out` comes from `inputs`; an input that is changed in place is from now on the new layer.

        Args:
            out: the result, without memory.
            inputs: the tensors that it comes from, each noted before.
            rows: which rows of the first input a row of `out` needs.
            apply: computes rows of `out`.
            **more: further attributes of the `Layer`.

        Raises:
            CannotStreamError: a part of an image is changed in place.
        """
        if inputs and out is inputs[0] and self.layers[self.numbers[id(out)]].cheap:
            raise CannotStreamError("a part of an image is changed in place")
        numbers = tuple(self.numbers[id(t)] for t in inputs)
        self.numbers[id(out)] = len(self.layers)
        self.tensors.append(out)
        self.layers.append(Layer(numbers, rows, tuple(out.shape), apply, **more))


def join(layers: list[Layer]) -> list[Layer]:
    """Return the layers in which a ReLU or a sum overwrites the layer before it, where nothing else needs that one.

    Unused layers are left out.
    """
    layers = list(layers)
    users = [0] * len(layers)
    users[-1] = 1
    for number in range(len(layers) - 1, 0, -1):
        for source in layers[number].inputs if users[number] else ():
            users[source] += 1
    for number, layer in enumerate(layers):
        if not users[number] or layer.overwrite is None:
            continue
        before = layers[layer.inputs[0]]
        if before.cheap or not before.inputs or users[layer.inputs[0]] > 1:
            continue
        users[layer.inputs[0]] = 0
        layers[number] = replace(
            before,
            inputs=before.inputs + layer.inputs[1:],
            after=(*before.after, (layer.overwrite, len(layer.inputs) - 1)),
        )
    numbers = {old: new for new, old in enumerate(n for n, used in enumerate(users) if used or n == 0)}
    kept = [replace(layers[old], inputs=tuple(numbers[s] for s in layers[old].inputs)) for old in numbers]
    kept[-1] = replace(kept[-1], cheap=False)
    return kept


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple | list):
        for part in value:
            yield from _flat(part)
    elif isinstance(value, dict):
        yield from _flat(list(value.values()))
    else:
        yield value


def _without_memory(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_memory(part) for key, part in value.items()}
    if isinstance(value, tuple | list) and not isinstance(value, torch.Size):
        return type(value)(_without_memory(part) for part in value)
    return value.to("meta") if isinstance(value, Tensor) and value.device.type != "meta" else value
