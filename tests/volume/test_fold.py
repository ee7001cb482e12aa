from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mrsynth.nets import build_net
from mrsynth.volume.fold import fold_batch_norm

NETS: dict[str, tuple[str, dict[str, object], tuple[int, ...]]] = {
    "hrfcn cube": ("hrfcn", {"mode": "cube", "widths": [4, 4, 4], "blocks": 1}, (8, 8, 8)),
    "hrfcn slab": ("hrfcn", {"widths": [4, 4, 4], "blocks": 2}, (12, 8, 3)),
    "hrfcn 2d": ("hrfcn", {"mode": "2d", "widths": [4, 4, 4], "blocks": 1, "fusion": False}, (8, 12)),
    "unet3d": ("unet3d", {"widths": [4, 8]}, (8, 8, 3)),
    "unet2d_deep": ("unet2d_deep", {"widths": [4, 8], "convolutions": 2}, (8, 8)),
    "decnn": ("decnn", {"width": 4, "embeddings": 2}, (9, 8)),
    "pix2pix": ("pix2pix", {"widths": [4, 4, 4]}, (16, 16)),
    "lagan": ("lagan", {"widths": [4, 4, 4], "cell": 4, "cells": [2, 2, 2]}, (8, 8, 8)),
    "drunet": ("drunet", {"depth": 18}, (32, 32)),
}


def lived_in(which: str) -> nn.Module:
    """A network whose normalisations have statistics and weights of their own."""
    name, settings, _ = NETS[which]
    net = build_net(name, generator=torch.Generator().manual_seed(0), **settings).eval()
    draw = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.2, 0.2),
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 2.0),
            ):
                tensor.data.uniform_(low, high, generator=draw)
    return net


@pytest.mark.parametrize("which", NETS)
def test_folded_networks_compute_the_same_without_normalisation(which: str):
    net = lived_in(which).double()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    folded = fold_batch_norm(net)
    assert not any(isinstance(module, _BatchNorm) for module in folded.modules())
    x = torch.rand(2, 3, *NETS[which][2], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), net(x), rtol=1e-9, atol=1e-9)
    after = net.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("which", ["hrfcn cube", "unet3d", "decnn"])
def test_in_single_precision_they_agree_to_a_hundred_thousandth(which: str):
    net = lived_in(which)
    x = torch.rand(2, 3, *NETS[which][2], generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        there, expected = fold_batch_norm(net)(x), net(x)
    assert (there - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


def test_a_normalisation_that_no_convolution_feeds_stays():
    class Odd(nn.Module):
        inputs, stride = 2, (1, 1)

        def __init__(self) -> None:
            super().__init__()
            self.norm, self.conv, self.twice = nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.twice(self.twice(self.conv(self.norm(x))))

    folded = fold_batch_norm(Odd())
    assert isinstance(folded.norm, nn.BatchNorm2d)
    assert isinstance(folded.twice, nn.BatchNorm2d)
