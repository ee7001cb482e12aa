"""Paths that name one volume among several: `study/dcm#series=301`, `dwi.nii.gz#b=500`, `x.nii.gz#volume=2`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mrsynth.core import files

KEYS = ("series", "b", "echo", "volume")
"""What can be selected: a DICOM series (number or UID), a b-value in s/mm², an echo's number, a volume (from 0 on)."""

_FRAGMENT = re.compile(r"#((?:%s)=[^/#,=]+(?:,(?:%s)=[^/#,=]+)*)$" % (("|".join(KEYS),) * 2))


def split_locator(path: Path) -> tuple[Path, dict[str, str]]:
    """Return (file or folder, what is selected in it); {} where nothing is.

    A file whose real name ends like a selection is that file, and any other '#' belongs to the name.
    """
    found = _FRAGMENT.search(str(path))
    if found is None or exists(path):
        return path, {}
    pairs = (pair.partition("=") for pair in found.group(1).split(","))
    return Path(str(path)[: found.start()] or "."), {key: value.strip() for key, _, value in pairs}


def join_locator(path: Path, selection: Mapping[str, object]) -> Path:
    """Return the path that `split_locator` takes apart; the path itself where nothing is selected.

    Args:
        path: a file or folder.
        selection: key of KEYS → value; other keys are left out.
    """
    if not selection:
        return path
    return Path(f"{path}#" + ",".join(f"{key}={selection[key]}" for key in KEYS if key in selection))


def whole_number(text: str) -> int | None:
    """Return the number that a selection's value means, None where it is none: ASCII digits, at most nine."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def absolute(path: Path) -> Path:
    """Return the path from the root on, without `..`, its selection kept."""
    file, selection = split_locator(path)
    return join_locator(files.absolute(file), selection)


def relative_text(path: Path, folder: Path) -> str:
    """Return a path as a table names it: relative where it lies below the table's folder, else absolute, with `/`.

    Args:
        path: a file or folder; its selection is kept.
        folder: the table's folder, absolute.
    """
    file, selection = split_locator(path)
    file = files.absolute(file)
    return join_locator(file.relative_to(folder) if file.is_relative_to(folder) else file, selection).as_posix()


def exists(path: Path) -> bool:
    """Say whether something stands at a path; `Path.exists` raises where the name is none that a file can have.

    Args:
        path: any.
    """
    try:
        return path.exists()
    except OSError:  # a name that no file can have
        return False
