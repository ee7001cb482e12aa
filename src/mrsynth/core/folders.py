"""Folders, and sets of files that belong together, which are written as one: killed at any moment, all old or all new.

A set is made in a hidden folder beside its places. The renaming of that folder is the moment from which it counts; then
each file is moved to its place. If that is interrupted, whoever next opens the folder finishes it (`settle`).
"""

from __future__ import annotations

import ctypes
import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from mrsynth.core.errors import OutputError
from mrsynth.core.files import TEMPORARY_PREFIX, beside, remove, removed_on_failure, safe_name, synced

COMMITTED_PREFIX = ".new-"
"""How the name of a hidden folder begins whose files count and are yet to be moved."""

GONE = ".gone"
"""The file in it that names, a line each, what has no successor and is removed."""

RENAME_EXCHANGE = 2
AT_FDCWD = -100
"""Of Linux's renameat2: both names change places; paths are relative to the working folder."""


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; when the block ends well it becomes `path`, in place of what was there.

    Args:
        path: the folder; missing parents are made. Of a link the link is replaced, not what it points to.

    Yields:
        The folder to write to.

    Raises:
        OutputError: where it cannot be written.
    """
    temporary = beside(path)
    with removed_on_failure(path, temporary):
        temporary.mkdir(parents=True)
        yield temporary
        _sync_all(temporary)
        if not _exchanged(temporary, path):
            if path.exists() or path.is_symlink():
                committed = _new_set(path.parent)
                committed.mkdir()
                temporary.rename(committed / path.name)
                _take_places(committed, path.parent)
            else:
                temporary.rename(path)
        synced(path.parent)


@contextmanager
def written_as_one(folder: Path, gone: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a folder to fill with files and folders that take their places in `folder` together, or not at all.

    A folder among them replaces the one that was there whole.

    Args:
        folder: where they go; made where it is missing.
        gone: names in it that are removed with the same stroke unless the block makes them.

    Yields:
        The folder to write to, under the names that the files are to have.

    Raises:
        OutputError: where they cannot be written; nothing has changed then.
    """
    settle(folder)
    temporary = beside(folder / "set")
    with removed_on_failure(folder, temporary):
        temporary.mkdir(parents=True)
        yield temporary
        left = [safe_name(name) for name in gone if not (temporary / name).exists()]
        (temporary / GONE).write_text("".join(f"{name}\n" for name in left), encoding="utf-8")
        _sync_all(temporary)
        temporary.rename(_new_set(folder))
        synced(folder)
    settle(folder)


def settle(folder: Path) -> None:
    """Finish what was interrupted while a set of files took its places in a folder; nothing to do most of the time.

    Raises:
        OutputError: where the folder may not be written to.
    """
    for committed in sorted(folder.glob(f"{COMMITTED_PREFIX}*")):
        if committed.is_symlink() or not committed.is_dir():
            continue
        try:
            _take_places(committed, folder)
        except OSError as error:
            raise OutputError(
                f"{folder}: a command was interrupted while its files took their places, which cannot be finished.",
                found=(error.strerror or str(error)).lower(),
                do="open it once where it may be written to",
            ) from error


def _take_places(committed: Path, folder: Path) -> None:
    """Move all files of a set to their places, then remove what they replace. A second try does what is left to do."""
    gone = committed / GONE
    for name in gone.read_text(encoding="utf-8").splitlines() if gone.is_file() else ():
        remove(folder / safe_name(name))
    for new in sorted(committed.iterdir()):
        if new.name != GONE and not new.name.startswith(TEMPORARY_PREFIX):
            _take_place(new, folder / new.name)
    synced(folder)
    remove(committed)


def _take_place(new: Path, path: Path) -> None:
    """Move a file or folder to its place; what cannot be replaced is moved aside first."""
    if path.is_symlink():
        path.unlink()
    elif path.exists() and (path.is_dir() or new.is_dir()):
        path.rename(new.with_name(f"{TEMPORARY_PREFIX}{new.name}"))
    new.replace(path)


def _new_set(folder: Path) -> Path:
    return folder / f"{COMMITTED_PREFIX}{uuid.uuid4().hex[:12]}"


def _sync_all(folder: Path) -> None:
    """Wait until the disk holds a folder and all in it."""
    for inside in (*folder.rglob("*"), folder):
        synced(inside)


def _exchanged(new: Path, path: Path) -> bool:
    """Let two names change places in one stroke, by Linux's renameat2; returns False where that cannot be done: nothing
    is there, it is no Linux, or the file system does not know it."""
    rename = getattr(_libc(), "renameat2", None)
    if rename is None:
        return False
    return bool(rename(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(path), RENAME_EXCHANGE) == 0)


@cache
def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
