"""What every benchmark shares: full or toy size, fair turns, a process of its own, where it ran, the row it prints."""

from __future__ import annotations

import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

TOY = bool(os.environ.get("MRSYNTH_BENCH_TOY"))
"""Whether everything is as small as it runs at all: the suite runs each benchmark so. Numbers of it mean nothing."""

T = TypeVar("T")


def sized(full: T, toy: T) -> T:
    """Return the first value, or the second at toy size."""
    return toy if TOY else full


def alone(benchmark: str, *words: object) -> dict[str, float]:
    """Return what `measure(*words)` of a benchmark finds in a process of its own, whose peak of memory is its own.

    At toy size, where no number counts, it runs in this process.
    """
    text = [str(word) for word in words]
    if TOY:
        return dict(importlib.import_module(f"benchmarks.{benchmark}").measure(*text))
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{benchmark}", *text], check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run_as_told(main: Callable[[], None], measure: Callable[..., dict[str, float]]) -> None:
    """Run `main` where the command line has no words, else print what `measure` of these words finds, for `alone`."""
    if words := sys.argv[1:]:
        print(json.dumps(measure(*words)))
    else:
        main()


def environment(*packages: str) -> dict[str, Any]:
    """Return device, versions, commit and load of the machine."""
    commit = _git("describe", "--always", "--abbrev=12") + ("" if commit_of_clean_tree() else "-dirty")
    return {
        "device": f"{platform.machine()}, {os.cpu_count()} cores, {os.environ.get('OMP_NUM_THREADS', 'all')} threads",
        "versions": ", ".join(f"{name} {version(name)}" for name in ("mrsynth", *packages)),
        "commit": commit,
        "load": round(os.getloadavg()[0], 1),
    }


def commit_of_clean_tree() -> str | None:
    """Return the commit whose files these are; None where one of them is changed, or where there is no commit."""
    return None if _git("status", "--porcelain", "-uno") else _git("describe", "--always", "--abbrev=12") or None


def _git(*words: str) -> str:
    """Return what git says of this repository, nothing where there is none."""
    here = str(Path(__file__).parent)
    return subprocess.run(["git", "-C", here, *words], capture_output=True, text=True, check=False).stdout.strip()


def in_turns(*functions: Callable[[], object], repeats: int = 5) -> list[list[float]]:
    """Return the seconds of each function over `repeats` turns (one at toy size), after one call each to warm up.

    The functions take turns, so that a busy machine slows all of them; believe ratios of medians.
    """
    repeats = sized(repeats, 1)
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


def row(benchmark: str, what: str, value: float | None, unit: str, wanted: str = "", **more: Any) -> None:
    """Print one measurement as a line of JSON.

    Args:
        benchmark: the name of its module.
        what: what was measured, and under which conditions.
        value: the number; None where this machine cannot measure it.
        unit: of the value.
        wanted: what the project asks of it, e.g. "≤ 12 s".
        more: what `environment` found.
    """
    print(json.dumps({"benchmark": benchmark, "what": what, "value": value, "unit": unit, "wanted": wanted, **more}))
