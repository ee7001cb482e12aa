"""What a verb prints where something failed."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

STOPPED = "stopped. What is finished is kept; run the same command again to go on (train: --resume)."
NO_MEMORY = """the memory is full.
  do:       use fewer workers (--workers) or less at once (--memory-gib, train.batch_size), or a larger machine"""


def say_all() -> None:
    """Let the terminal show what it cannot write (µ, → under an ASCII locale) as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def tell(error: BaseException) -> int:
    """Print what ended a command, in words, and return its exit code: 130 where the user stopped it, 2 where the user
    can do something, 3 where the fault is ours: what we need to mend it then goes to a file."""
    from mrsynth.core.errors import MrsynthError

    if isinstance(error, KeyboardInterrupt):
        print(f"\nmrsynth: {STOPPED}", file=sys.stderr)
        return 130
    if isinstance(error, MrsynthError):
        print(f"mrsynth: {shown(error)}", file=sys.stderr)
    elif isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        print(f"mrsynth: {shown(f'{error.strerror or error}{where}')}", file=sys.stderr)
    elif _is_out_of_memory(error):
        print(f"mrsynth: {NO_MEMORY}", file=sys.stderr)
    else:
        _tell_ours(error)
        return 3
    return 2


def _is_out_of_memory(error: BaseException) -> bool:
    """Say whether Python, NumPy or torch found no memory."""
    said = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)
    )


def _tell_ours(error: BaseException) -> None:
    """Tell of an error that nobody foresaw, and keep its traceback in a file."""
    whole = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="mrsynth-", suffix=".txt", delete=False, encoding="utf-8") as file:
            file.write(whole)
        kept = f"report it with {Path(file.name)}"
    except OSError:
        kept = f"report it with this:\n{whole}"
    print(
        f"mrsynth: something that we did not foresee.\n  found:    {shown(f'{type(error).__name__}: {error}')[:500]}\n"
        f"  do:       {kept}; what is finished is kept",
        file=sys.stderr,
    )


def print_failed(failed: Sequence[tuple[str, str]]) -> None:
    """Print the cases that failed and end with exit code 1 where there are any."""
    for case, why in failed:
        print(f"\n{shown(case)}\n{shown(why)}", file=sys.stderr)
    if failed:
        import typer

        raise typer.Exit(1)


def shown(message: object) -> str:
    """Return a message for the terminal, line by line: names of files in it may hold escape sequences."""
    from mrsynth.core.files import printable

    return "\n".join(printable(line) for line in str(message).split("\n"))
