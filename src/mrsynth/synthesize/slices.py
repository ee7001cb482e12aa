"""A 2-D network over a volume, slice by slice, in batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def predict_slices(
    net: Callable[[Tensor], Tensor], inputs: list[np.ndarray], *, batch: int = 16, device: str = "cpu"
) -> np.ndarray:
    """Return net(inputs) over all axial slices.

    net: (b, c, x, y) → (b, 1, x, y). inputs: c arrays (x, y, z) float32. Result (x, y, z) float32. Every slice is
    predicted exactly once; memory is that of one batch.
    """
    x, y, z = inputs[0].shape
    result = np.empty((z, x, y), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, z, batch):
            block = np.stack([np.moveaxis(a[..., start : start + batch], 2, 0) for a in inputs], axis=1)
            tensor = torch.from_numpy(np.ascontiguousarray(block)).to(device, memory_format=torch.channels_last)
            result[start : start + batch] = net(tensor)[:, 0].float().cpu().numpy()
    return np.moveaxis(result, 0, 2)
