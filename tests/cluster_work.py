"""Work for tests of the cluster: it must be importable in a worker process."""

from __future__ import annotations

import os
from collections.abc import Callable

from mrsynth.errors import InputError, OutputError


def square(item: int, tell: Callable[[str, str], None]) -> tuple[int, int]:
    """Square a number and say where; odd accidents at certain numbers."""
    tell(str(item), "squaring")
    if item == 13:
        raise InputError("13 cannot be squared.", do="take another")
    if item == 14:
        raise ValueError("unforeseen")
    if item == 15:
        raise OutputError("The disk is full.")
    if item == 16:
        os._exit(1)  # as the kernel ends a process that took all memory
    return item * item, os.getpid()
