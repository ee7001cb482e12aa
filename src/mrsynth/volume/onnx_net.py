"""A network as ONNX: for programs without torch, and for the runtimes that `volume/runtimes.py` runs."""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mrsynth.core.errors import ModelError
from mrsynth.core.extras import require_extra

OPSET = 17
"""Version of the operators: ONNX Runtime reads it since 1.12 (2022), OpenVINO since 2022.2."""

OUTPUT = "image"


def onnx_bytes(net: nn.Module, inputs: Sequence[Tensor], names: Sequence[str]) -> bytes:
    """Return a network as an ONNX file whose batch and sizes are free.

    Args:
        net: (b, c, *space), … → (b, 1, *space), in evaluation mode and in float32 on the CPU.
        inputs: an example of each input, large enough for the network's deepest level.
        names: of the inputs.

    Returns:
        The content of the file; its output is called `image`.

    Raises:
        ModelError: the network cannot be written in either of torch's ways.
    """
    require_extra("onnx", "onnx")
    reasons = []
    # torch's first exporter follows free sizes through every network here and takes a tenth of the second's time; torch
    # calls it deprecated, so the second stands by.
    for write in (_by_script, _by_dynamo):
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                return write(net, tuple(inputs), list(names))
        except Exception as error:  # the exporters raise whatever their passes raise
            reasons.append(f"{type(error).__name__}: {str(error).splitlines()[-1] if str(error) else ''}")
    raise ModelError("torch cannot write this network as ONNX.", found="; ".join(reasons))


def _by_script(net: nn.Module, inputs: tuple[Tensor, ...], names: list[str]) -> bytes:
    """Return the file by torch's first exporter, which records one run of the network."""
    file = io.BytesIO()
    axes = {name: {axis: _axis(axis) for axis in _free(x)} for name, x in zip(names, inputs, strict=True)}
    torch.onnx.export(
        net,
        inputs,
        file,  # type: ignore[arg-type]
        dynamo=False,
        opset_version=OPSET,
        input_names=names,
        output_names=[OUTPUT],
        dynamic_axes={**axes, OUTPUT: axes[names[0]]},
    )
    return file.getvalue()


def _by_dynamo(net: nn.Module, inputs: tuple[Tensor, ...], names: list[str]) -> bytes:
    """Return the file by torch's second exporter."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    sizes = tuple(dict.fromkeys(_free(x), torch.export.Dim.DYNAMIC) for x in inputs)
    program = torch.onnx.export(
        net, inputs, dynamo=True, input_names=names, output_names=[OUTPUT], dynamic_shapes=sizes, verbose=False
    )
    if program is None:
        raise RuntimeError("no program")
    return program.model_proto.SerializeToString()


def _free(x: Tensor) -> list[int]:
    """Return the axes whose size is free: all but the channels."""
    return [axis for axis in range(x.ndim) if axis != 1]


def _axis(axis: int) -> str:
    return "batch" if axis == 0 else "xyz"[axis - 2]


class Comparison(NamedTuple):
    """How far a runtime's image is from torch's.

    Attributes:
        difference: the largest absolute one.
        rounding: how far torch's own is from one computed in 64 bits at most.
        spread: over which range torch's values spread.
    """

    difference: float
    rounding: float
    spread: float


def compared(net: nn.Module, run: Callable[..., np.ndarray], inputs: Sequence[Tensor]) -> Comparison:
    """Compare a network in torch with the same in another runtime.

    Args:
        net: in torch, in 32 bits.
        run: in the other runtime, arrays in, array out.
        inputs: to both.
    """
    with torch.inference_mode():
        expected = net(*inputs).numpy()
        exact = copy.deepcopy(net).double()(*(x.double() for x in inputs)).numpy()
    found = run(*(x.numpy() for x in inputs))
    return Comparison(
        float(np.abs(found - expected).max()), float(np.abs(expected - exact).max()), float(np.ptp(expected))
    )
