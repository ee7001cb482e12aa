from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mrsynth.core.progress import listening
from mrsynth.nets import build_net
from mrsynth.volume.layers import CannotStreamError
from mrsynth.volume.rows import Linear, Repeat, Repeated, Rows, Same, Spread, Window
from mrsynth.volume.stream import peak_bytes, schedule, stream
from mrsynth.volume.trace import trace

NETS: dict[str, tuple[str, dict[str, object], tuple[int, ...]]] = {
    "hrfcn cube": ("hrfcn", {"mode": "cube", "widths": [3, 4, 5], "blocks": 1}, (39, 6, 5)),
    "hrfcn slab": ("hrfcn", {"widths": [3, 4, 5], "blocks": 1}, (37, 6, 3)),
    "hrfcn A": ("hrfcn", {"mode": "2d", "widths": [3, 4, 5], "blocks": 2, "stems": "single"}, (40, 9)),
    "hrfcn C": ("hrfcn", {"mode": "2d", "widths": [3, 4, 5], "blocks": 1, "branches": [2, 4]}, (30, 9)),
    "unet3d": ("unet3d", {"mode": "cube", "widths": [4, 6, 8]}, (29, 6, 5)),
    "unet2d_deep": ("unet2d_deep", {"widths": [4, 8, 8], "convolutions": 2}, (41, 8)),
    "unet2d": ("unet2d", {"inputs": 3, "widths": [4, 4, 4], "dropout": [0.1, 0.1, 0.1]}, (40, 8)),
    "decnn": ("decnn", {"width": 4, "embeddings": 2, "rounds": 2}, (21, 8)),
    "pix2pix": ("pix2pix", {"widths": [4, 4, 4]}, (35, 9)),
    "medgan": ("medgan", {"widths": [4, 4], "blocks": 2}, (35, 9)),
    "lagan": ("lagan", {"widths": [4, 4], "cell": 4, "cells": [2, 2, 2]}, (37, 6, 9)),
    "drunet": ("drunet", {"depth": 18}, (64, 32)),
}


@pytest.mark.parametrize("which", NETS)
def test_streamed_output_is_that_of_the_whole_image(which: str):
    """No halo, no seam, whatever the rows a pass: exact but for rounding, in double precision."""
    name, chosen, space = NETS[which]
    net = build_net(name, generator=torch.Generator().manual_seed(0), **chosen).double().eval()
    x = torch.rand(2, 3, *space, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    given = x.clone()
    layers = trace(net, x.shape)
    with torch.inference_mode():
        whole = net(x)
        for rows in (3, 16, 1000):
            torch.testing.assert_close(stream(layers, x, rows), whole, rtol=1e-9, atol=1e-11)
    assert torch.equal(x, given)


@pytest.mark.parametrize("which", ["hrfcn cube", "unet3d", "drunet"])
def test_every_row_of_every_costly_layer_is_computed_once(which: str):
    name, chosen, space = NETS[which]
    layers = trace(build_net(name, **chosen).eval(), (1, 3, *space))
    seen: dict[int, list[int]] = {}
    for steps in schedule(layers, 4):
        for number, start, stop, _ in steps:
            if not layers[number].cheap:
                seen.setdefault(number, []).extend(range(start, stop))
    assert all(rows == list(range(len(rows))) for rows in seen.values())
    assert len(seen[len(layers) - 1]) == space[0]


def test_memory_grows_with_the_rows_of_a_pass_not_with_the_image():
    net = build_net("hrfcn", mode="cube", widths=[4, 4, 4], blocks=1).eval()
    short, long = (trace(net, (1, 3, length, 8, 8)) for length in (160, 320))
    assert peak_bytes(long, 8, 4) == peak_bytes(short, 8, 4)
    assert peak_bytes(long, 8, 4) < peak_bytes(long, 32, 4) < peak_bytes(long, 320, 4) / 2


def test_the_planned_memory_is_what_the_tensors_take():
    """Counted while it runs: each layer's kept rows and the new ones."""
    net = build_net("hrfcn", mode="cube", widths=[4, 8, 8], blocks=1).eval()
    layers, live, peak = trace(net, (1, 3, 64, 8, 8)), {}, 0
    for steps in schedule(layers, 8):
        for number, start, stop, drop in steps:
            live.setdefault(number, set()).update(range(start, stop))
            peak = max(peak, sum(len(rows) * layers[n].elements for n, rows in live.items()))
            for other, keep in drop:
                live[other] = {row for row in live.get(other, set()) if row >= keep}
    assert peak * 4 <= peak_bytes(layers, 8, 4) <= 2 * peak * 4
    assert not any(live.values())


@pytest.mark.parametrize(
    "rows",
    [
        Same(),
        Window(3, 1, 1),
        Window(3, 2, 1),
        Window(7, 2, 3),
        Window(2, 2, 0),
        Repeat(2),
        Spread(4, 2, 1),
        Linear(2, 500),
        Linear(3, 500),
        Repeated(1, 500),
    ],
)
@given(there=st.integers(8, 60), count=st.integers(1, 20))
def test_rows_that_are_ready_need_nothing_that_is_not_there(rows: Rows, there: int, count: int):
    ready = rows.ready(there)
    assert rows.needs(max(ready - count, 0), ready)[1] <= there
    assert rows.needs(0, ready + 1)[1] > there


@given(
    length=st.integers(1, 40),
    rows=st.integers(1, 45),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
    batch=st.integers(1, 2),
)
def test_any_length_any_rows(length: int, rows: int, kernel: int, stride: int, batch: int):
    net = nn.Sequential(
        nn.Conv2d(1, 2, kernel, padding=kernel // 2), nn.ReLU(), nn.Conv2d(2, 1, 3, stride=stride, padding=1)
    ).double()
    x = torch.rand(batch, 1, length, 4, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(stream(trace(net, x.shape), x, rows), net(x), rtol=1e-9, atol=1e-11)


def test_progress_is_told_in_rows():
    net = build_net("decnn", inputs=1, width=2, embeddings=1).eval()
    told: list[str] = []
    with torch.inference_mode(), listening(lambda _, what: told.append(what)):
        stream(trace(net, (1, 1, 20, 4)), torch.rand(1, 1, 20, 4), 8)
    assert told[-1] == "20/20"
    done = [int(what.split("/")[0]) for what in told]
    assert done == sorted(set(done))


@pytest.mark.parametrize(
    ("net", "named"),
    [
        (nn.InstanceNorm2d(1), "instance_norm"),
        (nn.Sequential(nn.Conv2d(1, 1, 1), nn.GroupNorm(1, 1)), "group_norm"),
        (nn.AvgPool2d(2), "avg_pool2d"),
        (nn.Upsample(scale_factor=2, mode="bicubic"), "nearest"),
        (nn.MaxPool2d(3, 2, ceil_mode=True), "ceil_mode"),
        (nn.ConvTranspose2d(1, 1, 3, 2, output_padding=1), "output padding"),
        (nn.ReflectionPad2d(1), "constant"),
        (nn.BatchNorm2d(1), "statistics of the image"),
        (nn.Dropout(0.5), "dropout"),
    ],
)
def test_what_is_not_known_row_by_row_is_named(net: nn.Module, named: str):
    with pytest.raises(CannotStreamError, match=named):
        trace(net, (1, 1, 8, 8))
