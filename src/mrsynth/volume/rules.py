"""What is known of each function of torch: which rows of its input a row of its output needs, how it is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mrsynth.nets.attention import HEAD_FEATURES, look_around
from mrsynth.volume.layers import Apply, CannotStreamError, Recorder
from mrsynth.volume.rows import AXIS, Linear, Repeat, Repeated, Same, Spread, Window

Rule = Callable[..., None]
"""(recorder, out, *the function's own arguments); the first argument after `out` is the image."""


def convolution(recorder: Recorder, out: Tensor, x: Tensor, weight: Tensor, *rest: Any, **named: Any) -> None:
    """torch.conv2d, torch.conv3d."""
    given = dict(zip(("bias", "stride", "padding", "dilation", "groups"), rest, strict=False)) | named
    axes = x.ndim - 2
    steps, pads, wide = (_each(given.get(k, d), axes) for k, d in (("stride", 1), ("padding", 0), ("dilation", 1)))
    bias, groups = given.get("bias"), given.get("groups", 1)
    call = _convolve if _has_mkldnn(weight) else (torch.conv2d if axes == 2 else torch.conv3d)
    inner = (0, *pads[1:])
    recorder.note(
        out,
        [x],
        Window(wide[0] * (weight.shape[AXIS] - 1) + 1, steps[0], pads[0]),
        lambda xs, *_: call(xs[0], weight, bias, steps, inner, wide, groups),
        padded=lambda xs, *_: call(xs[0], weight, bias, steps, pads, wide, groups),
        scratch=_scratch(x, out) if axes == 3 and recorder.device.type == "cpu" else 0,
    )


def _scratch(x: Tensor, out: Tensor) -> int:
    """Return the numbers that a 3-D convolution on a CPU takes for a row beside its input and output: measured with
    AVX-512 and with AVX2, a third of its input, and where that has no whole blocks of channels copies of its output."""
    image, result = (t.numel() // t.shape[AXIS] for t in (x, out))
    return image // 3 + (0 if x.shape[1] % 16 == 0 else 3 * result // 2)


def transposed(recorder: Recorder, out: Tensor, x: Tensor, weight: Tensor, *rest: Any, **named: Any) -> None:
    """torch.conv_transpose2d, torch.conv_transpose3d."""
    names = ("bias", "stride", "padding", "output_padding", "groups", "dilation")
    given = dict(zip(names, rest, strict=False)) | named
    axes = x.ndim - 2
    steps, pads = _each(given.get("stride", 1), axes), _each(given.get("padding", 0), axes)
    if any(_each(given.get("output_padding", 0), axes)) or max(_each(given.get("dilation", 1), axes)) > 1:
        raise CannotStreamError("a transposed convolution with output padding or dilation")
    call: Any = torch.conv_transpose2d if axes == 2 else torch.conv_transpose3d
    bias, groups, inner = given.get("bias"), given.get("groups", 1), (0, *pads[1:])
    rows = Spread(weight.shape[AXIS], steps[0], pads[0])

    def apply(xs: Sequence[Tensor], start: int, stop: int) -> Tensor:
        first = rows.first(max(rows.needs(start, stop)[0], 0))
        return call(xs[0], weight, bias, steps, inner, 0, groups).narrow(AXIS, start - first, stop - start)

    recorder.note(out, [x], rows, apply)


def pooling(recorder: Recorder, out: Tensor, x: Tensor, *rest: Any, **named: Any) -> None:
    """functional.max_pool2d, functional.max_pool3d."""
    given = dict(zip(("kernel_size", "stride", "padding", "dilation", "ceil_mode"), rest, strict=False)) | named
    axes = x.ndim - 2
    if given.get("ceil_mode") or max(_each(given.get("dilation", 1), axes)) > 1:
        raise CannotStreamError("max pooling with ceil_mode or dilation")
    size, pads = _each(given["kernel_size"], axes), _each(given.get("padding", 0), axes)
    steps = size if given.get("stride") is None else _each(given["stride"], axes)
    call: Any = functional.max_pool2d if axes == 2 else functional.max_pool3d
    inner = (0, *pads[1:])
    recorder.note(
        out,
        [x],
        Window(size[0], steps[0], pads[0]),
        lambda xs, *_: call(xs[0], size, steps, inner),
        padded=lambda xs, *_: call(xs[0], size, steps, pads),
        beyond=-float("inf"),
    )


def upsampling(recorder: Recorder, out: Tensor, x: Tensor, *rest: Any, **named: Any) -> None:
    """functional.interpolate: nearest or linear, by whole factors."""
    given = dict(zip(("size", "scale_factor", "mode", "align_corners"), rest, strict=False)) | named
    factors = [new // old for new, old in zip(out.shape[2:], x.shape[2:], strict=True)]
    whole = [factor * old for factor, old in zip(factors, x.shape[2:], strict=True)] == list(out.shape[2:])
    mode = given.get("mode", "nearest")
    if mode not in ("nearest", "bilinear", "trilinear") or not whole or given.get("align_corners"):
        raise CannotStreamError("upsampling other than nearest or linear by whole factors")
    scale = tuple(float(f) for f in factors)
    rows = Repeat(factors[0]) if mode == "nearest" else Linear(factors[0], x.shape[AXIS])

    def apply(xs: Sequence[Tensor], start: int, stop: int) -> Tensor:
        # Linear: the first and last rows of a part are wrong, unless it ends where the image does; needs() has more.
        larger = functional.interpolate(xs[0], scale_factor=scale, mode=mode)  # type: ignore[arg-type]
        return larger.narrow(AXIS, start - factors[0] * rows.needs(start, stop)[0], stop - start)

    recorder.note(out, [x], rows, apply, cheap=True)


def padding(
    recorder: Recorder, out: Tensor, x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> None:
    """functional.pad with a constant, rows appended at the far end only (the stream itself appends them); or with the
    border."""
    if mode == "replicate":
        repeated_border(recorder, out, x, list(pad))
        return
    sides = [*pad, *[0] * (2 * x.ndim - len(pad))]  # from the last axis to the first
    near = 2 * (x.ndim - 1 - AXIS)
    if mode != "constant" or sides[near]:
        raise CannotStreamError("padding other than with a constant, after the last row")
    sides[near + 1] = 0
    beyond = value or 0.0
    recorder.note(
        out,
        [x],
        Same(),
        lambda xs, *_: functional.pad(xs[0], sides, value=beyond) if any(sides) else xs[0],
        cheap=True,
        beyond=beyond,
    )


def repeated_border(recorder: Recorder, out: Tensor, x: Tensor, sides: list[int]) -> None:
    """functional.pad with the border."""
    near = 2 * (x.ndim - 1 - AXIS)
    sides += [0] * (near + 2 - len(sides))
    if len(sides) > near + 2 or min(sides) < 0:
        raise CannotStreamError("padding of batch or channels, or a negative one")
    before, length = sides[near], x.shape[AXIS]
    rows, inner = Repeated(before, length), [*sides[:near], 0, 0]

    def apply(xs: Sequence[Tensor], start: int, stop: int) -> Tensor:
        wide = functional.pad(xs[0], inner, mode="replicate") if any(inner) else xs[0]
        first, end = rows.needs(start, stop)
        if (first, end) == (start - before, stop - before):
            return wide
        copied = (torch.arange(start, stop, device=wide.device) - before).clamp(0, length - 1) - first
        return wide.index_select(AXIS, copied)

    recorder.note(out, [x], rows, apply, cheap=True)


def attention(recorder: Recorder, out: Tensor, x: Tensor) -> None:
    """attention.look_around: a row and its two neighbours. Beside them there are 27 weights a voxel and head,
    before and after the softmax, and two products."""
    channels, voxels = out.shape[1], out[0, 0, 0].numel()
    recorder.note(
        out,
        [x],
        Window(3, 1, 0),
        lambda xs, *_: look_around(xs[0]),
        scratch=len(out) * voxels * (2 * 27 * (channels // HEAD_FEATURES) + 2 * channels),
    )


def crop(recorder: Recorder, out: Tensor, x: Tensor, index: Any) -> None:
    """x[:, :, :n, …]: slices of step 1; rows are cut at the far end only."""
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
    """Tensor.chunk over the channels."""
    if dim != 1:
        raise CannotStreamError("chunks of another axis than the channels")
    start = 0
    for part in out:
        recorder.note(part, [x], Same(), _channels(start, part.shape[1]), cheap=True)
        start += part.shape[1]


def concatenation(recorder: Recorder, out: Tensor, tensors: Sequence[Tensor], dim: int = 0) -> None:
    """torch.cat over the channels."""
    if dim != 1 or not all(id(tensor) in recorder.numbers for tensor in tensors):
        raise CannotStreamError("concatenation along another axis than the channels, or with a constant")
    recorder.note(out, tensors, Same(), lambda xs, *_: torch.cat(list(xs), dim=1), cheap=True)


def channel_sum(recorder: Recorder, out: Tensor, x: Tensor, dim: int, keepdim: bool = False) -> None:
    """Tensor.sum over the channels."""
    if dim != 1 or not keepdim:
        raise CannotStreamError("a sum over another axis than the channels")
    recorder.note(out, [x], Same(), lambda xs, *_: xs[0].sum(dim=1, keepdim=True))


def batch_norm(recorder: Recorder, out: Tensor, x: Tensor, mean: Any, var: Any, *rest: Any, **named: Any) -> None:
    """functional.batch_norm by stored statistics."""
    given = dict(zip(("weight", "bias", "training", "momentum", "eps"), rest, strict=False)) | named
    if given.get("training", False):
        raise CannotStreamError("batch normalisation by the statistics of the image")
    recorder.note(out, [x], Same(), lambda xs, *_: functional.batch_norm(xs[0], mean, var, **given))


def dropout(recorder: Recorder, out: Tensor, x: Tensor, p: float = 0.5, training: bool = True, **_: Any) -> None:
    """functional.dropout, which does nothing in evaluation."""
    if training and p:
        raise CannotStreamError("dropout in training")
    recorder.note(out, [x], Same(), lambda xs, *_: xs[0], cheap=True)


def to_float(recorder: Recorder, out: Tensor, image: Tensor) -> None:
    """Note a conversion to float32, which of float32 is the image itself: nothing then happens to it."""
    if out is not image:
        recorder.note(out, (image,), Same(), lambda xs, start, stop: xs[0].float())


def pointwise(function: Callable[..., Tensor], overwrite: Callable[..., Tensor] | None = None) -> Rule:
    """Return the rule of a function of each voxel by itself: of images, constants and numbers."""

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


def _each(value: Any, axes: int) -> tuple[int, ...]:
    """Return one number an axis."""
    if isinstance(value, str):
        raise CannotStreamError(f"padding '{value}'")
    return tuple(value) if isinstance(value, tuple | list) else (int(value),) * axes


def _channels(start: int, count: int) -> Apply:
    return lambda xs, *_: xs[0].narrow(1, start, count)


def _rows_of(value: Any, ndim: int, length: int, start: int, stop: int) -> Any:
    """Return the rows of a constant that has rows; anything else as it is."""
    axis = AXIS - ndim
    if isinstance(value, Tensor) and value.ndim >= -axis and value.shape[axis] == length > 1:
        return value.narrow(axis, start, stop - start)
    return value


def _has_mkldnn(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, steps: Any, pads: Any, wide: Any, groups: int) -> Tensor:
    """Call oneDNN by name: for few rows torch.conv3d takes a loop of its own that is ten times as slow."""
    return torch.mkldnn_convolution(x, weight, bias, pads, steps, wide, groups)  # type: ignore[attr-defined]
