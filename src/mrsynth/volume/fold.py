"""Batch normalisation folded into the convolution before it: the same values from half the passes over memory."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mrsynth.nets.protocol import Network


def fold_batch_norm(net: nn.Module) -> nn.Module:
    """Return a copy of a network in evaluation mode whose batch normalisations are part of its convolutions.

    Args:
        net: it stays as it is. A normalisation whose input is not the output of a convolution, or that is used
            twice, stays one; so do all of a module that does not say what it takes (`Network`).
    """
    folded = copy.deepcopy(net).eval()
    if not isinstance(net, Network):
        return folded
    parents = {child: (parent, name) for parent in folded.modules() for name, child in parent.named_children()}
    # The names of the layers say nothing about what follows what: a run without memory does.
    names = dict(folded.named_modules())
    for convolution, norm in _pairs(copy.deepcopy(net).to("meta").eval()):
        first, second = names[convolution], names[norm]
        fused = fuse_conv_bn_eval(first, second, transpose=isinstance(first, _ConvTransposeNd))  # type: ignore[type-var]
        for module, instead in ((first, fused), (second, nn.Identity())):
            parent, name = parents[module]
            setattr(parent, name, instead)
    return folded


def _pairs(net: Network) -> list[tuple[str, str]]:
    """Return the names of convolutions and of the normalisations that take their output; net: on the meta device."""
    calls: dict[str, int] = {}
    outputs: list[tuple[torch.Tensor, str]] = []  # the tensors are kept, so that none takes another's place
    pairs: list[tuple[str, str]] = []

    def seen(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(module, _ConvNd):
                outputs.append((output, name))
            else:
                pairs.extend((source, name) for tensor, source in outputs if tensor is inputs[0])

        return hook

    for name, module in net.named_modules():
        if isinstance(module, _ConvNd | _BatchNorm):
            module.register_forward_hook(seen(name))
    space = (net.stride, net.stride) if isinstance(net.stride, int) else net.stride
    with torch.no_grad():
        net(
            torch.empty(1, net.inputs, *(2 * step for step in space), device="meta", dtype=next(net.parameters()).dtype)
        )
    return [(c, n) for c, n in pairs if calls[c] == calls[n] == 1]
