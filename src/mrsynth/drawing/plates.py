"""A plate: rows and columns of pictures of one or several cases, as the figures of a paper show them side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mrsynth.drawing.display import display
from mrsynth.drawing.panels import BACKGROUND, DIFFERENCE_MAP, SOFT, burn, figure_png, label_bar, round_limit

ERROR_MAP = "inferno"
OUTLINE = "#46dcaa"
INK = "#f0f3f6"
MARGIN_MM = 6.0
"""What a picture shows around the region it is of."""

BARS = {"difference": (DIFFERENCE_MAP, -1.0, "after − before contrast"), "error": (ERROR_MAP, 0.0, "absolute error")}
"""Colour map, lower end as a share of the limit, and words of each kind that has a colour bar."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture. data: (x, y) of an RAS slice, None where there is no picture (`words` say why); lesion: (x, y) mask
    whose edge is drawn; note: words in the lower right corner."""

    kind: Literal["image", "difference", "error", "mask"]
    data: np.ndarray | None
    synthetic: bool = False
    lesion: np.ndarray | None = None
    words: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class PlateRow:
    """One row: pictures of one case in one grey window.

    region: (x, y) mask that the pictures are centred on and cut around; pixel_mm: edge lengths of a voxel along x and
    y; side_mm: side of a square around the region's middle, None for the extent that all such rows share.
    """

    caption: str
    tiles: tuple[Tile, ...]
    window: tuple[float, float]
    region: np.ndarray
    pixel_mm: tuple[float, float]
    side_mm: float | None = None


@dataclass(frozen=True, eq=False)
class Plate:
    """Rows under column titles. note: what stands below, e.g. what the region is."""

    columns: tuple[str, ...]
    rows: tuple[PlateRow, ...]
    note: str


def plate_png(plate: Plate) -> bytes:
    """Return a plate as a picture, on a dark ground, in radiological display, with colour bars and note below.

    The difference and error maps of a plate share one limit each, so that their colours can be compared.

    Args:
        plate: rows of pictures, column titles and note.

    Returns:
        PNG bytes.
    """
    common = shared_extent([row for row in plate.rows if row.side_mm is None])
    extents = [(row.side_mm, row.side_mm) if row.side_mm else common for row in plate.rows]
    limits = {kind: _limit(plate, kind) for kind in BARS}
    drawn = [kind for kind in BARS if any(t.kind == kind and t.data is not None for r in plate.rows for t in r.tiles)]
    columns = len(plate.columns)
    side, left, top, bottom = min(max(13.0 / columns, 1.25), 2.4), 0.5, 0.5 if any(plate.columns) else 0.1, 0.62
    heights = [side * height / width for width, height in extents]
    size = (left + columns * side, top + sum(heights) + bottom)
    figure = Figure(figsize=size, dpi=150, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(plate.rows), columns, left=left / size[0], right=1 - 0.02 / size[0], top=1 - top / size[1],
        bottom=bottom / size[1], wspace=0.03, hspace=0.03, height_ratios=heights,
    )  # fmt: skip
    for i, (row, extent) in enumerate(zip(plate.rows, extents, strict=True)):
        for j, tile in enumerate(row.tiles):
            ax = figure.add_subplot(grid[i, j])
            _draw_tile(ax, tile, row, extent, limits)
            if i == 0 and plate.columns[j]:
                title = textwrap.fill(plate.columns[j], max(int(side * 10), 10))
                ax.set_title(title, color=INK, fontsize=9.5, pad=5, parse_math=False)
            if j == 0:
                low, high = row.window
                caption = f"{row.caption}\ngrey {low:.2g} to {high:.2g}"
                where: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "center", "transform": ax.transAxes}
                ax.text(-0.22 / side, 0.5, caption, color=SOFT, fontsize=7, parse_math=False, **where)
    _foot(figure, plate, drawn, limits)
    return figure_png(figure)


def shared_extent(rows: Sequence[PlateRow]) -> tuple[float, float]:
    """Return width and height in mm that hold the region of each row, with a margin of MARGIN_MM on each side.

    Args:
        rows: the rows that share one extent.

    Returns:
        Width and height, (1, 1) where no row has a region.
    """
    spans = [span for row in rows if (span := _span_mm(row)) is not None]
    if not spans:
        return 1.0, 1.0
    width, height = np.max([(x[1] - x[0], y[1] - y[0]) for x, y in spans], axis=0) + 2 * MARGIN_MM
    return float(width), float(height)


def _span_mm(row: PlateRow) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return where the region of a row begins and ends along x and y, in mm from the array's edge; None if empty."""
    if not row.region.any():
        return None
    ends = [np.flatnonzero(row.region.any(axis=1 - axis))[[0, -1]] + (0, 1) for axis in (0, 1)]
    (x0, x1), (y0, y1) = (span * mm for span, mm in zip(ends, row.pixel_mm, strict=True))
    return (float(x0), float(x1)), (float(y0), float(y1))


def _limit(plate: Plate, kind: str) -> float:
    """Return the limit of one kind of map over a whole plate."""
    values = [t.data[r.region] for r in plate.rows for t in r.tiles if t.kind == kind and t.data is not None]
    return round_limit(values)


def _draw_tile(ax: Axes, tile: Tile, row: PlateRow, extent: tuple[float, float], limits: dict[str, float]) -> None:
    """Draw one picture, cut to an extent in mm around the middle of the row's region."""
    ax.set(xticks=[], yticks=[], facecolor="black")
    for spine in ax.spines.values():
        spine.set_visible(False)
    if tile.data is None:
        ax.set_facecolor("#1d232b")
        where: dict[str, Any] = {"ha": "center", "va": "center", "transform": ax.transAxes}
        ax.text(0.5, 0.5, textwrap.fill(tile.words, 18), color=SOFT, fontsize=8, parse_math=False, **where)
        return
    # Millimetres grow to the patient's right and to the front in RAS+; the display turns both axes round.
    full = tuple(n * mm for n, mm in zip(tile.data.shape, row.pixel_mm, strict=True))
    place = (full[0], 0.0, 0.0, full[1])
    name, (low, high), data = "gray", row.window, display(tile.data)
    if tile.kind in BARS:
        name, low, high = BARS[tile.kind][0], BARS[tile.kind][1] * limits[tile.kind], limits[tile.kind]
        data = np.ma.masked_equal(data, 0)  # black where nothing differs, as the ground of the images
    elif tile.kind == "mask":
        low, high = 0.0, 1.0
    cmap = matplotlib.colormaps[name].with_extremes(bad="black")
    smooth = "nearest" if tile.kind == "mask" else "bilinear"
    ax.imshow(data, extent=place, cmap=cmap, vmin=low, vmax=high, interpolation=smooth, aspect="auto")
    if tile.lesion is not None and tile.lesion.any():
        x, y = (np.arange(n) * mm + mm / 2 for n, mm in zip(tile.lesion.shape, row.pixel_mm, strict=True))
        ax.contour(x, y, tile.lesion.T > 0, levels=[0.5], colors=OUTLINE, linewidths=0.8)
    span = _span_mm(row) or ((0.0, full[0]), (0.0, full[1]))
    middle = [(low + high) / 2 for low, high in span]
    ax.set_xlim(middle[0] + extent[0] / 2, middle[0] - extent[0] / 2)
    ax.set_ylim(middle[1] - extent[1] / 2, middle[1] + extent[1] / 2)
    burn(ax, 6.5, synthetic=tile.synthetic, note=tile.note)


def _foot(figure: Figure, plate: Plate, drawn: Sequence[str], limits: dict[str, float]) -> None:
    """Write the note at the lower left and draw the colour bars at the lower right."""
    width, height = figure.get_size_inches()
    room = width - 0.3 - 2.1 * len(drawn)
    note = textwrap.fill(plate.note, max(int(room * 17), 30))
    figure.text(0.12 / width, 0.5 / height, note, color=SOFT, fontsize=7, va="top", linespacing=1.35, parse_math=False)
    for number, kind in enumerate(reversed(drawn), start=1):
        cmap, lower, words = BARS[kind]
        low, high = lower * limits[kind], limits[kind]
        cax = figure.add_axes(((width - 2.1 * number + 0.15) / width, 0.26 / height, 1.7 / width, 0.08 / height))
        scale = ScalarMappable(Normalize(low, high), cmap)
        label_bar(cax, figure.colorbar(scale, cax=cax, orientation="horizontal"), low, high, 7)
        cax.set_title(words, color=SOFT, fontsize=7, pad=3)
