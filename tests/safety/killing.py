"""Runs a verb of the small world and kills itself (SIGKILL) at the nth operation on files below its output.

    python killing.py WORLD VERB COUNT…   for each COUNT: a line `COUNT killed` or `COUNT ended`, in a copy WORLD-COUNT

Everything is imported once; each trial is a fork.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from mrsynth.core.progress import hush
from world import OUTPUTS, VERBS, WHOLE

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.utime", "shutil.rmtree"}


def kill_at(count: int, below: str) -> None:
    """Let this process die at the nth operation that changes something below a folder."""
    seen = [0]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in EVENTS or not arguments or below not in str(arguments[0]):
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        seen[0] += 1
        if seen[0] == count:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def trial(world: Path, verb: str, count: int) -> str:
    """Run a verb in a copy of the world until it is killed, then once more; returns what became of the first."""
    copy = world.with_name(f"{world.name}-{verb}-{count}")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(world, copy, symlinks=True)
    outcome = "ended"
    for killed in (True, False):
        child = os.fork()
        if child == 0:
            try:
                if killed:
                    kill_at(count, str(copy / OUTPUTS[verb]))
                {**VERBS, **WHOLE}[verb](copy)
                os._exit(0)
            except BaseException as error:  # seen by the parent as the exit code
                print(f"{count} failed: {type(error).__name__}: {error}", flush=True)
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            outcome = "killed"
        elif os.WEXITSTATUS(status):
            return "failed"
    return outcome


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    hush()
    for number in map(int, sys.argv[3:]):
        print(number, trial(Path(sys.argv[1]), sys.argv[2], number), flush=True)
