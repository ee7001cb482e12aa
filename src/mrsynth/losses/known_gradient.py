"""A value whose gradient was computed on the way: nothing else is kept for the backward pass."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def with_gradient(
    value: Float[Tensor, " p"], *known: tuple[Float[Tensor, "p ..."], Float[Tensor, "p ..."]]
) -> Float[Tensor, " p"]:
    """Return p values that backpropagate known first derivatives.

    known: pairs (input, derivative of value[i] with respect to input[i]). Second derivatives are taken as zero.
    """
    for x, derivative in known:
        if x.requires_grad:
            value = value + ((x - x.detach()) * derivative).flatten(1).sum(1)
    return value
