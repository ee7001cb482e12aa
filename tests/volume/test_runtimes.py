"""Other runtimes compute what torch computes, and are picked where they are there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mrsynth.core.errors import RecipeError
from mrsynth.nets import build_net
from mrsynth.volume import runtimes
from mrsynth.volume.predict import Inference, predict_volume
from mrsynth.volume.runtimes import Runtime, chosen

pytestmark = pytest.mark.usefixtures("no_shape_checks")

SLAB = [None, None, 3]


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
@pytest.mark.parametrize("patch", [None, SLAB])
def test_another_engine_computes_the_same_volume(engine: Any, patch: Any, monkeypatch: pytest.MonkeyPatch):
    for package in runtimes.PACKAGES[engine]:
        pytest.importorskip(package, reason=f"{package} is not installed")
    torch.manual_seed(0)
    net = (
        build_net("unet2d", inputs=2, widths=[4, 8], dropout=[0.0, 0.0])
        if patch is None
        else build_net("hrfcn", inputs=2, mode="slab", widths=[4, 8, 16], blocks=1)
    )
    inputs = list(np.random.default_rng(0).random((2, 20, 24, 19), np.float32))
    own = predict_volume(net, inputs, Inference(patch=patch))
    calls: list[str] = []
    compute = Runtime.__call__

    def counted(self: Runtime, x: torch.Tensor) -> torch.Tensor:
        calls.append(self.engine)
        return compute(self, x)

    monkeypatch.setattr(Runtime, "__call__", counted)
    other = predict_volume(net, inputs, Inference(patch=patch, engine=engine))
    assert set(calls) == {engine}
    assert np.abs(other - own).max() <= 1e-5 * np.ptp(own)


def test_auto_takes_what_is_faster_and_there(monkeypatch: pytest.MonkeyPatch):
    there = {"onnx", "onnxruntime", "openvino"}
    monkeypatch.setattr(runtimes, "is_there", lambda package: package in there)
    assert chosen("auto", None, "cpu", "32") == "openvino"
    assert chosen("auto", SLAB, "cpu", "32") == "openvino"
    assert chosen("auto", [64, 64, 64], "cpu", "32") == "torch"  # streamed
    assert chosen("auto", None, "cuda", "32") == chosen("auto", None, "cpu", "bf16") == "torch"
    there.remove("openvino")
    assert chosen("auto", None, "cpu", "32") == "onnx"
    assert chosen("auto", SLAB, "cpu", "32") == "torch"
    there.remove("onnx")
    assert chosen("auto", None, "cpu", "32") == "torch"


def test_an_engine_that_cannot_compute_so_is_refused():
    with pytest.raises(RecipeError, match="in 32 bits"):
        chosen("onnx", None, "cuda", "32")
    with pytest.raises(RecipeError, match="in 32 bits"):
        chosen("openvino", None, "cpu", "bf16")
