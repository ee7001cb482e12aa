"""Progress bars for loops over cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")

CONSOLE = Console(stderr=True)


def track(items: Iterable[T], what: str, total: int, show: bool = True) -> Iterator[T]:
    """Yield the items behind a progress bar on standard error; what: the work in a word or two."""
    if not show:
        yield from items
        return
    with Progress(*_columns(), console=CONSOLE) as progress:
        task = progress.add_task(what, total=total)
        for item in items:
            yield item
            progress.advance(task)


class CaseProgress:
    """A bar over cases that are worked on side by side, with what is being done with each at the moment."""

    def __init__(self, what: str, total: int, show: bool = True) -> None:
        self.progress = Progress(*_columns(), TextColumn("{task.fields[now]}"), console=CONSOLE, disable=not show)
        self.task = self.progress.add_task(what, total=total, now="")
        self.doing: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def tell(self, case: str, what: str) -> None:
        """Show what is being done with a case."""
        self.doing[case] = what
        self._show()

    def advance(self, case: str) -> None:
        """Count a case as finished."""
        self.doing.pop(case, None)
        self.progress.advance(self.task)
        self._show()

    def _show(self) -> None:
        now = ", ".join(f"{case}: {what}" for case, what in list(self.doing.items())[:4])
        self.progress.update(self.task, now=now)


def _columns() -> tuple[ProgressColumn, ...]:
    """Return what every bar shows."""
    return (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
