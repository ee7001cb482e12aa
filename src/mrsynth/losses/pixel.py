"""Pixel losses: mean squared and mean absolute error, binary cross entropy."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.losses.float32 import in_float32

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What training calls: (prediction (b, 1, *space), target (b, 1, *space), inputs (b, c, *space)) → scalar.

inputs: the contrasts in the recipe's order, as they were before any of them was dropped."""


@in_float32
def mse(
    prediction: Float[Tensor, "b *shape"], target: Float[Tensor, "b *shape"], inputs: Tensor | None = None
) -> Float[Tensor, ""]:
    """Mean squared error over all voxels (osman2022 §2.4).

    Args:
        prediction: the network's image.
        target: the true image.
        inputs: not looked at.
    """
    return nn.functional.mse_loss(prediction, target)


@in_float32
def mae(
    prediction: Float[Tensor, "b *shape"], target: Float[Tensor, "b *shape"], inputs: Tensor | None = None
) -> Float[Tensor, ""]:
    """Mean absolute error over all voxels (chen2022 §III-C; osman2022 tried it: inferior to MSE).

    Args:
        prediction: the network's image.
        target: the true image.
        inputs: not looked at.
    """
    return nn.functional.l1_loss(prediction, target)


@in_float32
def bce(
    prediction: Float[Tensor, "b *shape"], target: Float[Tensor, "b *shape"], inputs: Tensor | None = None
) -> Float[Tensor, ""]:
    """Mean of −t log p − (1 − t) log(1 − p) over all voxels, p and t in [0, 1].

    The paper joins sigmoid and entropy to spare log 0. Here p is the image itself. Behind `drunet`'s sigmoid
    (nets.drunet.sloped_sigmoid) the gradient to every logit is p − t, that of the joined form; behind a plain one it
    vanishes in float32 for logits above 16.6 and below about −28. The value differs where float32 has p = 1 (logits
    above 16.6) or p < e^−100: PyTorch stops the logarithm at −100 there, so a wrong pixel counts 100, not its logit.
    Its least value is the target's own entropy, not 0. Raises ValueError where p or t is outside of [0, 1], e.g. behind
    a network without a sigmoid.

    Args:
        prediction: the network's image.
        target: the true image.
        inputs: not looked at.
    """
    for name, image in (("prediction", prediction), ("target", target)):
        low, high = image.detach().aminmax()
        if low < 0 or high > 1:
            raise ValueError(f"bce: the {name} reaches from {float(low):g} to {float(high):g}, not within [0, 1]")
    return nn.functional.binary_cross_entropy(prediction, target)
