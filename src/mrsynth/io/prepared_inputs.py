"""The files that a prepared case was made from, as they were then: by these a stale case is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mrsynth.core.errors import InputError
from mrsynth.core.types import is_contrast
from mrsynth.io.cohort import CaseRow
from mrsynth.io.diffusion import bval_file
from mrsynth.io.locator import absolute, split_locator
from mrsynth.io.prepared_records import InputFile
from mrsynth.io.read import file_digest

Inputs = Mapping[str, InputFile]
"""Contrast or mask → its file."""


def describe_inputs(row: CaseRow, contrasts: Sequence[str]) -> dict[str, InputFile]:
    """Return the files of a case's contrasts, and of all its masks, as they are now.

    Call it before the files are read: a file that changes meanwhile then makes the case stale.

    Args:
        row: the case.
        contrasts: those whose files count.

    Returns:
        Contrast or mask → its file.

    Raises:
        InputError: where a file cannot be read.
    """
    inputs = {}
    for name, path in row.files.items():
        if name in contrasts or not is_contrast(name):
            try:
                size, mtime_ns = _state(path)
                digest = file_digest(path)
            except OSError as error:
                raise InputError(
                    f"{row.case}: {path} cannot be read.", found=error.strerror, do="correct the path in the table"
                ) from error
            inputs[name] = InputFile(path=str(absolute(path)), size=size, mtime_ns=mtime_ns, sha256=digest)
    return inputs


def digests_of(row: CaseRow, contrasts: Sequence[str]) -> dict[str, str]:
    """Return contrast or mask → SHA-256 of its file (see `describe_inputs`).

    Args:
        row: the case.
        contrasts: those whose files count; all masks do.

    Raises:
        InputError: where a file cannot be read.
    """
    return {name: known.sha256 for name, known in describe_inputs(row, contrasts).items()}


def changed_inputs(inputs: Inputs) -> list[str]:
    """Return the paths of the inputs whose bytes have changed since they were described.

    Files are read again only where size or time differ. A file that is out of reach says nothing: data may move.
    """
    changed = []
    for known in inputs.values():
        path = Path(known.path)
        try:
            same = _state(path) == (known.size, known.mtime_ns) or file_digest(path) == known.sha256
        except OSError:
            continue
        except InputError:  # there, but no longer what it was
            same = False
        if not same:
            changed.append(str(path))
    return changed


def _state(path: Path) -> tuple[int, int]:
    """Return size in bytes and time of the last change of what an image is read from (of a folder: all in it)."""
    file, selection = split_locator(path)
    files = [p for p in file.rglob("*") if p.is_file()] if file.is_dir() else [file]
    if "b" in selection and bval_file(file).exists():
        files.append(bval_file(file))
    found = [p.stat() for p in files]
    return sum(s.st_size for s in found), max((s.st_mtime_ns for s in found), default=0)
