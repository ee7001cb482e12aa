"""What every benchmark shares: where it ran, fair turns, and the row it prints."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any


def environment(*packages: str) -> dict[str, Any]:
    """Return device, versions, commit and load of the machine."""
    here = Path(__file__).parent
    commit = _git(here, "describe", "--always", "--abbrev=12")
    # Results written before in the same sitting are no change of the code.
    if _git(here, "status", "--porcelain", "-uno", "--", ":(top)", ":(top,exclude)benchmarks/RESULTS.md"):
        commit += "-dirty"
    return {
        "device": f"{platform.machine()}, {os.cpu_count()} cores, {os.environ.get('OMP_NUM_THREADS', 'all')} threads",
        "versions": ", ".join(f"{name} {version(name)}" for name in ("mrsynth", *packages)),
        "commit": commit or "unknown",
        "load": round(os.getloadavg()[0], 1),
    }


def _git(here: Path, *words: str) -> str:
    """Return what git says, nothing where there is no repository."""
    return subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=False).stdout.strip()


def in_turns(*functions: Callable[[], object], repeats: int = 5) -> list[list[float]]:
    """Return the seconds of each function over `repeats` turns, after one call each to warm up.

    The functions take turns, so that a busy machine slows all of them; believe ratios of medians.
    """
    times: list[list[float]] = [[] for _ in functions]
    for repeat in range(repeats + 1):
        for function, taken in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            if repeat:
                taken.append(time.perf_counter() - start)
    return times


def medians(times: list[list[float]]) -> list[float]:
    return [statistics.median(taken) for taken in times]


def peak_mib() -> float:
    """Return the peak resident memory of this process in MiB (Linux); `ru_maxrss` of a started process would begin with
    the peak of the one that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def row(benchmark: str, what: str, value: float, unit: str, wanted: str = "", **more: Any) -> None:
    """Print one measurement as a line of JSON. wanted: what the project asks of it, e.g. "≤ 12 s"."""
    print(json.dumps({"benchmark": benchmark, "what": what, "value": value, "unit": unit, "wanted": wanted, **more}))
