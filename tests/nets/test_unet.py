from __future__ import annotations

import pytest
import torch
from torch import nn

from mrsynth.core.errors import RecipeError
from mrsynth.nets import build_net, count_parameters


def test_published_size():
    """osman2022 §2.3–2.4: 19 convolutions, 16 to 256 feature maps, about 2.0 million parameters."""
    net = build_net("unet2d")
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 19
    assert {m.out_channels for m in convolutions} == {1, 16, 32, 64, 128, 256}
    assert count_parameters(net) == 1_962_337
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())


@pytest.mark.parametrize("size", [(16, 16), (224, 224), (48, 32)])
def test_shape_is_kept_and_values_lie_in_tanh_range(size: tuple[int, int]):
    net = build_net("unet2d").eval()
    with torch.no_grad():
        out = net(torch.rand(2, 1, *size))
    assert out.shape == (2, 1, *size)
    assert out.abs().max() < 1


def test_gradients_reach_every_parameter():
    net = build_net("unet2d", inputs=2)
    net(torch.rand(2, 2, 32, 32)).square().mean().backward()
    dead = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_shifting_the_input_by_the_stride_shifts_the_output():
    """Without padding in reach: the centre of a large field moves with the input."""
    torch.manual_seed(0)
    net = build_net("unet2d", widths=[4, 4, 4], dropout=[0.0, 0.0, 0.0]).eval()
    x = torch.zeros(1, 1, 96, 96)
    x[..., 40:56, 40:56] = torch.rand(16, 16)
    with torch.no_grad():
        moved, still = net(torch.roll(x, (4, 8), dims=(2, 3))), net(x)
    torch.testing.assert_close(torch.roll(still, (4, 8), dims=(2, 3))[..., 30:70, 30:70], moved[..., 30:70, 30:70])


def test_weights_are_he_uniform_and_biases_zero():
    torch.manual_seed(1)
    net = build_net("unet2d")
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            bound = (6 / layer.weight[0].numel()) ** 0.5
            assert layer.weight.abs().max() <= bound
            assert layer.bias.abs().max() == 0
            if layer.weight.numel() > 5000:
                assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_dropout_rates_rise_from_10_to_30_percent():
    rates = [m.p for m in build_net("unet2d").modules() if isinstance(m, nn.Dropout)]
    assert rates == [0.1, 0.1, 0.2, 0.2, 0.3, 0.2, 0.2, 0.1, 0.1]


def test_sizes_that_do_not_divide_and_wrong_names_are_refused():
    with pytest.raises(ValueError, match="multiple of 16"):
        build_net("unet2d")(torch.rand(1, 1, 30, 32))
    with pytest.raises(RecipeError, match="did you mean 'unet2d'"):
        build_net("unet2")
    with pytest.raises(RecipeError, match="dropout rate"):
        build_net("unet2d", widths=[4, 8])


@pytest.mark.parametrize(
    ("settings", "extra"),
    [
        ({"norm": "batch"}, 2 * 2 * (16 + 32 + 64 + 128 + 256) + 2 * 2 * (128 + 64 + 32 + 16)),  # scale and shift
        ({"up": "transposed"}, sum(4 * w * w + w for w in (256, 128, 64, 32))),  # 2×2 and a bias, width kept
        ({"head": "linear"}, 0),
    ],
)
def test_what_the_paper_tried_beside_it(settings: dict[str, str], extra: int):
    """osman2022 §2.3 and §4: batch normalisation, transposed convolutions of 2×2 and stride 2, other heads."""
    net = build_net("unet2d", **settings)
    assert count_parameters(net) == 1_962_337 + extra
    assert net(torch.rand(2, 1, 32, 48)).shape == (2, 1, 32, 48)


def test_weights_of_before_fit_the_paper_s_own_settings():
    """No setting moves a tensor of the network as the paper has it."""
    names = build_net("unet2d").state_dict()
    assert list(names)[:2] == ["down.0.0.weight", "down.0.0.bias"]
    assert {name.partition(".")[0] for name in names} == {"down", "up", "head"}
    assert "up.3.3.weight" in names


@pytest.mark.parametrize(("head", "low", "high"), [("relu", 0, None), ("sigmoid", 0, 1), ("tanh", -1, 1)])
def test_a_head_keeps_to_its_range(head: str, low: float, high: float | None):
    net = build_net("unet2d", widths=[4, 8], dropout=[0.0, 0.0], head=head)
    with torch.no_grad():
        out = net(100 * torch.randn(2, 1, 16, 16))
    assert out.min() >= low
    assert high is None or out.max() <= high


@pytest.mark.parametrize("wrong", [{"up": "bilinear"}, {"head": "softmax"}, {"norm": "layer"}])
def test_a_setting_that_is_not_there_is_told(wrong: dict[str, str]):
    with pytest.raises(RecipeError, match="Network unet2d"):
        build_net("unet2d", **wrong)
