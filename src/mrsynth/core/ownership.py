"""What is not ours is neither written over nor deleted: the guard that every verb asks before it writes.

A verb names what it writes into a folder, and for each name how its own is recognised. What stands there and is not
recognised is refused with its name. Tables that people edit are kept under another name instead (`replace_keeping`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from itertools import chain, count
from pathlib import Path

from mrsynth.core.errors import OutputError
from mrsynth.core.files import TEMPORARY_PREFIX, atomic_file, remove
from mrsynth.core.locks import LOCK
from mrsynth.core.records import KEY, MAX_OBJECT_BYTES, read_object

Test = Callable[[Path], bool]
"""Says whether a file or folder is one that mrsynth wrote."""

PAGE_MARK = '<meta name="generator" content="mrsynth'
"""What every page of ours holds among its first bytes."""

LOOKED_AT = 4096
"""Bytes in which a text's mark is looked for."""


def require_ours(folder: Path, own: Mapping[str, Test], do: str = "name another folder") -> None:
    """Refuse to write where something stands that is not ours.

    Args:
        folder: the output folder of a verb; it need not exist.
        own: name of a file or folder in it that the verb will write → how its own is recognised.
        do: what the user can do, for the message.

    Raises:
        OutputError: where one of the names is a link to a folder, or is not recognised.
    """
    for name, is_ours in own.items():
        path = folder / name
        require_no_link(path)
        if path.exists() and not is_ours(path):
            raise OutputError(
                f"{path}: is there already, and would be overwritten.",
                found="a folder with other files" if path.is_dir() else "a file that mrsynth did not write here",
                do=do,
            )


def require_no_link(path: Path) -> Path:
    """Return a path at which a verb keeps a folder of its own; raises OutputError where a link to a folder is there.

    A link in the place of a whole output folder is the user's choice; below it nothing may lead out.
    """
    if path.is_symlink() and (path.is_dir() or not path.exists()):
        raise OutputError(
            f"{path}: is a link; nothing is written through it.",
            found=f"a link to {path.readlink()}",
            expected="a folder of its own in the output folder",
            do="remove the link, or put it in the place of the whole output folder",
        )
    return path


def is_record(*kinds: str, keys: frozenset[str] = frozenset()) -> Test:
    """Return a test that says whether a JSON file is a record of the project.

    Args:
        kinds: kinds of record that pass.
        keys: what a record from before records named their kind must hold.
    """

    def test(path: Path) -> bool:
        try:
            content = read_object(path, OutputError, "", MAX_OBJECT_BYTES)
        except OutputError:
            return False
        head = content.get(KEY)
        if isinstance(head, dict):
            return head.get("record") in kinds
        return bool(keys) and keys <= set(content)

    return test


def holds_only(*patterns: str) -> Test:
    """Return a test of folders: there is nothing in them but files of these names (shell patterns) and what mrsynth
    left unfinished."""

    def test(path: Path) -> bool:
        return path.is_dir() and all(is_named(p.name, *patterns) and not p.is_dir() for p in path.iterdir())

    return test


def is_named(name: str, *patterns: str) -> bool:
    """Say whether a file's name is one of some patterns, or that of a lock or of something unfinished.

    Args:
        name: the file's name.
        patterns: shell patterns.
    """
    return name.startswith((TEMPORARY_PREFIX, LOCK)) or any(fnmatchcase(name, pattern) for pattern in patterns)


def begins_with(*marks: str) -> Test:
    """Return a test of text files: one of the marks stands among their first bytes."""

    def test(path: Path) -> bool:
        try:
            with path.open("rb") as file:
                head = file.read(LOOKED_AT).decode("utf-8", "replace")
        except OSError:
            return False
        return any(mark in head for mark in marks)

    return test


def remove_own(folder: Path, *patterns: str) -> None:
    """Remove files of ours from a folder, and the folder where nothing else is in it.

    What does not carry such a name stays. Of a link, and through it, nothing is removed.

    Args:
        folder: where they lie.
        patterns: shell patterns of their names.
    """
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if is_named(path.name, *patterns) and (path.is_symlink() or not path.is_dir()):
            remove(path)
    if not any(folder.iterdir()):
        folder.rmdir()


def replace_keeping(path: Path, write: Callable[[Path], object]) -> Path | None:
    """Let `write` make a file anew; one of other content that stands there is kept as x.csv.bak, x.csv.bak2 …

    Args:
        path: the file.
        write: is given a path in the same folder to write to.

    Returns:
        Where the file that was there is kept, None where there was none or it said the same.

    Raises:
        OutputError: where it cannot be written.
    """
    copy = None
    with atomic_file(path) as temporary:
        write(temporary)
        if path.is_file() and path.read_bytes() != temporary.read_bytes():
            copy = _copy(path)
    return copy


def _copy(path: Path) -> Path:
    """Copy a file to the first name that is free; a copy of the same bytes is not made twice."""
    before = path.read_bytes()
    names = (path.with_name(f"{path.name}.bak{number}") for number in chain([""], count(2)))
    copy = next(
        p for p in names if not p.is_symlink() and (not p.exists() or (p.is_file() and p.read_bytes() == before))
    )
    if not copy.exists():
        with atomic_file(copy) as temporary:
            shutil.copyfile(path, temporary)
    return copy
