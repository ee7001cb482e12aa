"""Slices as pictures, the way a radiologist holds them: images in one grey window, the difference, the SSIM map."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

from mrsynth.drawing.display import display

PANEL_ARRAYS = ("input", "synthetic", "truth", "ssim", "mask")
TILES = ("input", "synthetic", "truth", "difference", "ssim")
DIFFERENCE_MAP = "berlin"
SSIM_MAP = "viridis"
BACKGROUND = "#0b0d10"
SIDES, SOFT, WARNING = "#d8dee6", "#c9d1d9", "#ffc94d"
TILE_PIXELS = 400
"""The long side of a picture in the page: large enough for burnt-in words, small enough for a page of many cases."""
TILE_QUALITIES, TILE_BYTES = (90, 75, 50, 25), 24_000
"""Of WebP, the first with which a picture is no larger, so that a page of 65 pictures stays below 3 MB. With 90, which
is enough for scans, 19 of 20 grey values stand within three of 255."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One slice of one case. arrays: (x, y) float32 by name (see PANEL_ARRAYS, and `lesion` where there is one);
    meta: the case's entry in panels.json (window, axis, slice_index, pixel_mm, contrasts, note)."""

    case: str
    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]


def side_labels(axis: object) -> tuple[str, str]:
    """Return what lies at a picture's left and right edge.

    Args:
        axis: along which the slice was taken: axial, coronal, sagittal or z, y, x.
    """
    return ("A", "P") if str(axis).lower() in ("sagittal", "x", "0") else ("R", "L")


def difference_limit(panels: Sequence[Panel]) -> float:
    """Return one symmetric limit for the difference maps of several panels, so that their colours can be compared.

    It is the 99th percentile of |synthetic - truth| inside the masks, rounded up to 1, 1.5, 2, 3, 5 or 7.5 times a
    power of ten, in the units of the images.
    """
    return round_limit([(p.arrays["synthetic"] - p.arrays["truth"])[p.arrays["mask"] > 0] for p in panels])


def round_limit(values: Sequence[np.ndarray]) -> float:
    """Return the limit of a colour scale: the 99th percentile of all |values|, rounded up as `difference_limit` says.

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


@dataclass(frozen=True)
class Box:
    """The part of a slice that is shown: x and y as half-open ranges of voxels."""

    x: slice
    y: slice


def crop_box(panel: Panel, margin: int = 6) -> Box:
    """Return the box of a slice that holds all that is not background.

    A voxel is no background where it is masked, or where input or truth is above 2 % of the grey window. The box is
    the whole slice where there is nothing else.

    Args:
        panel: the slice.
        margin: how far the box reaches beyond, voxels.
    """
    low, high = panel.meta["window"]
    edge = low + 0.02 * (high - low)
    shown = (panel.arrays["mask"] > 0) | (panel.arrays["truth"] > edge) | (panel.arrays["input"] > edge)
    if not shown.any():
        return Box(slice(0, shown.shape[0]), slice(0, shown.shape[1]))
    ranges = []
    for axis in (0, 1):
        at = np.flatnonzero(shown.any(axis=1 - axis))
        ranges.append(slice(max(int(at[0]) - margin, 0), min(int(at[-1]) + 1 + margin, shown.shape[axis])))
    return Box(*ranges)


def pixel_mm(panel: Panel) -> tuple[float, float]:
    """Return the edge lengths of a voxel along x and y, (1, 1) where the panel does not say."""
    x, y = panel.meta.get("pixel_mm") or (1.0, 1.0)
    return float(x), float(y)


def size_mm(panel: Panel) -> tuple[float, float]:
    """Return width and height of what is shown of a panel."""
    box, (x, y) = crop_box(panel), pixel_mm(panel)
    return (box.x.stop - box.x.start) * x, (box.y.stop - box.y.start) * y


def draw(ax: Axes, panel: Panel, kind: str, limit: float, *, font: float = 9.0) -> Any:
    """Draw one picture of a panel into axes.

    Args:
        ax: the axes.
        panel: the slice.
        kind: which picture, one of TILES.
        limit: half the range of the difference map, in the units of the images.
        font: size of the burnt-in words, points.

    Returns:
        The image of matplotlib, for a colour bar.
    """
    box = crop_box(panel)
    cut = {name: display(array[box.x, box.y]) for name, array in panel.arrays.items()}
    data: np.ndarray
    if kind == "difference":
        # Masked where nothing differs at all, so that the background is black like that of the images.
        change = cut["synthetic"] - cut["truth"]
        data, cmap, low, high = np.ma.masked_equal(change, 0), DIFFERENCE_MAP, -limit, limit
    elif kind == "ssim":
        # Outside the mask two backgrounds agree perfectly; shown, that would drown the map in full marks.
        data, cmap, low, high = np.ma.masked_where(cut["mask"] <= 0, cut["ssim"]), SSIM_MAP, 0.0, 1.0
    else:
        low, high = map(float, panel.meta["window"])
        data, cmap = cut[kind], "gray"
    image = ax.imshow(
        data,
        cmap=matplotlib.colormaps[cmap].with_extremes(bad="black"),
        vmin=low,
        vmax=high,
        interpolation="bilinear",
        aspect=pixel_mm(panel)[1] / pixel_mm(panel)[0],
    )
    if kind in ("difference", "ssim") and "lesion" in cut and (cut["lesion"] > 0).any():
        ax.contour(cut["lesion"] > 0, levels=[0.5], colors="white", linewidths=font / 11)
    ax.set_axis_off()
    burn(ax, font, axis=panel.meta.get("axis", "axial"), synthetic=kind == "synthetic")
    return image


def burn(ax: Axes, font: float, *, axis: object = "axial", synthetic: bool = False, note: str = "") -> None:
    """Write the sides, and on an image that was never acquired the word SYNTHETIC, into a picture.

    Args:
        ax: the picture.
        font: size of the words, points.
        axis: along which the slice was taken (see `side_labels`).
        synthetic: whether the image was never acquired.
        note: words for the upper right corner.
    """
    outline = [withStroke(linewidth=font / 4, foreground="black")]
    where: dict[str, Any] = {"transform": ax.transAxes, "path_effects": outline, "parse_math": False}
    for x, label, side in zip((0.02, 0.98), side_labels(axis), ("left", "right"), strict=True):
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


def tile_webp(panel: Panel, kind: str, limit: float) -> bytes:
    """Return one picture of a panel without a frame; its long side has TILE_PIXELS pixels.

    Args:
        panel: the slice.
        kind: which picture, one of TILES.
        limit: half the range of the difference map, in the units of the images.

    Returns:
        WebP bytes: noise makes a PNG eight times as large.
    """
    width, height = size_mm(panel)
    scale = TILE_PIXELS / max(width, height)
    figure = Figure(figsize=(width * scale / 100, height * scale / 100), dpi=100)
    canvas: Any = FigureCanvasAgg(figure)
    figure.patch.set_facecolor("black")
    draw(figure.add_axes((0, 0, 1, 1)), panel, kind, limit, font=11.0)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    for quality in TILE_QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=quality)
        if buffer.tell() <= TILE_BYTES:
            break
    return buffer.getvalue()


def figure_png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    return buffer.getvalue()


def map_gradient(name: str, stops: int = 17) -> str:
    """Return a colour map of matplotlib as CSS colour stops, low to high, for a colour bar in the page.

    Args:
        name: of the colour map.
        stops: how many colours.
    """
    return ", ".join(matplotlib.colors.to_hex(color) for color in matplotlib.colormaps[name](np.linspace(0, 1, stops)))


def caption_of(panel: Panel) -> str:
    """Return the short text beside a row: the case and what it scored."""
    score = panel.meta.get("ssim")
    return panel.case if score is None else f"{panel.case}\nSSIM {float(score):.3f}"


def rows_png(panels: Sequence[Panel], captions: Sequence[str]) -> bytes:
    """Return panels as one picture on a dark ground: a row a panel, a column a kind, colour bars below.

    The difference maps of all rows share one limit, so that their colours can be compared.

    Args:
        panels: the slices, from top to bottom; the first says what the columns are called.
        captions: what stands beside each row.

    Returns:
        PNG bytes.
    """
    limit = difference_limit(panels)
    tallest = max(height / width for width, height in map(size_mm, panels))
    side, top, bottom, left = 2.2, 0.42, 0.5, 0.42
    width, height = left + len(TILES) * side, top + len(panels) * side * tallest + bottom
    figure = Figure(figsize=(width, height), dpi=150, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(panels), len(TILES), left=left / width, right=1, top=1 - top / height, bottom=bottom / height,
        wspace=0.02, hspace=0.03,
    )  # fmt: skip
    meta = panels[0].meta
    titles = {
        "input": f"input {_upper(meta, 'input_contrast')}",
        "synthetic": f"synthetic {_upper(meta, 'target_contrast')}",
        "truth": f"truth {_upper(meta, 'target_contrast')}",
        "difference": "synthetic − truth",
        "ssim": "SSIM",
    }
    ink: dict[str, Any] = {"color": SOFT, "fontsize": 9}
    for row, (panel, caption) in enumerate(zip(panels, captions, strict=True)):
        for column, kind in enumerate(TILES):
            ax = figure.add_subplot(grid[row, column])
            image = draw(ax, panel, kind, limit, font=7.5)
            if row == 0:
                ax.set_title(titles[kind].strip(), color="#f0f3f6", fontsize=10.5, pad=7)
            if column == 0:
                ax.text(
                    -0.06,
                    0.5,
                    caption,
                    rotation=90,
                    ha="center",
                    va="center",
                    transform=ax.transAxes,
                    parse_math=False,
                    **ink,
                )
            if row == len(panels) - 1 and kind in ("difference", "ssim"):
                _colour_bar(figure, image, ax, 0.62 * bottom / height)
    return figure_png(figure)


def _upper(meta: Mapping[str, Any], key: str) -> str:
    """Return a contrast for a heading."""
    return str(meta.get(key) or "").upper()


def _colour_bar(figure: Figure, image: Any, ax: Axes, height: float) -> None:
    """Draw the colour bar of an image below its axes, at a height of the figure (0 to 1)."""
    low, high = image.get_clim()
    where = ax.get_position()
    cax = figure.add_axes((where.x0 + 0.12 * where.width, height, 0.76 * where.width, 0.012))
    label_bar(cax, figure.colorbar(image, cax=cax, orientation="horizontal"), low, high, 8)
