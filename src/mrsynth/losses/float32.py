"""Losses are computed in float32 at least, also where the network runs in half precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Tensor])


def in_float32(loss: F) -> F:
    """Return the loss with autocast off and half-precision tensors (also in lists) brought to float32.

    An SSIM of values near 1 loses all its digits in bfloat16, which has three; its variances are differences.
    """

    @wraps(loss)
    def exact(*args: Any) -> Tensor:
        device = next((tensor.device.type for tensor in _tensors(args)), "cpu")
        with torch.autocast(device, enabled=False):
            return loss(*(_raise(a) for a in args))

    return cast(F, exact)


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    return [t for value in values for t in _tensors(value)] if isinstance(values, list | tuple) else []


def _raise(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    return [_raise(v) for v in value] if isinstance(value, list | tuple) else value
