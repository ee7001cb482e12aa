"""What is known of each function of torch: which rows of its input a row of its output needs, how it is computed.

The rules of functions whose rows stand for themselves are here, the others in `neighbour_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mrsynth.nets.attention import look_around
from mrsynth.volume.layers import Apply, CannotStreamError, Recorder
from mrsynth.volume.neighbour_rules import attention, convolution, padding, pooling, transposed, upsampling
from mrsynth.volume.rows import AXIS, Same

Rule = Callable[..., None]
"""(recorder, out, *the function's own arguments); the first argument after `out` is the image."""


def crop(recorder: Recorder, out: Tensor, x: Tensor, index: Any) -> None:
    """Note x[:, :, :n, …]: slices of step 1; rows are cut at the far end only.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        x: the image.
        index: what stands in the brackets.

    Raises:
        CannotStreamError: the index holds anything else, or cuts off the first rows.
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (x.ndim - len(parts) + 1)
    if not all(isinstance(part, slice) and part.step in (None, 1) for part in parts):
        raise CannotStreamError("an index other than slices of step 1")
    if len(parts) > AXIS:
        if parts[AXIS].start not in (None, 0):
            raise CannotStreamError("the first rows are cut off")
        parts[AXIS] = slice(None)
    kept = tuple(parts)
    recorder.note(out, [x], Same(), lambda xs, *_: xs[0][kept], cheap=True)


def chunks(recorder: Recorder, out: Sequence[Tensor], x: Tensor, chunks: int, dim: int = 0) -> None:
    """Note a Tensor.chunk over the channels: a layer for each part.

    Args:
        recorder: takes the layers.
        out: the parts, without memory.
        x: the image.
        chunks: how many parts were asked for.
        dim: the axis that is cut.

    Raises:
        CannotStreamError: another axis is cut than the channels.
    """
    if dim != 1:
        raise CannotStreamError("chunks of another axis than the channels")
    start = 0
    for part in out:
        recorder.note(part, [x], Same(), _channels(start, part.shape[1]), cheap=True)
        start += part.shape[1]


def concatenation(recorder: Recorder, out: Tensor, tensors: Sequence[Tensor], dim: int = 0) -> None:
    """Note a torch.cat over the channels.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        tensors: the images.
        dim: the axis along which they are joined.

    Raises:
        CannotStreamError: it is another axis than the channels, or one of the tensors is a constant.
    """
    if dim != 1 or not all(id(tensor) in recorder.numbers for tensor in tensors):
        raise CannotStreamError("concatenation along another axis than the channels, or with a constant")
    recorder.note(out, tensors, Same(), lambda xs, *_: torch.cat(list(xs), dim=1), cheap=True)


def channel_sum(recorder: Recorder, out: Tensor, x: Tensor, dim: int, keepdim: bool = False) -> None:
    """Note a Tensor.sum over the channels.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        x: the image.
        dim: the axis that is summed.
        keepdim: whether the axis stays, with one channel.

    Raises:
        CannotStreamError: another axis is summed, or it does not stay.
    """
    if dim != 1 or not keepdim:
        raise CannotStreamError("a sum over another axis than the channels")
    recorder.note(out, [x], Same(), lambda xs, *_: xs[0].sum(dim=1, keepdim=True))


def batch_norm(recorder: Recorder, out: Tensor, x: Tensor, mean: Any, var: Any, *rest: Any, **named: Any) -> None:
    """Note a functional.batch_norm by stored statistics.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        x: the image.
        mean: of each channel, stored.
        var: of each channel, stored.
        *rest: weight, bias, training, momentum and eps, as many as were given by place.
        **named: those that were given by name.

    Raises:
        CannotStreamError: the statistics are those of the image.
    """
    given = dict(zip(("weight", "bias", "training", "momentum", "eps"), rest, strict=False)) | named
    if given.get("training", False):
        raise CannotStreamError("batch normalisation by the statistics of the image")
    recorder.note(out, [x], Same(), lambda xs, *_: functional.batch_norm(xs[0], mean, var, **given))


def dropout(recorder: Recorder, out: Tensor, x: Tensor, p: float = 0.5, training: bool = True, **_: Any) -> None:
    """Note a functional.dropout, which does nothing in evaluation.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        x: the image.
        p: probability with which a number is dropped.
        training: whether numbers are dropped at all.
        **_: not used.

    Raises:
        CannotStreamError: numbers are dropped.
    """
    if training and p:
        raise CannotStreamError("dropout in training")
    recorder.note(out, [x], Same(), lambda xs, *_: xs[0], cheap=True)


def to_float(recorder: Recorder, out: Tensor, image: Tensor) -> None:
    """Note a conversion to float32, which of float32 is the image itself: nothing then happens to it.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        image: of any type.
    """
    if out is not image:
        recorder.note(out, (image,), Same(), lambda xs, start, stop: xs[0].float())


def pointwise(function: Callable[..., Tensor], overwrite: Callable[..., Tensor] | None = None) -> Rule:
    """Return the rule of a function of each voxel by itself: of images, constants and numbers.

    Args:
        function: of torch.
        overwrite: the same function into the memory of its first image, None where there is none.

    Returns:
        The rule; it raises CannotStreamError where the first argument is not the image, or images have other rows.
    """

    def rule(recorder: Recorder, out: Tensor, *args: Any, **named: Any) -> None:
        named.pop("inplace", None)
        images = [a for a in args if isinstance(a, Tensor) and id(a) in recorder.numbers]
        if not isinstance(args[0], Tensor) or args[0] is not images[0] or images[0].shape != out.shape:
            raise CannotStreamError("a sum or product whose first part is not the image")
        if any(image.shape[AXIS] != out.shape[AXIS] for image in images):
            raise CannotStreamError("a sum or product of images with other rows")
        is_image = [isinstance(a, Tensor) and id(a) in recorder.numbers for a in args]
        ndim, length = out.ndim, out.shape[AXIS]

        def applied(call: Callable[..., Tensor]) -> Apply:
            def apply(xs: Sequence[Tensor], start: int, stop: int) -> Tensor:
                given = iter(xs)
                parts = (
                    next(given) if image else _rows_of(a, ndim, length, start, stop)
                    for a, image in zip(args, is_image, strict=True)
                )
                return call(*parts, **named)

            return apply

        recorder.note(out, images, Same(), applied(function), overwrite=applied(overwrite) if overwrite else None)

    return rule


RULES: dict[Any, Rule] = {
    torch.conv2d: convolution,
    torch.conv3d: convolution,
    torch.conv_transpose2d: transposed,
    torch.conv_transpose3d: transposed,
    functional.max_pool2d: pooling,
    functional.max_pool3d: pooling,
    functional.interpolate: upsampling,
    functional.pad: padding,
    look_around: attention,
    functional.batch_norm: batch_norm,
    functional.dropout: dropout,
    torch.Tensor.__getitem__: crop,
    torch.Tensor.chunk: chunks,
    torch.Tensor.sum: channel_sum,
    torch.cat: concatenation,
    torch.Tensor.add: pointwise(torch.add, torch.Tensor.add_),
    torch.Tensor.mul: pointwise(torch.mul, torch.Tensor.mul_),
    torch.Tensor.float: to_float,
    functional.relu: pointwise(torch.relu, torch.relu_),
    torch.relu: pointwise(torch.relu, torch.relu_),
    functional.leaky_relu: pointwise(functional.leaky_relu),
    torch.tanh: pointwise(torch.tanh, torch.Tensor.tanh_),
    torch.sigmoid: pointwise(torch.sigmoid, torch.Tensor.sigmoid_),
}


def _channels(start: int, count: int) -> Apply:
    return lambda xs, *_: xs[0].narrow(1, start, count)


def _rows_of(value: Any, ndim: int, length: int, start: int, stop: int) -> Any:
    """Return the rows of a constant that has rows; anything else as it is."""
    axis = AXIS - ndim
    if isinstance(value, Tensor) and value.ndim >= -axis and value.shape[axis] == length > 1:
        return value.narrow(axis, start, stop - start)
    return value
