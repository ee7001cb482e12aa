"""Keeps the memory that a CPU step frees, instead of giving it back to the system and asking again."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP_BYTES = 2**30


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to reuse blocks up to 1 GiB; returns False where the C library is another one.

    The activations of a step are blocks of up to a few hundred MB. By default each is mapped, zeroed page by page and
    unmapped again at every step: kept, a U-Net step is 1.9 times as fast (benchmarks/RESULTS.md).
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEEP_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
