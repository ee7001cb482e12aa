"""Other runtimes than torch for a network on a CPU, and the rule that picks one.

They run what goes through the network whole; a volume that is streamed stays with torch. torch, which computes with
channels last and folded normalisations here, is nearly as fast (benchmarks/RESULTS.md: engines): OpenVINO takes 3 to 13
percent less CPU time on slices and 4 on slabs, ONNX Runtime 3 to 9 less on slices and twice as much on slabs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from mrsynth.core.errors import RecipeError
from mrsynth.core.extras import is_there, require_extra
from mrsynth.volume.onnx_net import onnx_bytes

EngineName = Literal["torch", "onnx", "openvino", "auto"]

PACKAGES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
"""The packages that an engine needs; its extra has its name."""


def chosen(engine: EngineName, patch: list[int | None] | None, device: str, precision: str) -> EngineName:
    """Return the engine that computes: of "auto" the faster one that is installed.

    Args:
        engine: what is asked for.
        patch: what the network was trained on (None: slices).
        device: "cpu", "cuda" …
        precision: of the network's numbers.

    Raises:
        RecipeError: an engine that is not installed, or on a device or in a precision that it is not for.
    """
    fits = device == "cpu" and precision == "32"
    if engine == "auto":
        slab = patch is not None and patch[:2] == [None, None] and patch[2] is not None
        faster: tuple[EngineName, ...] = ("openvino", "onnx") if patch is None else ("openvino",) if slab else ()
        return next((name for name in faster if fits and all(map(is_there, PACKAGES[name]))), "torch")
    if engine != "torch":
        if not fits:
            raise RecipeError(
                f"The engine {engine} computes on a CPU, in 32 bits.",
                found=f"--device {device} --precision {precision}",
                do="take --device cpu --precision 32, or --engine torch",
            )
        for package in PACKAGES[engine]:
            require_extra(package, engine)
    return engine


class Runtime:
    """A network in another runtime: tensor in, tensor out; written as ONNX at the first call."""

    def __init__(self, net: nn.Module, engine: EngineName) -> None:
        self.net, self.engine = net, engine
        self.run: Callable[[np.ndarray], np.ndarray] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the network's output for x (b, c, *space)."""
        if self.run is None:
            content = onnx_bytes(self.net, [x.contiguous()[:1].clone()], ["x"])
            self.run = onnx_session(content) if self.engine == "onnx" else openvino_session(content)
        return torch.from_numpy(self.run(x.contiguous().numpy()))


_KNOWN: WeakKeyDictionary[nn.Module, Runtime] = WeakKeyDictionary()
"""The runtime of each network that is still there: writing it as ONNX takes seconds, and a cohort has many cases."""


def runtime_of(net: nn.Module, ready: nn.Module, engine: EngineName) -> Runtime:
    """Return a network in another runtime, the same one each time.

    Args:
        net: as it was loaded.
        ready: the same, made ready (`volume.predict.make_ready`).
        engine: "onnx" or "openvino".
    """
    known = _KNOWN.get(net)
    if known is None or known.engine != engine:
        known = _KNOWN[net] = Runtime(ready, engine)
    return known


def onnx_session(content: bytes) -> Callable[..., np.ndarray]:
    """Return a network of an ONNX file, run by ONNX Runtime in as many threads as torch takes: arrays in, image out."""
    runtime = require_extra("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3

    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True)))[0]


def openvino_session(content: bytes) -> Callable[..., np.ndarray]:
    """Return a network of an ONNX file, run by OpenVINO in 32 bits and as many threads as torch takes."""
    openvino: Any = require_extra("openvino", "openvino")
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(content), "CPU", settings)
    return lambda *arrays: np.array(compiled(list(arrays))[0])
