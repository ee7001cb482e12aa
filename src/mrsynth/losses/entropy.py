"""Binary cross entropy of images (li2022, equation 2)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from mrsynth.losses.float32 import in_float32


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
    """
    for name, image in (("prediction", prediction), ("target", target)):
        low, high = image.detach().aminmax()
        if low < 0 or high > 1:
            raise ValueError(f"bce: the {name} reaches from {float(low):g} to {float(high):g}, not within [0, 1]")
    return nn.functional.binary_cross_entropy(prediction, target)
