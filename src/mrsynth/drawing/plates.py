"""Slices as pictures, the way a radiologist holds them: single tiles, and plates of rows and columns of them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

from mrsynth.drawing.axes import figure_png
from mrsynth.drawing.display import display

OUTLINE = "#46dcaa"
GROUND, INK, SOFT = "#0b0d10", "#f0f3f6", "#c9d1d9"
SIDES, WARNING = "#d8dee6", "#ffc94d"
MARGIN_MM = 6.0
"""What a picture shows around the region it is of."""

TILE_PIXELS = 400
"""The long side of a single tile: large enough for burnt-in words, small enough for a page of many cases."""

TILE_QUALITIES, TILE_BYTES = (90, 75, 50, 25), 24_000
"""Of WebP, the first with which a picture is no larger, so that a page of 65 pictures stays below 3 MB. With 90, which
is enough for scans, 19 of 20 grey values stand within three of 255."""

Kind = Literal["image", "mask", "difference", "enhancement", "error", "ssim"]


@dataclass(frozen=True)
class Bar:
    """How a map of numbers is coloured.

    Attributes:
        colours: its colour map, as matplotlib names it.
        lower: its lower end as a share of its limit.
        words: what it shows.
    """

    colours: str
    lower: float
    words: str


BARS: dict[Kind, Bar] = {
    "difference": Bar("berlin", -1.0, "synthetic − truth"),
    "enhancement": Bar("berlin", -1.0, "after − before contrast"),
    "error": Bar("inferno", 0.0, "absolute error"),
    "ssim": Bar("viridis", 0.0, "SSIM"),
}
"""The kinds of tile that have a colour bar; where a map is exactly 0 it is black, as the ground of the images."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture.

    Attributes:
        kind: what it shows, by which it is coloured.
        data: (x, y) of an RAS slice, None where there is no picture (`words` say why).
        synthetic: whether a model made it: then the picture says so.
        lesion: (x, y) mask whose edge is drawn.
        words: what stands in place of a picture.
        note: words in the upper right corner.
    """

    kind: Kind
    data: np.ndarray | None
    synthetic: bool = False
    lesion: np.ndarray | None = None
    words: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class PlateRow:
    """One row: pictures of one case in one grey window.

    Attributes:
        caption: at its left.
        tiles: from left to right.
        window: lowest and highest grey value.
        region: (x, y) mask that the pictures are centred on and cut around.
        pixel_mm: edge lengths of a voxel along x and y.
        side_mm: side of a square around the region's middle, None for the extent that all such rows share.
        sides: what lies at the left and right edge of the pictures.
    """

    caption: str
    tiles: tuple[Tile, ...]
    window: tuple[float, float]
    region: np.ndarray
    pixel_mm: tuple[float, float]
    side_mm: float | None = None
    sides: tuple[str, str] = ("R", "L")


@dataclass(frozen=True, eq=False)
class Plate:
    """Rows under column titles.

    Attributes:
        columns: titles, from left to right.
        rows: from top to bottom.
        note: what stands below, e.g. what the region is.
    """

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
    limits = limits_of(plate.rows)
    drawn = [kind for kind in BARS if any(t.kind == kind and t.data is not None for r in plate.rows for t in r.tiles)]
    columns = len(plate.columns)
    side, left, top, bottom = min(max(13.0 / columns, 1.25), 2.4), 0.5, 0.5 if any(plate.columns) else 0.1, 0.62
    font = 6.5 if side < 2 else 7.5
    heights = [side * height / width for width, height in extents]
    size = (left + columns * side, top + sum(heights) + bottom)
    figure = Figure(figsize=size, dpi=150, facecolor=GROUND)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(plate.rows), columns, left=left / size[0], right=1 - 0.02 / size[0], top=1 - top / size[1],
        bottom=bottom / size[1], wspace=0.03, hspace=0.03, height_ratios=heights,
    )  # fmt: skip
    for i, (row, extent) in enumerate(zip(plate.rows, extents, strict=True)):
        for j, tile in enumerate(row.tiles):
            ax = figure.add_subplot(grid[i, j])
            draw_tile(ax, tile, row, extent, limits, font=font)
            if i == 0 and plate.columns[j]:
                title = textwrap.fill(plate.columns[j], max(int(side * 10), 10))
                ax.set_title(title, color=INK, fontsize=9.5, pad=5, parse_math=False)
            if j == 0:
                low, high = row.window
                caption = f"{row.caption}\ngrey {low:.2g} to {high:.2g}"
                where: dict[str, Any] = {"rotation": 90, "ha": "center", "va": "center", "transform": ax.transAxes}
                ax.text(-0.22 / side, 0.5, caption, color=SOFT, fontsize=font + 0.5, parse_math=False, **where)
    _foot(figure, plate, drawn, limits)
    return figure_png(figure)


def tile_webp(row: PlateRow, tile: Tile, limits: Mapping[Kind, float]) -> bytes:
    """Return one picture of a row without a frame; its long side has TILE_PIXELS pixels.

    Args:
        row: the row, whose region the picture shows.
        tile: the picture.
        limits: of each kind of map (`limits_of`).

    Returns:
        WebP bytes: noise makes a PNG eight times as large.
    """
    extent = shared_extent([row])
    inches = TILE_PIXELS / 100 / max(extent)
    figure = Figure(figsize=(extent[0] * inches, extent[1] * inches), dpi=100, facecolor="black")
    FigureCanvasAgg(figure)
    draw_tile(figure.add_axes((0, 0, 1, 1)), tile, row, extent, limits, font=11.0)
    picture = Image.open(io.BytesIO(figure_png(figure))).convert("RGB")
    for quality in TILE_QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=quality)
        if buffer.tell() <= TILE_BYTES:
            break
    return buffer.getvalue()


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


def limits_of(rows: Iterable[PlateRow]) -> dict[Kind, float]:
    """Return the limit of each kind of map over all rows, so that their colours can be compared.

    Args:
        rows: a map counts in the region of its row where it is not 0, in the units of the images.
    """
    every = [(tile, row.region) for row in rows for tile in row.tiles if tile.data is not None]
    found = {
        kind: round_limit(
            [t.data[region & (t.data != 0)] for t, region in every if t.kind == kind and t.data is not None]
        )
        for kind in BARS
    }
    return {**found, "ssim": 1.0}


def round_limit(values: Sequence[np.ndarray]) -> float:
    """Return the limit of a colour scale: the 99th percentile of all |values|, rounded up to a round number.

    Round are 1, 1.5, 2, 3, 5 and 7.5 times a power of ten.

    Args:
        values: one array a picture, in the units of the images; values that are not finite count for nothing.

    Returns:
        The limit, 1 where nothing differs.
    """
    flat = np.abs(np.concatenate(values)) if values else np.empty(0)
    flat = flat[np.isfinite(flat)]
    top = float(np.percentile(flat, 99)) if flat.size else 0.0
    if top <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(top))
    return float(next(step * power for step in (1, 1.5, 2, 3, 5, 7.5, 10) if step * power >= top * (1 - 1e-9)))


def draw_tile(
    ax: Axes, tile: Tile, row: PlateRow, extent: tuple[float, float], limits: Mapping[Kind, float], *, font: float
) -> None:
    """Draw one picture, cut to an extent around the middle of its row's region.

    Args:
        ax: the axes, which it fills.
        tile: the picture.
        row: whose picture it is.
        extent: width and height, mm.
        limits: of each kind of map (`limits_of`).
        font: size of the burnt-in words, points.
    """
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
        bar, high = BARS[tile.kind], limits[tile.kind]
        name, low, data = bar.colours, bar.lower * high, np.ma.masked_equal(data, 0)
    elif tile.kind == "mask":
        low, high = 0.0, 1.0
    cmap = matplotlib.colormaps[name].with_extremes(bad="black")
    smooth = "nearest" if tile.kind == "mask" else "bilinear"
    ax.imshow(data, extent=place, cmap=cmap, vmin=low, vmax=high, interpolation=smooth, aspect="auto")
    if tile.lesion is not None and tile.lesion.any():
        x, y = (np.arange(n) * mm + mm / 2 for n, mm in zip(tile.lesion.shape, row.pixel_mm, strict=True))
        ax.contour(
            x,
            y,
            tile.lesion.T > 0,
            levels=[0.5],
            colors="white" if tile.kind == "ssim" else OUTLINE,
            linewidths=font / 8,
        )
    span = _span_mm(row) or ((0.0, full[0]), (0.0, full[1]))
    middle = [(low + high) / 2 for low, high in span]
    ax.set_xlim(middle[0] + extent[0] / 2, middle[0] - extent[0] / 2)
    ax.set_ylim(middle[1] - extent[1] / 2, middle[1] + extent[1] / 2)
    burn(ax, font, row.sides, synthetic=tile.synthetic, note=tile.note)


def _foot(figure: Figure, plate: Plate, drawn: Sequence[Kind], limits: Mapping[Kind, float]) -> None:
    """Write the note at the lower left and draw the colour bars at the lower right."""
    width, height = figure.get_size_inches()
    room = width - 0.3 - 2.1 * len(drawn)
    note = textwrap.fill(plate.note, max(int(room * 17), 30))
    figure.text(0.12 / width, 0.5 / height, note, color=SOFT, fontsize=7, va="top", linespacing=1.35, parse_math=False)
    for number, kind in enumerate(reversed(drawn), start=1):
        bar, high = BARS[kind], limits[kind]
        low = bar.lower * high
        cax = figure.add_axes(((width - 2.1 * number + 0.15) / width, 0.26 / height, 1.7 / width, 0.08 / height))
        scale = ScalarMappable(Normalize(low, high), bar.colours)
        label_bar(cax, figure.colorbar(scale, cax=cax, orientation="horizontal"), low, high, 7)
        cax.set_title(bar.words, color=SOFT, fontsize=7, pad=3)


def burn(ax: Axes, font: float, sides: tuple[str, str], *, synthetic: bool, note: str) -> None:
    """Write the sides, and on an image that was never acquired the word SYNTHETIC, into a picture.

    Args:
        ax: the picture.
        font: size of the words, points.
        sides: what lies at its left and right edge.
        synthetic: whether the image was never acquired.
        note: words for the upper right corner.
    """
    outline = [withStroke(linewidth=font / 4, foreground="black")]
    where: dict[str, Any] = {"transform": ax.transAxes, "path_effects": outline, "parse_math": False}
    for x, label, side in zip((0.02, 0.98), sides, ("left", "right"), strict=True):
        ax.text(x, 0.5, label, color=SIDES, fontsize=font * 0.9, ha=side, va="center", **where)
    if synthetic:
        # In the corner, so that the word is whole when the page lays half of the picture over the truth.
        ax.text(0.02, 0.015, "SYNTHETIC", color=WARNING, fontsize=font, weight="bold", ha="left", va="bottom", **where)
    if note:
        ax.text(0.98, 0.985, note, color=SIDES, fontsize=font * 0.9, ha="right", va="top", **where)


def label_bar(ax: Axes, bar: Any, low: float, high: float, size: float) -> None:
    """Label a horizontal colour bar at its ends and its middle, a range that begins below 0 with its signs.

    Args:
        ax: the axes that the bar fills.
        bar: the colour bar of matplotlib.
        low: value at the left end.
        high: value at the right end.
        size: of the labels, points.
    """
    ticks = [low, (low + high) / 2, high]
    bar.set_ticks(ticks)
    ax.set_xticklabels([f"{tick:+g}" if low < 0 and tick else f"{tick:g}" for tick in ticks])
    ax.tick_params(colors=SOFT, labelsize=size, length=2, pad=2)
    bar.outline.set_visible(False)


def map_gradient(name: str, stops: int = 17) -> str:
    """Return a colour map of matplotlib as CSS colour stops, low to high, for a colour bar in the page.

    Args:
        name: of the colour map.
        stops: how many colours.
    """
    return ", ".join(matplotlib.colors.to_hex(color) for color in matplotlib.colormaps[name](np.linspace(0, 1, stops)))
