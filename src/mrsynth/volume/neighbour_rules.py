"""Rules of the functions of torch whose output rows need several input rows, or that change how many rows there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mrsynth.nets.attention import HEAD_FEATURES, look_around
from mrsynth.volume.layers import CannotStreamError, Recorder
from mrsynth.volume.rows import AXIS, Linear, Repeat, Repeated, Same, Spread, Window


def convolution(recorder: Recorder, out: Tensor, x: Tensor, weight: Tensor, *rest: Any, **named: Any) -> None:
    """Note a torch.conv2d or torch.conv3d.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        x: the image.
        weight: the kernels.
        *rest: bias, stride, padding, dilation and groups, as many as were given by place.
        **named: those that were given by name.

    Raises:
        CannotStreamError: the padding is given as a word.
    """
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


def transposed(recorder: Recorder, out: Tensor, x: Tensor, weight: Tensor, *rest: Any, **named: Any) -> None:
    """Note a torch.conv_transpose2d or torch.conv_transpose3d.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        x: the image.
        weight: the kernels.
        *rest: bias, stride, padding, output_padding, groups and dilation, as many as were given by place.
        **named: those that were given by name.

    Raises:
        CannotStreamError: there is output padding or dilation.
    """
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
    """Note a functional.max_pool2d or functional.max_pool3d.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        x: the image.
        *rest: kernel_size, stride, padding, dilation and ceil_mode, as many as were given by place.
        **named: those that were given by name.

    Raises:
        CannotStreamError: there is ceil_mode or dilation.
    """
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
    """Note a functional.interpolate: nearest or linear, by whole factors.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        x: the image.
        *rest: size, scale_factor, mode and align_corners, as many as were given by place.
        **named: those that were given by name.

    Raises:
        CannotStreamError: it is of another kind.
    """
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
    """Note a functional.pad with a constant or with the border.

    With a constant, rows are appended at the far end only; the stream itself appends them.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        x: the image.
        pad: voxels before and after, from the last axis to the first, as torch takes them.
        mode: "constant", or "replicate" for the border.
        value: the constant; None for 0.

    Raises:
        CannotStreamError: there is another mode, or a constant before the first row.
    """
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
    """Note a functional.pad with the border.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        x: the image.
        sides: voxels before and after, from the last axis to the first; they are filled up with zeros in place.

    Raises:
        CannotStreamError: batch or channels are padded, or the padding is negative.
    """
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
    """Note an attention.look_around: a row and its two neighbours.

    Computing a row takes 27 weights a voxel and head beside them, before and after the softmax, and two products.

    Args:
        recorder: takes the layer.
        out: the result, without memory.
        x: the image.
    """
    channels, voxels = out.shape[1], out[0, 0, 0].numel()
    recorder.note(
        out,
        [x],
        Window(3, 1, 0),
        lambda xs, *_: look_around(xs[0]),
        scratch=len(out) * voxels * (2 * 27 * (channels // HEAD_FEATURES) + 2 * channels),
    )


def _scratch(x: Tensor, out: Tensor) -> int:
    """Return the numbers that a 3-D convolution on a CPU takes for a row beside its input and output: measured with
    AVX-512 and with AVX2, a third of its input, and where that has no whole blocks of channels copies of its output."""
    image, result = (t.numel() // t.shape[AXIS] for t in (x, out))
    return image // 3 + (0 if x.shape[1] % 16 == 0 else 3 * result // 2)


def _each(value: Any, axes: int) -> tuple[int, ...]:
    """Return one number an axis."""
    if isinstance(value, str):
        raise CannotStreamError(f"padding '{value}'")
    return tuple(value) if isinstance(value, tuple | list) else (int(value),) * axes


def _has_mkldnn(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, steps: Any, pads: Any, wide: Any, groups: int) -> Tensor:
    """Call oneDNN by name: for few rows torch.conv3d takes a loop of its own that is ten times as slow."""
    return torch.mkldnn_convolution(x, weight, bias, pads, steps, wide, groups)  # type: ignore[attr-defined]
