"""Visits: what somebody has sent, what was recognised in it, what is made of it; its files are deleted with it."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mrsynth.core.errors import InputError, MrsynthError
from mrsynth.index.corrections import Found

State = Literal["open", "waiting", "working", "done", "failed"]


@dataclass(eq=False)
class Visit:
    """One visit.

    Attributes:
        name: unguessable; who knows it may see the visit.
        folder: of everything that belongs to it.
        last: when it was last asked for, in seconds of the monotonic clock.
        received: bytes so far.
        found: every image that was recognised, in the order in which the page shows them.
        state, words: how far the image is, and what is being done or what went wrong.
        result: the synthetic image, once it is there.
        lock: of what was sent and of the state, while a request works on them.
    """

    name: str
    folder: Path
    last: float
    received: int = 0
    found: tuple[Found, ...] = ()
    state: State = "open"
    words: str = ""
    result: Path | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def scans(self) -> Path:
        """The folder of what was sent."""
        return self.folder / "scans"

    @property
    def out(self) -> Path:
        """The folder of what is made."""
        return self.folder / "out"

    @property
    def is_busy(self) -> bool:
        """Say whether an image is being made."""
        return self.state in ("waiting", "working")


class Visits:
    """All visits. folder: an empty one, theirs alone; keep_s: how long one is kept that nobody asks for."""

    def __init__(self, folder: Path, keep_s: float, most: int = 20) -> None:
        self.folder, self.keep_s, self.most = folder, keep_s, most
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()

    def begin(self) -> Visit:
        """Return a new visit; raises InputError where there are too many."""
        self.forget_old()
        with self._lock:
            if len(self._visits) >= self.most:
                raise InputError(
                    "Too many visits at a time.", found=self.most, do="try again later, or end another one"
                )
            name = secrets.token_urlsafe(18)
            visit = Visit(name, self.folder / name, time.monotonic())
            visit.scans.mkdir(parents=True)
            self._visits[name] = visit
        return visit

    def get(self, name: str) -> Visit:
        """Return a visit; raises KeyError where there is none (any more)."""
        self.forget_old()
        visit = self._visits[name]
        visit.last = time.monotonic()
        return visit

    def end(self, name: str) -> None:
        """Delete a visit's files; one whose image is being made is deleted when that is done."""
        with self._lock:
            visit = self._visits.pop(name, None)
        if visit is not None and not visit.is_busy:
            shutil.rmtree(visit.folder, ignore_errors=True)

    def forget_old(self) -> None:
        """End the visits that nobody has asked for in a while."""
        now = time.monotonic()
        for name, visit in list(self._visits.items()):
            if now - visit.last > self.keep_s and not visit.is_busy:
                self.end(name)

    def knows(self, visit: Visit) -> bool:
        """Say whether a visit has not been ended."""
        return self._visits.get(visit.name) is visit

    def end_all(self) -> None:
        """End every visit."""
        for name in list(self._visits):
            self.end(name)

    @contextmanager
    def working(self, visit: Visit) -> Iterator[None]:
        """Note on a visit that its image is being made, and what came of it; delete it if it was ended meanwhile."""
        try:
            visit.state, visit.words = "working", "reading"
            yield
            visit.state, visit.words = "done", ""
        except (MrsynthError, OSError) as error:
            visit.state, visit.words = "failed", str(error).replace(f"{visit.folder}/", "")
        except Exception as error:
            visit.state, visit.words = "failed", f"The image cannot be made: {type(error).__name__}: {error}"
        finally:
            if not self.knows(visit):
                with suppress(OSError):
                    shutil.rmtree(visit.folder)
