from __future__ import annotations

import pytest
import torch
from torch import nn

from mrsynth.nets import build_net, count_parameters


def test_published_shape():
    """14 channels in, 32 filters at first, 3 poolings, 3 convolutions a level, no normalisation, linear 1×1 output."""
    net = build_net("unet25d")
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 3 * 7 + 1
    assert convolutions[0].in_channels == 14
    assert [c.out_channels for c in convolutions[::3]] == [32, 64, 128, 256, 128, 64, 32, 1]
    assert convolutions[-1].kernel_size == (1, 1)
    assert not any("Norm" in type(m).__name__ for m in net.modules())
    assert count_parameters(net) == 2_927_649


@pytest.mark.parametrize("size", [(8, 8), (48, 40), (256, 256)])
def test_shape_is_kept(size: tuple[int, int]):
    with torch.no_grad():
        assert build_net("unet25d").eval()(torch.rand(1, 14, *size)).shape == (1, 1, *size)


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    net = build_net("unet25d")
    net(torch.rand(2, 14, 32, 32)).square().mean().backward()
    dead = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_the_output_is_linear_and_the_centre_residual():
    """Any sign can come out; with its centre's weights at zero the network still sees through the centre."""
    torch.manual_seed(0)
    net = build_net("unet25d").eval()
    x = torch.randn(1, 14, 32, 32)
    with torch.no_grad():
        assert net(x).min() < 0 < net(-x).max()
        net.head.weight.neg_()
        for layer in net.centre:
            if isinstance(layer, nn.Conv2d):
                layer.weight.zero_()
        before = net(x)
        next(iter(net.widen)).weight.mul_(2)
        assert (net(x) - before).abs().max() > 1e-3


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="multiple of 8"):
        build_net("unet25d")(torch.rand(1, 14, 30, 32))
