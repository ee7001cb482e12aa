from __future__ import annotations

import pytest
import torch
from torch import nn

from mrsynth.nets import build_net, count_parameters
from mrsynth.nets.hrfcn import HRFCN


def published(**settings: object) -> nn.Module:
    """The network at full width, without memory."""
    with torch.device("meta"):
        return build_net("hrfcn", **settings)


def res_block(inputs: int, width: int, taps: int = 27) -> int:
    """Two convolutions without bias, each normalised (2 numbers a map), and a 1³ shortcut where the width changes."""
    shortcut = inputs * width + 2 * width if inputs != width else 0
    return taps * width * (inputs + width) + 4 * width + shortcut


def phi(inputs: int, width: int, taps: int = 27) -> int:
    return res_block(inputs, width, taps) + 3 * res_block(width, width, taps)


def down(inputs: int, width: int, taps: int = 27) -> int:
    return taps * inputs * width + 2 * width


@pytest.mark.parametrize(
    ("mode", "taps", "total"), [("slab", 27, 58_463_233), ("cube", 27, 58_463_233), ("2d", 9, 19_825_153)]
)
def test_published_size_summed_from_the_papers_equations(mode: str, taps: int, total: int):
    """chen2022 §III-B: widths 64, 128, 256; φ = 4 ResBlocks; F11 to F5."""
    stage_1 = 3 * phi(1, 64, taps) + down(192, 128, taps)
    stage_2 = phi(192, 64, taps) + phi(128, 128, taps) + down(128, 256, taps)
    d21, d42 = down(64, 128, taps), down(128, 256, taps)
    stage_3 = phi(64 + 128, 64, taps) + d21 + phi(128 + 128, 128, taps) + d21 + d42 + phi(256 + 256, 256, taps)
    stage_4 = phi(448, 64, taps) + d21 + phi(128 + 128 + 256, 128, taps) + d21 + d42 + d42 + phi(3 * 256, 256, taps)
    head = taps * 448 * 64 + 2 * 64 + taps * 64 + 1 + 448
    net = published(mode=mode)
    assert count_parameters(net) == stage_1 + stage_2 + stage_3 + stage_4 + head == total


def test_the_ablations_are_smaller_settings_of_one_network():
    whole = count_parameters(published())
    sizes = {
        "A": count_parameters(published(stems="single")),
        "B": count_parameters(published(branches=[1])),
        "C": count_parameters(published(branches=[2, 4])),
        "D": count_parameters(published(fusion=False)),
    }
    assert sizes == {"A": 56_236_673, "B": 5_334_657, "C": 47_209_281, "D": 46_490_369}
    assert max(sizes.values()) < whole


def test_batch_normalisation_follows_every_convolution_but_those_of_the_output():
    net = HRFCN(widths=(4, 4, 4), blocks=1)
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv3d)]
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm3d)]
    assert len(convolutions) - len(norms) == 2
    assert sum(m.bias is not None for m in convolutions) == 1


def test_slabs_keep_their_slices_and_cubes_halve_them():
    """Only the plane is strided in a slab: the depth of three slices cannot be halved (FACTS on F31 to F43)."""
    strides = {
        mode: {
            tuple(m.stride) for m in HRFCN(mode=mode, widths=(4, 4, 4), blocks=1).modules() if isinstance(m, nn.Conv3d)
        }
        for mode in ("slab", "cube")
    }
    assert strides == {"slab": {(1, 1, 1), (2, 2, 1)}, "cube": {(1, 1, 1), (2, 2, 2)}}


def test_separate_stems_see_one_contrast_each():
    net = HRFCN(inputs=3, mode="2d", widths=(4, 4, 4), blocks=1).double().eval()
    x = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    seen: list[torch.Tensor] = []
    for stem in net.stems:
        stem.register_forward_hook(lambda _m, inputs, _out: seen.append(inputs[0]))
    net(x)
    assert [part.shape[1] for part in seen] == [1, 1, 1]
    assert torch.equal(torch.cat(seen, dim=1), x)


def test_a_stem_sees_its_contrast_and_the_flag_of_it():
    net = HRFCN(inputs=6, per_stem=2, mode="2d", widths=(4, 4, 4), blocks=1).eval()
    x = torch.rand(1, 6, 8, 8)
    seen: list[torch.Tensor] = []
    for stem in net.stems:
        stem.register_forward_hook(lambda _m, inputs, _out: seen.append(inputs[0]))
    assert net(x).shape == (1, 1, 8, 8)
    assert [part.shape[1] for part in seen] == [2, 2, 2]
    assert torch.equal(torch.cat(seen, dim=1), x)
    with pytest.raises(ValueError, match="3 inputs cannot be dealt to stems of 2"):
        HRFCN(inputs=3, per_stem=2)


def test_inference_in_bfloat16_stays_near():
    torch.manual_seed(0)
    net = HRFCN(mode="2d", widths=(4, 4, 4), blocks=1, norm="none").eval()
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        exact = net(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            near = net(x).float()
    assert (near - exact).abs().max() < 0.05 * exact.abs().max()
