"""The first weights of a network, drawn from a generator."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

Scheme = Literal["he_uniform", "he_normal", "dcgan"]


def initialise(net: nn.Module, scheme: Scheme, generator: torch.Generator | None = None) -> nn.Module:
    """Draw all convolution weights anew, in the order of the network's layers; biases 0, normalisation 1 and 0.

    he_uniform, he_normal: He et al. 2015 (ICCV), equation 10. dcgan: N(0, 0.02), normalisation weights N(1, 0.02)
    (Isola et al. 2017, supplement 6.2). generator: None takes torch's own. A network without memory (on the
    meta device: its shapes alone) is left as it is.

    Args:
        net: the network, in place.
        scheme: he_uniform, he_normal: He et al. 2015 (ICCV), equation 10; dcgan: N(0, 0.02) (Isola et al. 2017,
            supplement 6.2).
        generator: None takes torch's own.
    """
    if any(parameter.is_meta for parameter in net.parameters()):
        return net
    for layer in net.modules():
        if isinstance(layer, _ConvNd):
            if scheme == "he_uniform":
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
            elif scheme == "he_normal":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            else:
                nn.init.normal_(layer.weight, 0.0, 0.02, generator=generator)
        elif isinstance(layer, _NormBase) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, 0.02 if scheme == "dcgan" else 0.0, generator=generator)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return net
