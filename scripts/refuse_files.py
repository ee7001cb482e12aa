"""Refuses to commit scans and large files: patients' images never enter the repository. A hook of pre-commit."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

IMAGES = (".nii", ".nii.gz", ".dcm", ".mha", ".mhd", ".nrrd", ".b2nd")
LARGEST_BYTES = 500_000
ALLOWED = ("src/mrsynth/phantom/assets/", "src/mrsynth/drawing/assets/", "src/mrsynth/shipped/")
"""Folders of larger files that belong to the project: the phantom's tissue maps, the viewer's script, shipped
models."""


def refusals(paths: Sequence[Path]) -> list[str]:
    """Return a sentence for each file that may not be committed.

    Args:
        paths: the files of a commit, relative to the repository.
    """
    found = []
    for path in paths:
        if path.name.lower().endswith(IMAGES):
            found.append(f"{path} is an image. Scans, and anything cut from them, are never committed.")
        elif path.is_file() and path.stat().st_size > LARGEST_BYTES and not path.as_posix().startswith(ALLOWED):
            found.append(f"{path} has {path.stat().st_size} bytes; a file may have {LARGEST_BYTES}.")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(refusals([Path(word) for word in sys.argv[1:]])) or 0)
