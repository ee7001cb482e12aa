"""A network as a list of layers: recorded once without computing, so that `stream` can run it row by row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mrsynth.volume.layers import CannotStreamError, Layer, Recorder, join
from mrsynth.volume.rules import RULES


def trace(net: nn.Module, shape: Sequence[int]) -> list[Layer]:
    """Return the layers of a network; layer 0 is the input itself.

    The network runs once on tensors without memory.

    Args:
        net: in evaluation mode.
        shape: of its input, (b, c, *space).

    Raises:
        CannotStreamError: `rules.RULES` does not know one of its layers.
    """
    parameter = next(net.parameters(), torch.empty(0))
    x = torch.empty(tuple(shape), device="meta", dtype=parameter.dtype)
    recorder = Recorder(RULES, x, parameter.device)
    with torch.no_grad(), recorder:
        out = net(x)
    if not isinstance(out, Tensor) or id(out) not in recorder.numbers:
        raise CannotStreamError("the network does not return one tensor made of its input")
    return join(recorder.layers[: recorder.numbers[id(out)] + 1])
