"""What is exported of a model: its network as a function of arrays, an example of each, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mrsynth.core.seeds import derive_seed
from mrsynth.model import Contract
from mrsynth.nets.lowdose import LowDoseImage
from mrsynth.volume.fold import fold_batch_norm


class Exported(NamedTuple):
    """A network to export.

    Attributes:
        net: in evaluation mode.
        names: of its inputs.
        stride: what the sizes of a volume must be multiples of, one number an axis.
        channels: what stands in the first input, in order.
        roles: number of a channel → what stands in all of it, of a model that is told which contrast it is to make.
    """

    net: nn.Module
    names: list[str]
    stride: tuple[int, ...]
    channels: list[str]
    roles: Mapping[int, float] = MappingProxyType({})

    def example(self, batch: int, times: int) -> list[Tensor]:
        """Return random inputs of the network, the same for the same arguments.

        Args:
            batch: volumes b in the batch.
            times: each edge is the least multiple of the stride that spans `times` strides and 16 · `times` voxels.

        Returns:
            A batch (b, c, *space) in [0, 1); of a network with a condition also its dose and field, (b, 2).
        """
        draw = torch.Generator().manual_seed(derive_seed(0, "export", batch, times))
        space = [step * max(times, -(-16 * times // step)) for step in self.stride]
        x = torch.rand((batch, len(self.channels), *space), generator=draw)
        for number, role in self.roles.items():
            x[:, number] = role
        return [x, torch.tensor([[0.2, 3.0]]).expand(batch, 2).clone()][: len(self.names)]


def exported(contract: Contract, net: nn.Module) -> Exported:
    """Return what is exported of a model.

    Args:
        contract: the model's.
        net: its network with weights, as `build_net` makes it.

    Returns:
        The network in evaluation mode, its batch normalisations folded into its convolutions. One with a condition
        gives the image at a dose instead of residuals.
    """
    stride: Any = getattr(net, "stride", 1)
    dimensions = 2 if contract.patch is None else 3
    steps = (stride,) * dimensions if isinstance(stride, int) else tuple(stride)
    told = "role (1 there, 0 not there, -1 to be made)" if contract.contrasts else "is there"
    channels = [
        entry
        for name in contract.contrasts or contract.inputs
        for entry in ([name, f"{name} {told}"] if contract.flags else [name])
    ]
    if contract.neighbours:
        reach = range(-contract.neighbours, contract.neighbours + 1)
        channels = [f"{channel}, slice {k:+d}" for channel in channels for k in reach]
    if contract.contrasts:
        given = {name: float(name in contract.inputs) for name in contract.contrasts} | {contract.target: -1.0}
        width = len(channels) // len(given) // 2  # slices of an image, then of its role
        roles = {k: given[contract.contrasts[k // (2 * width)]] for k in range(len(channels)) if k // width % 2}
        return Exported(fold_batch_norm(net), ["x"], steps, channels, roles)
    if contract.condition is not None:
        return Exported(LowDoseImage(net).eval(), ["x", "condition"], steps, ["noise", *channels])
    return Exported(fold_batch_norm(net), ["x"], steps, channels)
