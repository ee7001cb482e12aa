"""How far a network looks: the margin that makes a window's prediction equal the whole image's."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from mrsynth.nets.lagan import LocalFusion

LENGTH = 16
"""The probe starts with this many strides along the axis and doubles until the influence ends inside."""


def receptive_halo(net: nn.Module) -> tuple[int, ...]:
    """Return the margin (voxels, one an axis) that a window needs beyond each side; exact, a multiple of the stride.

    A window that begins at a multiple of `net.stride` and has this margin (or the image's own border) predicts its
    inside as the whole image would. Found by sending a block of ones through a copy of the network in which every
    convolution has one channel and weights of one, so that nothing cancels: what becomes non-zero is what the block can
    reach. net: with `inputs` and `stride`. Raises ValueError for instance normalisation, which looks at everything.
    """
    probe = _probe(copy.deepcopy(net, {id(p): p for p in [*net.parameters(), *net.buffers()]})).eval()
    inputs, strides = _int(net.inputs), net.stride
    steps: tuple[int, ...] = (strides, strides) if isinstance(strides, int) else tuple(strides)  # type: ignore[arg-type]
    return tuple(_reach(probe, inputs, steps, axis) for axis in range(len(steps)))


def _reach(probe: nn.Module, inputs: int, steps: tuple[int, ...], axis: int) -> int:
    """Return how far a block of one stride reaches along an axis, rounded up to strides."""
    step, count = steps[axis], LENGTH
    while True:
        space = list(steps)
        space[axis] = count * step
        start = count // 2 * step
        x = torch.zeros(1, inputs, *space)
        x.narrow(2 + axis, start, step).fill_(1)
        with torch.no_grad():
            touched = probe(x)[0, 0].movedim(axis, 0).flatten(1).ne(0).any(1).nonzero().flatten()
        first, last = int(touched[0]), int(touched[-1])
        if first > 0 and last < count * step - 1:
            return -(-max(start - first, last + 1 - start - step) // step) * step
        count *= 2


class _Reach(nn.Module):
    """A convolution's support alone: one channel in and out, 1 where any voxel under the kernel is non-zero."""

    def __init__(self, layer: _ConvNd) -> None:
        super().__init__()
        self.layer = copy.copy(layer)  # shallow: the weights below replace the copy's alone
        self.layer._parameters = {"weight": nn.Parameter(torch.ones(1, 1, *layer.kernel_size)), "bias": None}
        self.layer.in_channels = self.layer.out_channels = self.layer.groups = 1

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(_merge(x)).ne(0).to(x.dtype)


class _Merge(nn.Module):
    """Any place-dependent mixture of the channels."""

    def forward(self, x: Tensor) -> Tensor:
        return _merge(x)


def _merge(x: Tensor) -> Tensor:
    return x.ne(0).any(1, keepdim=True).to(x.dtype)


def _probe(module: nn.Module) -> nn.Module:
    """Replace the layers of a network, in place, by what they reach."""
    if isinstance(module, _InstanceNorm | nn.GroupNorm | nn.LayerNorm):
        raise ValueError(f"{type(module).__name__} looks at the whole image: no window has its prediction")
    if isinstance(module, _ConvNd | _ConvTransposeNd):
        return _Reach(module)
    if isinstance(module, LocalFusion):
        return _Merge()
    if isinstance(module, _BatchNorm | _DropoutNd):
        return nn.Identity()
    if next(module.parameters(recurse=False), None) is not None:
        raise ValueError(f"the reach of a {type(module).__name__} is not known")
    for name, child in module.named_children():
        setattr(module, name, _probe(child))
    return module


def _int(value: Any) -> int:
    return int(value)
