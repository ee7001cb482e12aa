"""Files from strangers put into a folder: names that lead out of it, links and bombs are refused before they unfold."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from mrsynth.core.errors import InputError
from mrsynth.core.files import why_unsafe

MAX_FILES = 20_000
"""A large study has some thousand slices."""

MAX_DEPTH = 12
"""Folders inside folders of a study: patient, study, series and a few more."""

CHUNK = 1 << 20

BROKEN = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
    ValueError,
)  # fmt: skip
"""What zipfile and the libraries below it raise for what is no archive, or is none any more."""


def place_of(folder: Path, name: str) -> Path:
    """Return where a file of a given name goes below a folder.

    Args:
        folder: that nothing may leave.
        name: as a stranger wrote it, with folders in it or without.

    Raises:
        InputError: the name leads out of the folder, or no file may be called so.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    why = next((reason for part in parts if (reason := why_unsafe(part))), None)
    if not parts or name.startswith(("/", "\\")) or why or len(parts) > MAX_DEPTH:
        raise InputError(
            "A file has a name that is not taken.",
            found=repr(name[:200]),
            expected=(why and f"not {why}") or f"a name inside the folder, at most {MAX_DEPTH} folders deep",
            do="rename it, or leave it out",
        )
    return folder.joinpath(*parts)


def unpack(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpack a zip archive below a folder.

    Args:
        archive: the file, from a stranger.
        folder: made where it is missing.
        max_bytes: of all files together, once they are unpacked.

    Raises:
        InputError: it is no zip archive, holds more than is taken, a link, a locked file or a name that leads out of
            the folder. What was unpacked until then stays in the folder.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            entries = [entry for entry in packed.infolist() if not entry.is_dir()]
            _require_harmless(entries, max_bytes)
            left = max_bytes
            for entry in entries:
                left -= _write(packed, entry, place_of(folder, entry.filename), left)
    except BROKEN as error:
        raise InputError(
            "The archive cannot be unpacked.", found=str(error), do="pack the study again as .zip"
        ) from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise InputError("Two files of the archive have one name.", do="pack the study again as .zip") from None


def _require_harmless(entries: list[zipfile.ZipInfo], max_bytes: int) -> None:
    """Raise InputError for an archive that should not even be begun."""
    if len(entries) > MAX_FILES:
        raise InputError("The archive holds too many files.", found=len(entries), expected=f"at most {MAX_FILES}")
    declared = sum(entry.file_size for entry in entries)
    if declared > max_bytes:
        raise _too_large(declared, max_bytes)
    for entry in entries:
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise InputError(
                "The archive holds a link.", found=repr(entry.filename[:200]), do="pack the files themselves"
            )
        if entry.flag_bits & 1:
            raise InputError("The archive is locked with a password.", do="pack the study without one")


def _write(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, left: int) -> int:
    """Write one file of an archive and return its size; what the archive declares of it is not believed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with packed.open(entry) as source, path.open("xb") as file:
        while chunk := source.read(CHUNK):
            size += len(chunk)
            if size > left:
                raise _too_large(size, left)
            file.write(chunk)
    return size


def _too_large(found: int, expected: int) -> InputError:
    return InputError(
        "The files are too large.",
        found=f"{found / 2**20:.0f} MiB unpacked",
        expected=f"at most {expected / 2**20:.0f} MiB",
        do="send one study alone, or start mrsynth serve with a larger --max-mib",
    )
