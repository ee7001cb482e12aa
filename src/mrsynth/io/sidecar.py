"""The files beside an image: x.nii.gz has x.json, x.bval; BIDS lets them stand in a folder above, for many images."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 1 << 22

MOST_FOLDERS_UP = 4
"""A BIDS data set's own folder lies at most so far above an image: sub-1/ses-1/anat."""


def stem_of(path: Path) -> str:
    """Return a NIfTI file's name without its suffix."""
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.I)


def sidecar_of(path: Path) -> Path:
    """Return the path of the JSON file beside an image: x.nii.gz → x.json."""
    return path.with_name(stem_of(path) + ".json")


def small_json(path: Path) -> Mapping[str, Any]:
    """Return a small JSON object, {} where there is none that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_JSON_BYTES:
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def sidecar(path: Path) -> dict[str, Any]:
    """Return what the .json files of an image say: that beside it, over those in the folders above (`inherited`)."""
    return {key: value for file in inherited(path, ".json") for key, value in small_json(file).items()}


def inherited(path: Path, suffix: str) -> list[Path]:
    """Return the files that speak of an image by BIDS' inheritance principle, the most general first.

    A file in a folder above speaks of it where its name's entities are among those of the image and its last word is
    the same (`dwi.bval`, `task-rest_bold.json`); above a folder with dataset_description.json nothing is looked for.

    Args:
        path: A NIfTI file.
        suffix: .json or .bval.
    """
    own = path.with_name(stem_of(path) + suffix)
    entities, last = _entities(stem_of(path))
    if "sub" not in entities:
        return [own] if own.is_file() else []
    found: list[Path] = []
    folder = path.parent
    for _ in range(MOST_FOLDERS_UP + 1):
        above = [
            file
            for file in _files(folder, suffix)
            if file != own and _entities(file.stem)[1] == last and _entities(file.stem)[0].items() <= entities.items()
        ]
        found = sorted(above, key=lambda file: len(file.stem)) + found
        if (folder / "dataset_description.json").is_file() or folder.parent == folder:
            break
        folder = folder.parent
    return [*found, own] if own.is_file() else found


@lru_cache(maxsize=4096)
def _entities(stem: str) -> tuple[Mapping[str, str], str]:
    """Return a BIDS name's entities and its last word."""
    *pairs, last = stem.split("_")
    return {key: value for key, _, value in (pair.partition("-") for pair in pairs)}, last


def _files(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield the files of a folder that end so; none where it cannot be read."""
    try:
        names = _listed(folder, folder.stat().st_mtime_ns)
    except OSError:
        return
    yield from (folder / name for name in names if name.endswith(suffix))


@lru_cache(maxsize=256)
def _listed(folder: Path, changed_ns: int) -> tuple[str, ...]:
    """Return the names of a folder's sidecars; changed_ns: when the folder changed, by which a kept list stays true."""
    return tuple(n for n in sorted(os.listdir(folder)) if n.endswith((".json", ".bval")) and n[0] != ".")  # noqa: PTH208
