"""Lists what lies below a folder: links are read through, whatever could not be read safely is left out by name."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrsynth.core.errors import InputError
from mrsynth.core.files import kind_of, printable
from mrsynth.io.formats import convert_words, format_of, looks_like_dicom, suffix_of


@dataclass(frozen=True)
class Ignored:
    """Something below the folder that no case uses, and why.

    Attributes:
        path: where it lies.
        reason: in words.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.reason}")


TEXT_SUFFIXES = re.compile(
    r"\.json|\.tsv|\.csv|\.txt|\.md|\.bval|\.bvec|\.png|\.jpg|\.jpeg|\.gif|\.svg|\.pdf|\.xml|\.html|"
    r"\.htm|\.py|\.m|\.log|\.mat|\.yaml|\.yml|\.h5|\.npy|\.npz|\.xlsx|\.doc|\.docx|\.sh|\.lock"
)
"""Files that are no DICOM, whatever is in them; others are looked into."""

SIDECARS = (".json", ".tsv", ".bval", ".bvec")
"""What lies beside images and says more about them: not left out, but read where it is needed."""


def list_files(folder: Path) -> tuple[list[Path], list[Ignored]]:
    """Return the regular files below a folder and what cannot be read (links to nothing, pipes, names that are no
    text, folders without permission).

    Links are followed, each folder once; names that begin with a dot are not looked at. Raises InputError if there is
    no such folder.
    """
    if (kind := kind_of(folder)) != "a folder":
        raise InputError(
            f"{folder}: is not a folder.",
            found=kind,
            expected="a folder with NIfTI or DICOM images",
        )
    files: list[Path] = []
    ignored: list[Ignored] = []
    seen = set()

    def closed(error: OSError) -> None:
        ignored.append(Ignored(_shown(Path(error.filename)), f"cannot be read ({error.strerror})"))

    for place, folders, names in os.walk(folder, followlinks=True, onerror=closed):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real not in seen:
            here = Path(place)
            spaced = any(part != part.strip() for part in here.relative_to(folder).parts)
            for name in sorted(names):
                if name.startswith("."):
                    continue
                path = here / name
                if problem := _unreadable(path, spaced or name != name.strip()):
                    ignored.append(problem)
                else:
                    files.append(path)
        seen.add(real)
    return files, ignored


def _unreadable(path: Path, spaced: bool) -> Ignored | None:
    """Return why a file cannot be an image of a table, None where it can.

    Args:
        path: the file.
        spaced: whether its name, or that of a folder on the way to it, begins or ends with a space.
    """
    if not _is_text(str(path)):
        return Ignored(_shown(path), "its name is not UTF-8: rename it")
    if spaced:
        return Ignored(path, "its name, or that of its folder, begins or ends with a space: rename it")
    try:
        mode = path.stat().st_mode
    except PermissionError as error:
        return Ignored(path, f"cannot be read ({error.strerror})")
    except OSError:
        return Ignored(path, "a link to nothing (in a DataLad data set: datalad get it)")
    return None if stat.S_ISREG(mode) else Ignored(path, "neither a file nor a folder")


def _shown(path: Path) -> Path:
    """Return a path with what is no UTF-8 in it written as \\x…."""
    return Path(os.fsencode(path).decode("utf-8", "backslashreplace"))


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def may_be_dicom(path: Path) -> bool:
    """Say whether a file is worth a look into it: whatever its name says, but for pictures, texts and other formats.

    Scanners and exports name DICOM files .img, .rec or .hdr too; of these the first bytes are read.
    """
    suffix = path.suffix.lower()
    if TEXT_SUFFIXES.fullmatch(suffix):
        return False
    return format_of(path) is None or looks_like_dicom(path)


def others(paths: Iterable[Path], folder: Path, own: Sequence[str]) -> list[Ignored]:
    """Return one entry a folder and suffix for files that are no images; sidecars (SIDECARS) are left out.

    Args:
        paths: the files.
        folder: the folder that was listed.
        own: names of files in it that are mrsynth's own, and left out too.
    """
    counts = Counter(
        (path.parent, suffix_of(path))
        for path in paths
        if path.suffix.lower() not in SIDECARS and not (path.parent == folder and path.name in own)
    )
    return [
        Ignored(place, f"{n} file{'s' * (n > 1)} {suffix or 'without suffix'}: {convert_words(suffix) or 'no image'}")
        for (place, suffix), n in counts.items()
    ]
