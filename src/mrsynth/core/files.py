"""Files that are either whole or not there: write under a temporary name in the same folder, then rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from mrsynth.core.errors import OutputError
from mrsynth.core.machine import machine, process_start

TEMPORARY_PREFIX = ".tmp-"
"""How the name of anything unfinished begins; machine and process follow, so that others know when they are dead."""

LEFT_AFTER_S = 24 * 3600.0
"""After how long something unfinished counts as left, where its process cannot be looked up."""

MAX_NAME_BYTES = 200
"""Longest name of a file or folder; file systems stop at 255 bytes, suffixes need room."""

HASHED_BYTES = 1 << 20
"""How much of a file is read at once for its hash."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block ends well it becomes `path`, else it is removed.

    Missing parent folders are made; of a link the link is replaced, not what it points to. Raises OutputError if the
    file cannot be written (disk full, no permission, a pipe or device of that name).
    """
    temporary = beside(path)
    _require_replaceable(path)
    with removed_on_failure(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not _is_unfinished(path):  # what an unfinished folder holds is synced with it
            synced(temporary)
        temporary.replace(path)
        if not _is_unfinished(path):
            synced(path.parent)


def synced(path: Path) -> None:
    """Wait until the disk holds a file, or the names in a folder: a crash of the machine then loses neither."""
    if path.is_symlink():
        return
    try:
        number = os.open(path, os.O_RDONLY)
    except OSError:  # made without the right to read it
        return
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):  # others: this file system cannot
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(number)


def _is_unfinished(path: Path) -> bool:
    """Say whether a file is made inside a folder that is itself unfinished."""
    return any(part.startswith(TEMPORARY_PREFIX) for part in path.parts[:-1])


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all.

    Args:
        path: where; what stood there is replaced.
        text: what the file holds.

    Raises:
        OutputError: where it cannot be written.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON.

    Args:
        path: where; what stood there is replaced.
        value: anything of JSON; NumPy numbers and arrays become plain ones.

    Raises:
        OutputError: where it cannot be written.
    """
    write_text(path, json_text(value))


def json_text(value: object) -> str:
    """Return a value as indented JSON (NumPy numbers and arrays as plain ones), a line's end behind it."""
    return json.dumps(value, indent=1, ensure_ascii=False, default=_plain) + "\n"


def remove_left(folder: Path, below: bool = True) -> None:
    """Remove what killed commands left unfinished in a folder; what may still be written stays.

    Args:
        folder: where to look.
        below: whether to look in the folders in it, too.
    """
    inside = [path for path in folder.glob("*") if path.is_dir() and not path.is_symlink()] if below else []
    for place in (folder, *inside):
        for left in place.glob(f"{TEMPORARY_PREFIX}*"):
            if _is_left(left):
                with suppress(OSError):
                    remove(left)


def _is_left(temporary: Path) -> bool:
    """Say whether who writes a temporary file or folder is dead; on another machine: has not touched it for a day."""
    owner = re.match(rf"{re.escape(TEMPORARY_PREFIX)}([0-9a-f]{{8}})-(\d+)-", temporary.name)
    if owner is not None and owner[1] == _machine_mark():
        return process_start(int(owner[2])) is None
    with suppress(OSError):
        return time.time() - temporary.lstat().st_mtime > LEFT_AFTER_S
    return False


@cache
def _machine_mark() -> str:
    return hashlib.sha256(machine().encode()).hexdigest()[:8]


def why_unsafe(name: str) -> str | None:
    """Return why `safe_name` refuses a name, None where it does not."""
    if not name.strip():
        return "an empty name"
    if name.startswith("."):
        return "a name that begins with a dot"
    if any(c in '/\\:*?"<>|' or not c.isprintable() for c in name):
        return 'a path separator, a control character or one of : * ? " < > |'
    size = len(name.encode("utf-8"))
    return f"{size} bytes" if size > MAX_NAME_BYTES else None


def safe_name(name: str) -> str:
    """Return the name if it can be that of one file or folder inside an output folder; raises OutputError if not.

    Any script is welcome; separators, control characters, a leading dot (hidden, `..`) and over-long names are not.
    """
    reason = why_unsafe(name)
    if reason is None:
        return name
    raise OutputError(
        f"{name!r} cannot name a file or folder of the results.",
        found=reason,
        expected=f"one name without separators, at most {MAX_NAME_BYTES} bytes",
        do="rename the case in the cohort table",
    )


NOTHING = "nothing there"


def kind_of(path: Path) -> str:
    """Return what stands at a path: "a file", "a folder", "a pipe or device", NOTHING, or why nobody can say."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return NOTHING
    except OSError as error:  # too long a name, no permission
        return (error.strerror or str(error)).lower()
    except ValueError:  # a zero byte
        return "no path"
    return "a file" if stat.S_ISREG(mode) else "a folder" if stat.S_ISDIR(mode) else "a pipe or device"


def printable(text: object) -> str:
    r"""Return a text for the terminal: line breaks and control characters, as file names may hold, become \n, \x1b …"""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises OSError, also for pipes and devices: these may never end. For the same reason no more is read than the size
    that the file has when it is opened.
    """
    digest = hashlib.sha256()
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "a folder, pipe or device, not a file", str(path))
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (content := file.read(min(left, HASHED_BYTES))):
            digest.update(content)
            left -= len(content)
    return digest.hexdigest()


def remove(path: Path) -> None:
    """Remove a file, or a folder with all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def absolute(path: Path) -> Path:
    """Return the path from the root on, without `..`; links are kept (data sets are often folders of links)."""
    return Path(os.path.abspath(path))  # noqa: PTH100


NUMPY_DISK_FULL = ("requested and", "Not enough free space")
"""What NumPy's OSErrors say when an array did not fit on the disk."""


def _require_replaceable(path: Path) -> None:
    """Raise OutputError if a folder, a pipe or a device stands at a path (renaming onto /dev/null would remove it for
    all), or a file where its folder should be."""
    for parent in path.parents:
        if (kind := kind_of(parent)) == NOTHING:
            continue
        if kind == "a file":
            raise OutputError(
                f"{path}: cannot be written.",
                found=f"{parent.name} is a file",
                expected="a folder, or nothing yet",
                do="choose another place",
            )
        break
    try:
        mode = path.lstat().st_mode
    except OSError:  # nothing there, or out of reach: what is wrong shows when it is written
        return
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        found = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise OutputError(
            f"{path}: cannot be written.", found=found, expected="a file's name", do="choose another name"
        )


def beside(path: Path) -> Path:
    """Return a free temporary name in the folder of path, with its suffixes (some writers look at them)."""
    suffix = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix
    return path.parent / f"{TEMPORARY_PREFIX}{_machine_mark()}-{os.getpid()}-{uuid.uuid4().hex[:12]}{suffix}"


@contextmanager
def removed_on_failure(path: Path, temporary: Path) -> Iterator[None]:
    """Remove an unfinished file where the block fails, by Ctrl-C too.

    Args:
        path: what is being written, for the message.
        temporary: the unfinished file or folder.

    Raises:
        OutputError: in place of the system's errors of writing.
    """
    try:
        yield
    except OSError as error:
        if not _concerns_output(error, path, temporary):
            raise
        raise OutputError(f"{path}: cannot be written.", found=_reason(error, path), do=_advice(error, path)) from error
    except OutputError as error:  # of a file in an atomic folder: name what the user asked for
        what = error.what.replace(str(temporary), str(path))
        raise OutputError(what, found=error.found, expected=error.expected, do=error.do) from error
    finally:
        with suppress(OSError):  # what went wrong above counts
            remove(temporary)


def _concerns_output(error: OSError, path: Path, temporary: Path) -> bool:
    """Say whether an OSError comes from writing and not from an input that the block reads."""
    if error.filename is None:
        # NumPy reports a short write, or too little space before it begins, without an error number.
        return error.errno is not None or any(words in str(error) for words in NUMPY_DISK_FULL)
    failed = Path(os.fsdecode(error.filename))
    return failed == path or failed.is_relative_to(temporary) or path.parent.is_relative_to(failed)


def _is_full(error: OSError, path: Path) -> bool:
    """Say whether the disk, or the user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT) or (error.errno is None and path.parent.exists())


def _reason(error: OSError, path: Path) -> str:
    """Return what stopped the write, in words."""
    if not _is_full(error, path):
        return (error.strerror or str(error)).lower()
    free = shutil.disk_usage(path.parent).free if path.parent.exists() else 0
    return f"no space left on device ({free / 2**20:.0f} MiB free)"


def _advice(error: OSError, path: Path) -> str:
    """Return what to do about a failed write."""
    if _is_full(error, path):
        return "free space there or choose another output, then run the command again"
    return "check that the output folder exists, is a folder and may be written to"


def _plain(value: Any) -> Any:
    """Return a JSON-able form of NumPy numbers and arrays and of paths."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
