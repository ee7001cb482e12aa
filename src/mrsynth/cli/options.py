"""What verbs share: options, and name=path pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from mrsynth.core.errors import InputError
from mrsynth.core.progress import hush

CohortFile = Annotated[Path, typer.Argument(help="The cohort table (CSV) that mrsynth index wrote.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a recipe's value: section.key=value. Repeatable.")
]


Processes = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes side by side, which share the cores.")
]
Scheduler = Annotated[
    str | None, typer.Option("--scheduler", help="A Dask scheduler's address (tcp://host:8786), or slurm.")
]


def _hush(quiet: bool) -> bool:
    """Hush bars and remarks for the whole command, before it begins."""
    hush(quiet)
    return quiet


Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.", callback=_hush)]


def pairs(option: str, texts: list[str] | None, expected: str) -> dict[str, Path]:
    """Return the paths of an option's name=path by name; raises InputError where one is none, or where two names mean
    the same image."""
    from mrsynth.core.types import image_name

    found: dict[str, Path] = {}
    meant: dict[str, str] = {}
    for text in texts or ():
        name, _, path = text.partition("=")
        if not name or not path:
            raise InputError(f"{option} {name}: not of the form name=path.", expected=expected)
        image = image_name(name) or name
        if image in meant:
            raise InputError(f"{option}: {image} is given twice.", found=f"{meant[image]}, {text}", do="keep one")
        found[name], meant[image] = Path(path), text
    return found


def only_with(option: str, given: Mapping[str, object]) -> None:
    """Raise InputError for options (name → value) that would be ignored: they go with one that is not given."""
    if wrong := [name for name, value in given.items() if value is not None]:
        told = " and ".join(wrong)
        raise InputError(f"{told}: only with {option}, which is not given.", do=f"leave {told} out")
