"""What every network of chen2022 must do, whatever it is made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mrsynth.core.errors import RecipeError
from mrsynth.nets import build_net, count_parameters
from receptive_halo import receptive_halo

SMALL: dict[str, tuple[str, dict[str, object]]] = {
    "hrfcn slab": ("hrfcn", {"widths": [8, 8, 8], "blocks": 1}),
    "hrfcn cube": ("hrfcn", {"mode": "cube", "widths": [8, 8, 8], "blocks": 1}),
    "hrfcn 2d": ("hrfcn", {"mode": "2d", "widths": [8, 8, 8], "blocks": 1}),
    "A": ("hrfcn", {"mode": "2d", "widths": [8, 8, 8], "blocks": 1, "stems": "single"}),
    "B": ("hrfcn", {"mode": "2d", "widths": [8, 8, 8], "blocks": 1, "branches": [1]}),
    "C": ("hrfcn", {"mode": "2d", "widths": [8, 8, 8], "blocks": 1, "branches": [2, 4]}),
    "D": ("hrfcn", {"mode": "2d", "widths": [8, 8, 8], "blocks": 1, "fusion": False}),
    "unet2d_deep": ("unet2d_deep", {"widths": [8, 8, 8], "convolutions": 2}),
    "unet3d slab": ("unet3d", {"widths": [8, 8], "convolutions": 2}),
    "unet3d cube": ("unet3d", {"mode": "cube", "widths": [8, 8], "convolutions": 2}),
    "pix2pix": ("pix2pix", {"widths": [8, 8]}),
    "medgan": ("medgan", {"widths": [8, 8], "blocks": 2}),
    "decnn": ("decnn", {"width": 8, "embeddings": 2}),
    "decnn rounds": ("decnn", {"width": 8, "embeddings": 1, "rounds": 2}),
    "lagan cube": ("lagan", {"widths": [8, 8], "cell": 2, "cells": [2, 2, 2], "rounds": 1}),
    "lagan slab": ("lagan", {"mode": "slab", "widths": [8, 8], "cell": 4, "cells": [2, 2, 1], "rounds": 2}),
}
SPACE = {2: (33, 30), 3: (17, 18, 3)}


def small(which: str, seed: int = 0, **more: object) -> nn.Module:
    name, settings = SMALL[which]
    return build_net(name, generator=torch.Generator().manual_seed(seed), **settings, **more)


def images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("which", SMALL)
def test_odd_sizes_keep_their_shape_and_gradients_reach_every_parameter(which: str):
    net = small(which).double()
    space = SPACE[len(net.stride)]
    out = net(images(2, 3, *space))
    assert out.shape == (2, 1, *space)
    (out - images(2, 1, *space)).square().sum().backward()
    # A bias or weight that normalisation undoes would show rounding here, never a real gradient.
    dead = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-9]
    assert dead == []


@pytest.mark.parametrize("which", SMALL)
def test_the_weights_follow_from_the_generator_alone(which: str):
    torch.manual_seed(1)
    first = small(which, seed=3).state_dict()
    torch.manual_seed(2)
    again, other = small(which, seed=3).state_dict(), small(which, seed=4).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


@pytest.mark.parametrize("which", SMALL)
def test_shifts_by_the_stride_commute_and_windows_with_the_halo_equal_the_whole(which: str):
    """Along x: the inside of a window, moved by one stride and cut with the halo, is the inside of the whole."""
    net = small(which).double().eval()
    steps, halo = net.stride, receptive_halo(net)
    inside = 2 * steps[0]
    length = 2 * halo[0] + inside + 3 * steps[0]
    space = (length, *(2 * s for s in steps[1:]))
    x = images(1, 3, *space)
    start = halo[0] + steps[0]
    with torch.no_grad():
        whole = net(x)
        window = net(x[:, :, start - halo[0] : start + inside + halo[0]])
        moved = net(torch.roll(x, steps[0], dims=2))
    here = whole[:, :, start : start + inside]
    torch.testing.assert_close(window[:, :, halo[0] : halo[0] + inside], here, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(moved[:, :, start + steps[0] : start + steps[0] + inside], here, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("which", ["hrfcn 2d", "unet2d_deep", "unet3d slab", "pix2pix", "decnn", "lagan slab"])
def test_the_halo_is_what_the_gradient_sees(which: str):
    """The margin in front of a stride's first voxel or behind its last, rounded up to strides, nothing less."""
    net = small(which, norm="none").double().eval()
    for module in net.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            nn.init.constant_(module.bias, 0.1) if module.bias is not None else None
    step, halo = net.stride[0], receptive_halo(net)[0]
    start = halo + step
    x = torch.ones(1, 3, 2 * start + step, *net.stride[1:], dtype=torch.float64, requires_grad=True)
    net(x)[:, :, start : start + step].sum().backward()
    seen = x.grad.abs().sum((0, 1, *range(3, x.ndim))).nonzero().flatten()
    margin = max(start - int(seen[0]), int(seen[-1]) - (start + step - 1))
    assert -(-margin // step) * step == halo


def test_the_halo_of_a_stack_of_convolutions_by_hand():
    assert receptive_halo(build_net("decnn", width=4, embeddings=2)) == (9, 9)  # 2 + 2·3 + 1 convolutions of 3
    assert receptive_halo(build_net("unet2d", widths=[4, 8], dropout=[0.1, 0.1])) == (8, 8)
    with pytest.raises(ValueError, match="whole image"):
        receptive_halo(build_net("decnn", width=4, norm="instance"))


def test_the_halo_leaves_the_network_as_it_was():
    net = build_net("lagan", **SMALL["lagan cube"][1])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    receptive_halo(net)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    net(images(1, 3, 4, 4, 4).float())


@pytest.mark.parametrize("which", ["hrfcn 2d", "unet2d_deep", "pix2pix", "decnn", "lagan slab"])
@pytest.mark.parametrize("inputs", [1, 4])
def test_any_number_of_inputs(which: str, inputs: int):
    net = small(which, inputs=inputs).double().eval()
    space = SPACE[len(net.stride)]
    with torch.no_grad():
        assert net(images(1, inputs, *space)).shape == (1, 1, *space)
    assert count_parameters(net) > 0


def test_wrong_settings_are_refused_in_words():
    for settings, words in [
        ({"branches": [1, 4]}, "branches"),
        ({"widths": [8, 8]}, "3 widths"),
        ({"mode": "3d"}, "mode"),
        ({"stems": "two"}, "stems"),
        ({"norm": "layer"}, "norm"),
        ({"depth": 3}, "depth"),
    ]:
        with pytest.raises(RecipeError, match=words):
            build_net("hrfcn", **settings)
    with pytest.raises(RecipeError, match="one number an axis"):
        build_net("lagan", mode="slab", widths=[4, 4], cells=[8, 8])
    with pytest.raises(RecipeError, match="rounds"):
        build_net("decnn", rounds=0)
    with pytest.raises(ValueError, match="4 input channels, expected 3"):
        small("hrfcn 2d")(torch.rand(1, 4, 8, 8))
