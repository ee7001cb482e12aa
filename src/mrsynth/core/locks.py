"""One writer a folder: who writes into it leaves a lock there, and a second writer is told who that is.

The lock says host, process and verb. The lock of a process that is dead is taken over: on the same machine its process
is looked up; on another one, which nobody can look at from here, the lock counts as left when it has not been touched
for `SILENT_S`. A living process touches its lock every `BEAT_S`. Nobody locks a folder to read it.
"""

from __future__ import annotations

import inspect
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import ClassVar, ParamSpec, TypeVar

from pydantic import Field

from mrsynth.core.errors import MrsynthError, OutputError
from mrsynth.core.files import beside, remove_left, safe_name
from mrsynth.core.folders import settle
from mrsynth.core.machine import is_running, machine, process_start
from mrsynth.core.records import Record

P = ParamSpec("P")
R = TypeVar("R")

LOCK = ".mrsynth.lock"
"""The lock's name in the folder; of a single file x it is `.mrsynth.lock-x` beside it."""

BEAT_S = 15.0
SILENT_S = 300.0
"""How long nobody hears of a writer on another machine before its lock is taken over: some steps of a preparation let
no other thread of their process run for a minute."""

WAIT_S = 0.05
"""How often one who waits looks whether the lock is gone."""

TAKEOVER_S = 20.0
"""How old the mark of one who takes a lock over may become; it lives for milliseconds."""


class Lock(Record):
    """Who writes into a folder.

    Attributes:
        host: the machine's name, for people; machine: what tells it (and a container on it) from others.
        pid: the process; process_start: when it began, in seconds since 1970, for a number may be given again.
        verb: what it does ("train"); since: since when.
        token: of this lock alone.
    """

    RECORD: ClassVar[str] = "lock"
    DO: ClassVar[str] = "remove it where no other mrsynth writes into this folder"
    ERROR: ClassVar[type[MrsynthError]] = OutputError
    MAX_BYTES: ClassVar[int] = 1 << 16

    host: str = Field(max_length=300)
    machine: str = Field(max_length=300)
    pid: int = Field(gt=0, lt=1 << 40)
    process_start: float
    verb: str = Field(max_length=40)
    since: str = Field(max_length=40)
    token: str = Field(max_length=40)


@dataclass
class _Held:
    """A lock of this process.

    Attributes:
        thread: which holds it.
        depth: how many nested blocks do.
        pid: a forked child inherits the table but no lock.
    """

    lock: Lock
    path: Path
    thread: int
    pid: int
    depth: int = 1
    released: threading.Event = field(default_factory=threading.Event)


_HELD: dict[Path, _Held] = {}
_TABLE = threading.Lock()


@contextmanager
def writing(folder: Path, verb: str) -> Iterator[None]:
    """Let nobody else write into a folder while the block does; what dead runs left unfinished there is removed.

    Blocks of one thread may be nested. A folder that is missing is made, and removed again where it stays empty.

    Args:
        folder: the output folder of a verb.
        verb: what the block does, for the message that a second writer reads ("train").

    Raises:
        OutputError: where another process (or thread) writes into it, or it cannot be written to.
    """
    with _locked(folder / LOCK, verb, f"{folder}"):
        remove_left(folder)
        remove_dead_locks(folder)
        for one in (folder, *(p for p in folder.glob("*") if p.is_dir() and not p.is_symlink())):
            settle(one)
        yield


@contextmanager
def writing_file(path: Path, verb: str, wait_s: float = 0.0) -> Iterator[None]:
    """Let nobody else write a single file while the block does; see `writing`. Its neighbours are free.

    Args:
        path: the file.
        verb: what the block does, for the message that a second writer reads.
        wait_s: for how long to wait for another writer.

    Raises:
        OutputError: where another process still writes it then, or it cannot be written.
    """
    with _locked(path.parent / f"{LOCK}-{safe_name(path.name)}", verb, f"{path}", wait_s):
        remove_left(path.parent, below=False)
        yield


def remove_dead_locks(folder: Path) -> None:
    """Remove the locks of single files in a folder whose writers died on this machine: nobody may write those files
    again, and so take their locks over.

    Args:
        folder: where to look.
    """
    for place in folder.glob(f"{LOCK}-*"):
        holder = _holder(place)
        if isinstance(holder, Lock) and holder.machine == machine() and not _lives(holder, place, place):
            with suppress(OSError):
                _take_over(place, place, holder)


def one_writer(
    verb: str, *arguments: str, unless: Callable[[], bool] = lambda: False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator by which a verb's function is the only writer of its output folder (see `writing`).

    Args:
        verb: for the message ("train").
        arguments: names of the function's arguments of which the first that is given is the folder; `out` by default.
        unless: where it says so when the function is called, no lock is taken.
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def locked(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs).arguments
            folder = next(given[name] for name in arguments or ("out",) if given.get(name) is not None)
            if unless():
                return function(*args, **kwargs)
            with writing(Path(folder), verb):
                return function(*args, **kwargs)

        return locked

    return decorated


def is_helper() -> bool:
    """Say whether this is a further process of a training on several devices or machines: the first one holds the
    lock for all of them."""
    ranks = (os.environ.get(name, "") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return any(rank.isdigit() and int(rank) > 0 for rank in ranks)


@contextmanager
def _locked(path: Path, verb: str, shown: str, wait_s: float = 0.0) -> Iterator[None]:
    place = Path(os.path.realpath(path.parent)) / path.name
    held = _nested(place, shown, time.monotonic() + wait_s)
    made: list[Path] = []
    if held is None:
        made = _make_folder(place.parent, shown)
        lock = Lock(
            host=socket.gethostname(),
            machine=machine(),
            pid=os.getpid(),
            process_start=process_start(os.getpid()) or 0.0,
            verb=verb,
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            token=uuid.uuid4().hex,
        )
        _acquire(place, lock, shown, wait_s)
        held = _Held(lock, place, threading.get_ident(), os.getpid())
        with _TABLE:
            _HELD[place] = held
        threading.Thread(target=_beat, args=(held,), daemon=True, name="mrsynth-lock").start()
    try:
        yield
    finally:
        held.depth -= 1
        if held.depth == 0:
            _release(held)
            for folder in reversed(made):
                with suppress(OSError):  # it holds something
                    folder.rmdir()


def _nested(place: Path, shown: str, until: float) -> _Held | None:
    """Return the lock that this thread holds already, one block deeper, None where this process holds none.

    Raises OutputError where another thread still holds it at the time `until`, by the monotonic clock.
    """
    while True:
        with _TABLE:
            held = _HELD.get(place)
            if held is None or held.pid != os.getpid():
                return None
            if held.thread == threading.get_ident():
                held.depth += 1
                return held
        if time.monotonic() >= until:
            raise _refused(shown, held.lock, "another thread of this process")
        time.sleep(WAIT_S)


def _make_folder(folder: Path, shown: str) -> list[Path]:
    """Make a folder and those above it; returns those that were missing, the uppermost first."""
    missing = [one for one in (*reversed(folder.parents), folder) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next((one for one in (folder, *folder.parents) if one.exists() and not one.is_dir()), folder)
        raise OutputError(
            f"{shown}: cannot be written.", found=f"{file} is no folder", do="give another place"
        ) from error
    except OSError as error:
        raise _unwritable(shown, error) from error
    return missing


def _acquire(place: Path, lock: Lock, shown: str, wait_s: float) -> None:
    """Put the lock in its place, or take over that of a dead writer; raises OutputError where one still lives after
    `wait_s`."""
    own = beside(place)
    until = time.monotonic() + wait_s
    try:
        own.write_text(lock.text(), encoding="utf-8")
        tries = 0
        while tries < 50:
            if _put(own, place):
                return
            tries += 1
            if (before := _holder(place)) is None:  # released in this moment
                continue
            if _lives(before, place, own):
                if time.monotonic() < until:
                    tries = 0
                    time.sleep(WAIT_S)
                    continue
                raise _refused(shown, before, _last_sign(place, own, before))
            _take_over(place, own, before)
    except OSError as error:
        raise _unwritable(shown, error) from error
    finally:
        with suppress(OSError):
            own.unlink(missing_ok=True)
    raise OutputError(f"{shown}: cannot be locked.", found=f"others take {place} in turn", do="try again")


def _put(own: Path, place: Path) -> bool:
    """Give our lock its name; returns False where another one stands there."""
    try:
        os.link(own, place)
        return True
    except FileExistsError:
        return False
    except OSError:  # no hard links on this file system: whoever makes the file has it
        try:
            with place.open("x", encoding="utf-8") as file:
                file.write(own.read_text(encoding="utf-8"))
            return True
        except FileExistsError:
            return False


def _holder(place: Path) -> Lock | str | None:
    """Return whose lock stands there: a Lock, why it cannot be read, or None where it is gone."""
    try:
        return Lock.read(place)
    except OutputError as error:
        return str(error.found or "damaged") if place.exists() else None


def _lives(holder: Lock | str, place: Path, own: Path) -> bool:
    """Say whether a lock's process is (or may be) alive. own: our own lock file, of this moment by the clock of the
    machine that keeps the files."""
    if isinstance(holder, Lock) and holder.machine == machine():
        return is_running(holder.pid, holder.process_start)
    return _silence_s(place, own) < SILENT_S


def _silence_s(place: Path, own: Path) -> float:
    """Return for how many seconds a lock has not been touched."""
    os.utime(own)
    try:
        return own.stat().st_mtime - place.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _take_over(place: Path, own: Path, before: Lock | str) -> None:
    """Remove a dead writer's lock. Of several who find it dead at once, one does."""
    mark = place.with_name(f"{place.name}.takeover")
    try:
        mark.open("x").close()
    except FileExistsError:
        if _silence_s(mark, own) > TAKEOVER_S:  # it died while it took over
            mark.unlink(missing_ok=True)
        threading.Event().wait(0.05)
        return
    try:
        if _holder(place) == before:
            place.unlink(missing_ok=True)
    finally:
        mark.unlink(missing_ok=True)


def _release(held: _Held) -> None:
    """Take our lock away; raises OutputError where another machine has taken it over meanwhile."""
    held.released.set()
    with _TABLE:
        _HELD.pop(held.path, None)
    now = _holder(held.path)
    if now == held.lock:
        held.path.unlink(missing_ok=True)
    elif isinstance(now, Lock):
        raise _refused(str(held.path.parent), now, f"it took over: this process was silent for {SILENT_S:.0f} s")


def _beat(held: _Held) -> None:
    """Touch the lock until it is released."""
    while not held.released.wait(BEAT_S):
        with suppress(OSError):
            os.utime(held.path)


def _last_sign(place: Path, own: Path, holder: Lock | str) -> str:
    if isinstance(holder, Lock) and holder.machine == machine():
        return "it runs on this machine"
    wait = max(0.0, SILENT_S - _silence_s(place, own))
    return f"last heard of {SILENT_S - wait:.0f} s ago; its lock can be taken over in {wait:.0f} s"


def _refused(shown: str, holder: Lock | str, sign: str) -> OutputError:
    if isinstance(holder, str):
        return OutputError(
            f"{shown}: may be written by another command, whose lock cannot be read.",
            found=f"{holder}; {sign}",
            do="wait, or name another output",
        )
    return OutputError(
        f"{shown}: is being written by mrsynth {holder.verb}, process {holder.pid} on {holder.host}.",
        found=f"running since {holder.since}; {sign}",
        expected="one writer at a time",
        do="wait until it ends, or name another output",
    )


def _unwritable(shown: str, error: OSError) -> OutputError:
    return OutputError(
        f"{shown}: cannot be written.",
        found=(error.strerror or str(error)).lower(),
        do="check that the output folder exists, is a folder and may be written to",
    )
