"""The JSON file beside an image: x.nii.gz has x.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 1 << 22


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
