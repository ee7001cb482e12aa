"""What a verb prints where something failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer


def print_failed(failed: Sequence[tuple[str, str]]) -> None:
    """Print the cases that failed and end with exit code 1 where there are any."""
    for case, why in failed:
        print(f"\n{shown(case)}\n{shown(why)}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def shown(message: object) -> str:
    """Return a message for the terminal, line by line: names of files in it may hold escape sequences."""
    from mrsynth.core.files import printable

    return "\n".join(printable(line) for line in str(message).split("\n"))
