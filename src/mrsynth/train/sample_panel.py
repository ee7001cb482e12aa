"""A picture of training samples: rows of slices in one grey window, with names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw

from mrsynth.core.files import atomic_file

MOST_ROWS = 4
EDGE = 160
"""Pixels of a slice's longer side, about."""

MARGIN, GAP = 14, 3
WINDOW = (0.0, 1.5)
"""Black and white, in units of the native brain's 0.95 quantile."""


class Row(NamedTuple):
    """One sample.

    Attributes:
        name: what stands beside it.
        slices: (column, x, y).
    """

    name: str
    slices: np.ndarray


def write_panel(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write the first rows as a PNG, anterior up.

    Args:
        path: the file.
        columns: names of the slices.
        rows: the samples.
    """
    rows = rows[:MOST_ROWS]
    _, _, x, y = (len(rows), *rows[0].slices.shape)
    zoom = max(1, round(EDGE / max(x, y)))
    width, height = x * zoom, y * zoom
    pitch = width + GAP
    picture = Picture.new("L", (len(columns) * pitch, MARGIN + len(rows) * (height + MARGIN)))
    draw = ImageDraw.Draw(picture)
    for column, name in enumerate(columns):
        draw.text((column * pitch + 2, 1), name, fill=255)
    for number, row in enumerate(rows):
        top = MARGIN + number * (height + MARGIN)
        for column, values in enumerate(row.slices):
            picture.paste(_grey(values).resize((width, height), Picture.Resampling.NEAREST), (column * pitch, top))
        draw.text((2, top + height + 1), row.name, fill=255)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        picture.save(file, format="PNG")


def _grey(values: np.ndarray) -> Picture.Image:
    """Return a slice (x, y) as a picture, first axis to the right, second up."""
    low, high = WINDOW
    grey = np.clip((values - low) / (high - low), 0, 1) * 255
    return Picture.fromarray(np.rint(grey).astype(np.uint8).T[::-1])
