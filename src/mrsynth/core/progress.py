"""What a user sees of long work: bars on the console, and what is being done with each case at the moment.

Whoever works says so with `say`; whoever shows it listens. Nobody in between hands anything on. Whether bars are shown
is decided once, by `hush`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
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
"""Where bars, remarks and failures go."""

_SHOWN = {"bars": True}

Listener = Callable[[str, str], None]
"""Called with the name of a case (or cell) and what is being done with it."""


@dataclass(frozen=True)
class _Work:
    """The work that this thread does.

    Attributes:
        name: of the case.
        first, part, whole: which steps of its network's work a part counts as (`part_of`).
    """

    listener: Listener | None = None
    name: str = ""
    first: int = 0
    part: int = 1
    whole: int = 0


_NOBODY = _Work()
_WORK: ContextVar[_Work] = ContextVar("work", default=_NOBODY)


def hush(quiet: bool = True) -> None:
    """Show no bars and no remarks in this process from now on (or show them again)."""
    _SHOWN["bars"] = not quiet


def is_quiet() -> bool:
    """Say whether bars and remarks are hushed."""
    return not _SHOWN["bars"]


def remark(text: str) -> None:
    """Print a line about the work, as rich markup, unless all is hushed."""
    if _SHOWN["bars"]:
        CONSOLE.print(text)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Let a listener hear what the block says."""
    with _during(replace(_WORK.get(), listener=listener)):
        yield


def heard() -> Listener:
    """Return who listens to this thread's work, for another thread; one who does nothing where nobody does."""
    return _WORK.get().listener or (lambda name, what: None)


@contextmanager
def working_on(name: str) -> Iterator[None]:
    """Name the case (or cell) that the block works on."""
    with _during(replace(_WORK.get(), name=name)):
        yield


@contextmanager
def part_of(first: int, part: int, whole: int) -> Iterator[None]:
    """Let the steps that the block counts stand for a part of some larger work. Parts may have parts.

    Args:
        first: where the part begins, in steps of the larger work.
        part: how many steps it stands for.
        whole: steps of the larger work.
    """
    work = _WORK.get()
    if work.whole:
        first, part, whole = work.first + work.part * first // whole, work.part * part // whole, work.whole
    with _during(replace(work, first=first, part=part, whole=whole)):
        yield


def say(what: str) -> None:
    """Say what is being done with the case at the moment."""
    work = _WORK.get()
    if work.listener is not None:
        work.listener(work.name, what)


def say_step(done: int, total: int) -> None:
    """Say how far a network's work is.

    Args:
        done: steps that are done.
        total: steps in all.
    """
    work = _WORK.get()
    say(f"{work.first + work.part * done // total}/{work.whole}" if work.whole else f"{done}/{total}")


@contextmanager
def _during(work: _Work) -> Iterator[None]:
    token = _WORK.set(work)
    try:
        yield
    finally:
        _WORK.reset(token)


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yield items behind a progress bar.

    Args:
        items: what is worked on.
        what: the work in a word or two.
        total: how many items there are.
    """
    with Progress(*_columns(), console=CONSOLE, disable=is_quiet()) as progress:
        task = progress.add_task(what, total=total)
        for item in items:
            yield item
            progress.advance(task)


class CaseProgress:
    """A bar over cases that are worked on side by side, with what is being done with each at the moment."""

    def __init__(self, what: str, total: int, show: bool = True) -> None:
        disable = is_quiet() or not show
        self.progress = Progress(*_columns(), TextColumn("{task.fields[now]}"), console=CONSOLE, disable=disable)
        self.task = self.progress.add_task(what, total=total, now="")
        self.doing: dict[str, str] = {}
        self.outer = heard()  # whoever listened before hears it all the same

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def tell(self, case: str, what: str) -> None:
        """Show what is being done with a case.

        Args:
            case: its name.
            what: the work in a word or two.
        """
        self.outer(case, what)
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
