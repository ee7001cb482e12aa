"""The memory that a CPU step frees: kept, instead of given back to the system and asked for again, up to a ceiling."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Ceiling:
    """What a process is to stay below, although freed memory is kept.

    Blocks of many sizes leave gaps in the kept memory, so that it grows beyond what is in use, at each run otherwise:
    before more is asked for than the ceiling leaves, the gaps are given back.

    Attributes:
        bytes_: of the process (resident); None for no ceiling.
    """

    bytes_: int | None = None

    @classmethod
    def above_now(cls, more: int) -> Ceiling:
        """Return the ceiling that lies `more` bytes above what is in use now; none where nobody can tell that."""
        give_back()
        now = resident_bytes()
        return cls(None if now is None else now + more)

    def make_room(self, needed: int = 0) -> None:
        """Give freed memory back where `needed` bytes more would lie above the ceiling."""
        if self.bytes_ is None:
            return
        now = resident_bytes()
        if now is not None and now + needed > self.bytes_:
            give_back()


NO_CEILING = Ceiling()


def resident_bytes() -> int | None:
    """Return how much memory this process has; None where the system does not tell (no Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def give_back() -> None:
    """Give all freed memory back to the system, where the C library is glibc."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return
