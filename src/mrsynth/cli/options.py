"""What verbs share: options, and name=path pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mrsynth.errors import InputError

CohortFile = Annotated[Path, typer.Argument(help="The cohort table (CSV) that mrsynth index wrote.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a recipe's value: section.key=value. Repeatable.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]


def pairs(option: str, texts: list[str] | None, expected: str) -> dict[str, Path]:
    """Return the paths of an option's name=path by name; raises InputError where one is none."""
    parts = [text.partition("=") for text in texts or ()]
    for name, _, path in parts:
        if not name or not path:
            raise InputError(f"{option} {name}: not of the form name=path.", expected=expected)
    return {name: Path(path) for name, _, path in parts}
