"""Work for tests of the cluster: it must be importable in a worker process."""

from __future__ import annotations

import os
import time
from pathlib import Path

from mrsynth.core.errors import InputError, OutputError
from mrsynth.core.progress import say, working_on


def square(item: int) -> tuple[int, int]:
    """Square a number and say where; odd accidents at certain numbers."""
    with working_on(str(item)):
        say("squaring")
    if item == 13:
        raise InputError("13 cannot be squared.", do="take another")
    if item == 14:
        raise ValueError("unforeseen")
    if item == 15:
        raise OutputError("The disk is full.")
    if item == 16:
        os._exit(1)  # as the kernel ends a process that took all memory
    return item * item, os.getpid()


def write_and_look(item: tuple[Path, Path | None]) -> bool:
    """Write a file slowly; say whether the file that was needed lay there before."""
    own, needed = item
    there = needed is None or needed.exists()
    time.sleep(0.5)
    own.write_text("done")
    return there
