"""Several networks as one."""

from __future__ import annotations

import numpy as np
import torch

from mrsynth.nets import build_net
from mrsynth.volume.predict import Inference, predict_volume

SETTINGS = {"inputs": 1, "mode": "cube", "widths": [2, 4, 4], "blocks": 1}


def test_it_is_the_mean_of_its_members() -> None:
    torch.manual_seed(0)
    net = build_net("ensemble", net="hrfcn", settings=SETTINGS, members=3).eval()
    x = torch.rand(2, 1, 8, 8, 8)
    with torch.no_grad():
        mean = torch.stack([member(x) for member in net.members()]).mean(0)  # type: ignore[operator]
        torch.testing.assert_close(net(x), mean)
    assert (net.inputs, net.stride) == (1, (4, 4, 4))
    assert net.dimensions == 3


def test_a_conditional_one_is_the_mean_of_every_scale() -> None:
    torch.manual_seed(0)
    net = build_net("ensemble", net="lowdose", settings={"width": 12, "scales": 2}, members=2).eval()
    given = [*(torch.rand(1, 1, 4, 4, 4) for _ in range(3)), torch.tensor([[0.1, 3.0]])]
    with torch.no_grad():
        found, (a, b) = net(*given), [member(*given) for member in net.members()]  # type: ignore[operator]
    for scale, first, second in zip(found, a, b, strict=True):
        torch.testing.assert_close(scale, (first + second) / 2)
    assert net.told == ("dose", "b0_tesla")


def test_a_volume_is_predicted_by_it() -> None:
    torch.manual_seed(0)
    net = build_net("ensemble", net="hrfcn", settings=SETTINGS, members=2).eval()
    volume = np.random.default_rng(0).random((12, 8, 8), np.float32)
    how = Inference(patch=[8, 8, 8])
    found = predict_volume(net, [volume], how)
    one, two = (predict_volume(member, [volume], how) for member in net.members())  # type: ignore[operator,arg-type]
    np.testing.assert_allclose(found, (one + two) / 2, atol=1e-5)
