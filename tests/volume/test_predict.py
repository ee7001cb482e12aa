from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mrsynth.volume.engine as blocks
from mrsynth.core.errors import InputError, MrsynthError, RecipeError
from mrsynth.core.progress import listening
from mrsynth.nets import build_net
from mrsynth.volume.predict import Inference, predict_volume

CUBES = Inference(patch=[16, 16, 16])


def head(*shape: int, contrasts: int = 3) -> list[np.ndarray]:
    return [np.random.default_rng(c).random(shape, dtype=np.float32) for c in range(contrasts)]


def hrfcn(**settings: object) -> nn.Module:
    return build_net(
        "hrfcn", generator=torch.Generator().manual_seed(0), **{"widths": [4, 6, 8], "blocks": 1, **settings}
    ).eval()


def whole(net: nn.Module, inputs: list[np.ndarray]) -> np.ndarray:
    with torch.no_grad():
        return net(torch.from_numpy(np.stack(inputs))[None])[0, 0].numpy()


def gib(net: nn.Module, inputs: list[np.ndarray], rows: int) -> float:
    """The memory that a pass of some rows takes."""
    layers = blocks.trace(net, (1, len(inputs), *inputs[0].shape))
    return blocks.peak_bytes(layers, rows, 4) / 2**30


@pytest.mark.parametrize(("mode", "rows"), [("cube", 2), ("cube", 16), ("slab", 8)])
def test_a_small_head_in_parts_equals_the_whole(mode: str, rows: int):
    net, inputs = hrfcn(mode=mode), head(38, 27, 22)
    kept = [a.copy() for a in inputs]
    told: list[str] = []
    how = CUBES.model_copy(update={"memory_gib": gib(net, inputs, rows)})
    with listening(lambda _, what: told.append(what)):
        out = predict_volume(net, inputs, how)
    assert out.dtype == np.float32
    expected = whole(net, inputs)
    assert np.abs(out - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.array_equal(out, predict_volume(net, inputs, how))
    assert all(np.array_equal(now, then) for now, then in zip(inputs, kept, strict=True))
    assert told[-1] == "38/38"
    assert len(told) > 1


def test_slices_and_slabs_are_chosen_by_the_patch():
    flat, slab, inputs = hrfcn(mode="2d"), hrfcn(), head(12, 8, 5)
    slices = predict_volume(flat, inputs, Inference())
    with torch.no_grad():
        third = flat(torch.from_numpy(np.stack([a[..., 2] for a in inputs]))[None])[0, 0].numpy()
    np.testing.assert_allclose(slices[..., 2], third, atol=1e-5)
    slabs = predict_volume(slab, inputs, Inference(patch=[None, None, 5]))
    np.testing.assert_allclose(slabs, whole(slab, inputs), atol=1e-5)


def test_large_slices_and_slabs_are_streamed_too():
    """A budget below a single slice's need."""
    flat, inputs = hrfcn(mode="2d"), head(64, 32, 3)
    tight = Inference(memory_gib=1e-4)
    np.testing.assert_allclose(
        predict_volume(flat, inputs, tight), predict_volume(flat, inputs, Inference()), atol=1e-5
    )


def test_a_network_with_statistics_of_the_image_gets_blended_boxes():
    """Instance normalisation cannot be streamed; a box as large as the volume is the volume."""
    net, inputs = hrfcn(mode="cube", norm="instance"), head(16, 16, 16)
    np.testing.assert_allclose(predict_volume(net, inputs, CUBES), whole(net, inputs), atol=1e-4)
    larger = predict_volume(net, head(20, 17, 16), CUBES)
    assert np.isfinite(larger).all()


@pytest.mark.parametrize("patch", [None, [None, None, 3], [4, 4, 4], [None, None, None]])
def test_any_callable_is_a_network(patch: list[int | None] | None):
    inputs = head(6, 7, 5, contrasts=2)
    out = predict_volume(lambda x: x[:, :1], inputs, Inference(patch=patch))
    np.testing.assert_allclose(out, inputs[0], rtol=1e-6)


def test_bfloat16_stays_near_and_half_precision_needs_a_gpu():
    net, inputs = hrfcn(mode="cube"), head(16, 12, 8)
    exact = predict_volume(net, inputs, CUBES)
    near = predict_volume(net, inputs, CUBES.model_copy(update={"precision": "bf16"}))
    assert near.dtype == np.float32
    assert 0 < np.abs(near - exact).max() < 0.1 * np.abs(exact).max()
    with pytest.raises(RecipeError, match="needs a GPU"):
        predict_volume(net, inputs, CUBES.model_copy(update={"precision": "16"}))


def test_when_memory_runs_out_smaller_parts_are_tried_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    net, inputs, real = hrfcn(mode="cube"), head(32, 8, 8), blocks.stream

    def short(layers: object, x: torch.Tensor, rows: int, *rest: object) -> torch.Tensor:
        if rows > 4:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return real(layers, x, rows, *rest)

    monkeypatch.setattr(blocks, "stream", short)
    with caplog.at_level(logging.WARNING):
        out = predict_volume(net, inputs, CUBES)
    np.testing.assert_allclose(out, whole(net, inputs), atol=1e-4)
    assert "Out of memory: going on with 1 at once, 4 rows a pass." in caplog.text


def test_when_nothing_fits_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    def never(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(blocks, "stream", never)
    with pytest.raises(MrsynthError, match=r"does not fit(.|\n)*do:"):
        predict_volume(hrfcn(mode="cube"), head(16, 8, 8), CUBES)


def test_other_errors_are_not_taken_for_memory():
    def broken(x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        predict_volume(broken, head(4, 4, 4), Inference())


def test_a_batch_that_does_not_fit_is_halved(caplog: pytest.LogCaptureFixture):
    def small(x: torch.Tensor) -> torch.Tensor:
        if len(x) > 4:
            raise MemoryError
        return x

    inputs = head(3, 3, 17, contrasts=1)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(predict_volume(small, inputs, Inference()), inputs[0])
    assert "4 at once" in caplog.text


def test_compilation_that_fails_is_said_and_left_out(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    def no_compiler(net: nn.Module) -> object:
        def call(x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no C++ compiler found")

        return call

    monkeypatch.setattr(torch, "compile", no_compiler)
    net, inputs = hrfcn(mode="2d"), head(8, 8, 3)
    with caplog.at_level(logging.WARNING):
        out = predict_volume(net, inputs, Inference(compile=True))
    np.testing.assert_allclose(out, predict_volume(net, inputs, Inference()), atol=1e-6)
    assert caplog.text.count("torch.compile failed (no C++ compiler found)") == 1


def test_inputs_must_be_volumes_of_one_shape():
    for inputs in ([], head(4, 4), [*head(4, 4, 4), *head(4, 4, 5)], head(0, 4, 4)):
        with pytest.raises(InputError, match="volumes of one shape"):
            predict_volume(hrfcn(mode="cube"), inputs, CUBES)


SCRIPT = """
import numpy as np, torch
from mrsynth.nets import build_net
from mrsynth.volume.predict import Inference, predict_volume

GIB = 0.1

def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) / 2**20

net = build_net("hrfcn", inputs=3, mode="cube", widths=[16, 32, 64], blocks=2).eval()
inputs = [np.random.default_rng(0).random((40, 56, 40), dtype=np.float32) for _ in range(3)]
cubes = Inference(patch=[8, 8, 8], memory_gib=GIB)
predict_volume(net, [image[:12, :12, :12] for image in inputs], cubes)  # what is made once
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins anew
before = status("VmRSS")
predict_volume(net, inputs, cubes)
weights = sum(p.numel() * 4 for p in net.parameters()) / 2**30
print(status("VmHWM") - before - weights - inputs[0].nbytes / 2**30, GIB)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak of a process is read from Linux")
def test_a_prediction_keeps_to_the_memory_that_it_is_given():
    taken, given = map(float, subprocess.check_output([sys.executable, "-c", SCRIPT], text=True).split())
    assert taken <= given
    assert taken > 0.3 * given  # the limit was met, not missed by far
