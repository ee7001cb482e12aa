"""How many threads the libraries behind the steps may use."""

from __future__ import annotations

import torch


def limit_threads(threads: int) -> None:
    """Let torch and ITK use at most so many threads in this process; several workers share a machine's cores."""
    import SimpleITK as sitk

    torch.set_num_threads(threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
