"""Where a prediction may be written: never over one of the scans, nor its sidecar over a file of somebody else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mrsynth.core.errors import OutputError
from mrsynth.io.locator import split_locator
from mrsynth.io.nifti_stream import is_nifti
from mrsynth.io.sidecar import small_json
from mrsynth.io.synthetic import why_synthetic

Identity = tuple[int, int]
"""Device and inode: one file has one, by whatever path or link it is reached."""


def identities(inputs: Iterable[Path]) -> frozenset[Identity]:
    """Return which files the inputs (paths, or locators) are; those that are not there are left out."""
    found = (_identity(split_locator(path)[0]) for path in inputs)
    return frozenset(one for one in found if one is not None)


def require_no_scan(out: Path, inputs: frozenset[Identity]) -> None:
    """Refuse to write an image over one of the inputs, or over a file that is no synthetic image.

    Args:
        out: where the image is to be written.
        inputs: the scans that are read, as `identities` returns them.

    Raises:
        OutputError: where such a file stands there.
    """
    if _identity(out) in inputs:
        raise OutputError(
            f"{out}: is one of the scans that are read, and would be overwritten.",
            do="give another name or folder with -o",
        )
    if out.is_file() and why_synthetic(out) is None:
        raise OutputError(
            f"{out}: is there already, and would be overwritten.",
            found="a file that is no synthetic image",
            do="give another name or folder with -o, or remove the file",
        )


def require_place(out: Path, folder: bool = False) -> None:
    """Refuse a place where an image, or a folder of images, cannot be written, before anything is computed.

    Args:
        out: where the image or folder is to be written.
        folder: whether it is a folder.

    Raises:
        OutputError: where an image's name has another ending than NIfTI's, a folder's has that, a file stands in the
            place of a folder, or you have no right to write.
    """
    if is_nifti(out) == folder:
        expected = "a folder" if folder else "a name that ends in .nii or .nii.gz"
        raise OutputError(f"{out}: cannot be written.", expected=expected, do="give another name")
    place = out if folder else out.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        found = "a folder in which nothing can be written" if place.is_dir() else f"{place} is no folder"
        raise OutputError(f"{out}: cannot be written.", found=found, do="give another place")


def require_own_sidecar(path: Path) -> None:
    """Raise OutputError where a file stands at a sidecar's path that is none of a synthetic image."""
    if path.exists() and small_json(path).get("synthetic") is not True:
        raise OutputError(
            f"{path}: is there already, and would be overwritten.",
            found="a file that is no sidecar of a synthetic image",
            do="give the image another name with -o",
        )


def _identity(path: Path) -> Identity | None:
    try:
        state = path.stat()
    except (OSError, ValueError):  # not there, or no path: reading or writing it says what is wrong
        return None
    return state.st_dev, state.st_ino
