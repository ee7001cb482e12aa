"""Which machine this is, and whether a process of it still runs."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

START_TOLERANCE_S = 60.0
"""By how much the start of one process may seem to differ from one look to the next: clocks are set."""


@cache
def machine() -> str:
    """Return what tells this machine, since it was booted, and the container on it, from others."""
    parts = [platform.node()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115
    except OSError:  # no Linux
        pass
    return " ".join(parts)


def process_start(pid: int) -> float | None:
    """Return when a process of this machine began, in seconds since 1970; None where there is none that runs."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:  # it is there, and says no more
        return 0.0


def is_running(pid: int, start: float) -> bool:
    """Say whether a process still runs on this machine.

    Args:
        pid: its number, which another process may have by now.
        start: when it began, in seconds as `process_start` gives it; that tells it from another one.
    """
    now = process_start(pid)
    return now is not None and (now == 0.0 or abs(now - start) < START_TOLERANCE_S)
