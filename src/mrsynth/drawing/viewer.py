"""The viewer: volumes of a case in three linked planes, on a page that opens from disk and asks nothing of anyone.

viewer.html holds the program (NiiVue) and the list of cases; the volumes of each case are a script of its own below
viewer/, which is loaded when the case is opened. A page on disk may load scripts, but fetch nothing else.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from mrsynth.core.files import atomic_file, safe_name, why_unsafe, write_text
from mrsynth.drawing.templates import render

PAGE = "viewer.html"
FOLDER = "viewer"

Kind = Literal["input", "synthetic", "truth", "error"]

GREYS = 255
"""A volume is kept in 256 greys of its range: what a screen shows."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A volume to look at.

    Attributes:
        kind: what it is; a synthetic one is marked wherever it is shown.
        label: its contrast or another short name.
        data: (x, y, z).
        affine: 4×4, voxel to RAS+ mm.
        range: what is kept; values beyond are cut off. The same for synthetic image and truth.
        window: the values that are black and white at first.
        dose: of a synthetic image in a series, None of any other.
    """

    kind: Kind
    label: str
    data: np.ndarray
    affine: np.ndarray
    range: tuple[float, float]
    window: tuple[float, float]
    dose: float | None = None


def write_case(folder: Path, case: str, volumes: Sequence[Shown]) -> Path:
    """Write a case's script.

    Args:
        folder: where the page stands or will stand.
        case: its name.
        volumes: what is shown of it, inputs first; cut to where any of them is not black.

    Returns:
        The script, folder/viewer/<case>.js.

    Raises:
        OutputError: it cannot be written.
    """
    path = folder / FOLDER / f"{safe_name(case)}.js"
    content = {"case": case, "volumes": [_packed(volume) for volume in _cut(volumes)]}
    with atomic_file(path) as temporary:
        temporary.write_text(f"show({_harmless(content)});\n", encoding="utf-8")
    return path


def write_viewer(folder: Path, title: str, cases: Iterable[str]) -> dict[str, str]:
    """Write the page of the viewer, where there is a script of any case.

    Args:
        folder: where to write viewer.html; the scripts lie below it.
        title: of the page.
        cases: names, in the order in which they are offered.

    Returns:
        The address of each case that can be looked at, relative to the folder.
    """
    named = [case for case in dict.fromkeys(cases) if why_unsafe(case) is None]
    there = [case for case in named if (folder / FOLDER / f"{case}.js").is_file()]
    if there:
        listed = [{"case": case, "script": f"{FOLDER}/{quote(case)}.js"} for case in there]
        write_text(folder / PAGE, viewer_page(title, listed))
    return {case: f"{PAGE}?case={quote(case, safe='')}" for case in there}


def viewer_page(title: str, cases: Sequence[dict[str, str]]) -> str:
    """Return the page of the viewer.

    Args:
        title: of the page.
        cases: `case`, a name, and `script`, the address of its script, in the order in which the page offers them.
    """
    return render(
        "viewer.html.j2",
        title=title,
        cases=Markup(_harmless(list(cases))),
    )


def _harmless(value: object) -> str:
    """Return JSON that a script can hold: nothing in it ends the script or begins a comment."""
    return json.dumps(value).replace("<", "\\u003c").replace("&", "\\u0026")


def _cut(volumes: Sequence[Shown]) -> list[Shown]:
    """Return volumes without the black around the head, where they lie on one grid."""
    if len({volume.data.shape for volume in volumes}) != 1:
        return list(volumes)
    bright = np.logical_or.reduce([volume.data > volume.range[0] for volume in volumes])
    if not bright.any():
        return list(volumes)
    spans = [np.flatnonzero(bright.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    box = tuple(slice(max(span[0] - 1, 0), span[-1] + 2) for span in spans)
    found = []
    for volume in volumes:
        affine = np.array(volume.affine, float)
        affine[:3, 3] += affine[:3, :3] @ [part.start for part in box]
        found.append(replace(volume, data=volume.data[box], affine=affine))
    return found


def _packed(volume: Shown) -> dict[str, object]:
    """Return a volume as the script holds it: NIfTI in 256 greys, packed."""
    low, high = map(float, volume.range)
    scaled = np.clip((np.asarray(volume.data, np.float32) - low) * (GREYS / max(high - low, 1e-12)), 0, GREYS)
    greys = np.rint(np.nan_to_num(scaled)).astype(np.uint8)
    content = _header(greys.shape, np.asarray(volume.affine, float), (high - low) / GREYS, low) + greys.tobytes("F")
    return {
        "kind": volume.kind,
        "label": volume.label,
        "dose": volume.dose,
        "range": [low, high],
        "window": [float(value) for value in volume.window],
        "nii": base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii"),
    }


def _header(shape: tuple[int, ...], affine: np.ndarray, slope: float, intercept: float) -> bytes:
    """Return a NIfTI-1 header of unsigned bytes (nifti1.h: offsets), and the four bytes that follow it."""
    header = bytearray(352)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 2, 8)  # uint8
    struct.pack_into("<8f", header, 76, 1, *spacing, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, 352, slope, intercept)
    header[123] = 2  # mm
    struct.pack_into("<2h", header, 252, 0, 1)  # sform
    struct.pack_into("<12f", header, 280, *affine[:3].ravel())
    header[344:348] = b"n+1\0"
    return bytes(header)
