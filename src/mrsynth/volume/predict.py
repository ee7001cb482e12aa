"""A network over a whole volume: made ready once (normalisation folded, precision), then slices, slabs or all of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mrsynth.core.errors import InputError, RecipeError
from mrsynth.core.memory import NO_CEILING, Ceiling, keep_freed_memory
from mrsynth.core.settings import PredictSettings, Settings
from mrsynth.nets.protocol import Network
from mrsynth.volume.engine import LOG, Engine, is_out_of_memory
from mrsynth.volume.fold import fold_batch_norm
from mrsynth.volume.multiplanar import SliceNet, predict_planes
from mrsynth.volume.runtimes import EngineName, chosen, runtime_of
from mrsynth.volume.slabs import predict_slabs
from mrsynth.volume.windows import predict_windows

DTYPES = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}

CPU_GIB = 2.0
"""What a prediction may use of a CPU's memory beside weights and the volumes that are read and returned."""


PLANNED, KEPT_BELOW = 0.8, 0.85
"""Shares of that: what the layers may plan with, and from where on freed memory is given back. The rest is for what no
plan knows: the code that oneDNN makes, the allocator's own books."""


class Inference(Settings):
    """How a volume is predicted; patch, neighbours, planes and background come from the model's contract.

    Attributes:
        patch: what the network was trained on: None for slices, [null, null, n] for slabs of n slices, else boxes.
        neighbours: slices on each side that a network of slices sees too.
        planes: how a network of slices goes over the volume.
        background: the value of what is not head.
        overlap: slices that neighbouring slabs share, by default all but one.
        precision: of weights and values; sums are float32 and so is the result.
        compile: whether torch.compile is used where a block goes through the network whole.
        engine: what computes there (volume/runtimes.py).
        memory_gib: what may be used beside weights and volume, by default 2 on a CPU and most of what is free on a GPU.
    """

    patch: list[int | None] | None = None
    neighbours: int = Field(default=0, ge=0)
    planes: PredictSettings = PredictSettings()
    background: float = 0.0
    overlap: int | None = Field(default=None, ge=0)
    precision: Literal["32", "bf16", "16"] = "32"
    compile: bool = False
    engine: EngineName = "torch"
    memory_gib: float | None = Field(default=None, gt=0)


def predict_volume(
    net: Callable[[Tensor], Tensor],
    inputs: list[np.ndarray],
    how: Inference,
    device: str = "cpu",
) -> np.ndarray:
    """Return a network's prediction of a volume; the same for the same input.

    A network of boxes sees the whole volume, streamed through it in the memory given: the result is that of one piece,
    without seams (volume/stream.py). Only a network that cannot be streamed is run on boxes of `how.patch`, which
    overlap by half and are blended.

    Args:
        net: (b, c · (2n + 1), x, y) → (b, 1, x, y) for slices with n neighbours on each side, else (b, c, x, y, z) →
            (b, 1, x, y, z); a module is copied, any other callable is used as it is.
        inputs: c arrays (x, y, z), which stay as they are.
        how: the settings of the prediction.
        device: of torch, e.g. "cpu" or "cuda".

    Returns:
        (x, y, z) float32.

    Raises:
        InputError: the inputs have several shapes, or no voxels.
        RecipeError: the device lacks the precision, or the engine is not installed or not for this.
        MrsynthError: memory runs out.
    """
    shapes = {array.shape for array in inputs}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 3 or not all(shape):
        raise InputError(
            "The inputs of a network must be volumes of one shape.",
            found=", ".join(str(array.shape) for array in inputs) or "no input",
            expected="(x, y, z), the same for all",
        )
    engine = make_ready(net, how, device)
    if how.patch is None:
        stride = net.stride if isinstance(net, Network) else 1
        every = math.lcm(*([stride] if isinstance(stride, int) else stride))
        return predict_planes(SliceNet(engine, how.neighbours, every, how.background), inputs, how.planes)
    if how.patch[:2] == [None, None] and how.patch[2] is not None:
        return predict_slabs(engine, inputs, how.patch[2], how.overlap)
    if engine.can_stream(shape, len(inputs)):
        return _predict_whole(engine, inputs)
    size = [edge or length for edge, length in zip(how.patch, shape, strict=True)]
    return predict_windows(engine, inputs, size, [edge // 2 for edge in size])


def _predict_whole(engine: Engine, inputs: list[np.ndarray]) -> np.ndarray:
    """Return the prediction of a volume as one block."""
    result: list[np.ndarray] = []
    engine.run(
        lambda *_: np.moveaxis(np.stack(inputs, axis=-1, dtype=np.float32), -1, 0)[None],  # as the network takes it
        lambda _, predicted: result.append(predicted[0]),
        1,
    )
    return result[0]


def make_ready(net: Callable[[Tensor], Tensor], how: Inference, device: str) -> Engine:
    """Return a network on a device with its normalisation folded, in the precision asked for, and its memory budget.

    Args:
        net: a module, which stays as it is, or any other callable, which is used as it is.
        how: precision, engine, memory, and whether the network is compiled.
        device: of torch, e.g. "cpu" or "cuda".

    Raises:
        RecipeError: the device lacks the precision, or the engine is not installed or not for this.
    """
    place, dtype = torch.device(device), DTYPES[how.precision]
    if place.type == "cpu":
        if how.precision == "16":
            raise RecipeError("Half precision needs a GPU.", found="precision 16 on a CPU", do="take 32 or bf16")
        keep_freed_memory()
    own = net
    if isinstance(net, nn.Module):
        net = fold_batch_norm(net).to(place, dtype)
        for tensor in net.parameters():
            layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.ndim, torch.contiguous_format)
            tensor.data = tensor.data.contiguous(memory_format=layout)
    whole: Callable[[Tensor], Tensor] | None = None
    if isinstance(net, nn.Module) and isinstance(own, nn.Module):
        engine = chosen(how.engine, how.patch, place.type, how.precision)
        whole = _compiled(net) if how.compile else None if engine == "torch" else runtime_of(own, net, engine)
    budget = budget_bytes(how.memory_gib, place)
    ceiling = Ceiling.above_now(int(KEPT_BELOW * budget)) if place.type == "cpu" else NO_CEILING
    return Engine(net, place, dtype, int(PLANNED * budget), whole, ceiling)


def budget_bytes(memory_gib: float | None, place: torch.device) -> int:
    """Return how many bytes a prediction may use: what is asked for, up to 80 % of what is free.

    Args:
        memory_gib: what is asked for, in GiB; None for 2 on a CPU, and for all of those 80 % on a GPU.
        place: the device.
    """
    if place.type == "cuda":
        free = int(0.8 * torch.cuda.mem_get_info(place)[0])
        default = float("inf")
    else:
        import psutil

        free, default = int(0.8 * psutil.virtual_memory().available), CPU_GIB
    return int(min(free, (memory_gib or default) * 2**30))


def _compiled(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the network by torch.compile, or as it is from the first failure on, with a sentence."""
    call: list[Callable[[Tensor], Tensor]] = [torch.compile(net)]

    def run(x: Tensor) -> Tensor:
        try:
            return call[0](x)
        except Exception as error:
            if is_out_of_memory(error) or call[0] is net:
                raise
            LOG.warning("torch.compile failed (%s); going on without it.", str(error).splitlines()[0])
            call[0] = net
            return net(x)

    return run
