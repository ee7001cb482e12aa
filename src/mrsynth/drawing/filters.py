"""What networks learned to look at: the filters of the first layer, and the maps of some layers (li2022, Figure 9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mrsynth.drawing.axes import LIGHT, figure_png
from mrsynth.drawing.display import display

MAP = "jet"
"""The paper's: warm where a weight or a value is high, cold where it is low."""
ROWS = ("filters of the first layer", "maps of the lowest layer", "maps of the last layer but one", "output")


@dataclass(frozen=True, eq=False)
class Learned:
    """One network.

    Attributes:
        label: above its column.
        filters: (n, u, v).
        lowest, last: maps (n, x, y) of an RAS slice.
        output: (x, y).
    """

    label: str
    filters: np.ndarray
    lowest: np.ndarray
    last: np.ndarray
    output: np.ndarray


def filters_png(networks: Sequence[Learned]) -> bytes:
    """Return what networks learned to look at as a picture, a column a network: filters, maps and output.

    Each panel has colours of its own.

    Args:
        networks: one or more, from left to right.

    Returns:
        PNG bytes.
    """
    columns = len(networks)
    figure = Figure(figsize=(2.6 * columns + 0.5, 10.9), dpi=150, facecolor=LIGHT.ground)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(4, columns, left=0.3 / (2.6 * columns + 0.5), right=0.99, top=0.965, bottom=0.01,
                               wspace=0.04, hspace=0.04)  # fmt: skip
    for column, network in enumerate(networks):
        panels = [
            mosaic([*network.filters]),
            mosaic([display(one) for one in network.lowest]),
            mosaic([display(one) for one in network.last]),
            display(network.output),
        ]
        for row, panel in enumerate(panels):
            ax = figure.add_subplot(grid[row, column])
            cmap = matplotlib.colormaps["gray" if row == 3 else MAP].with_extremes(bad=LIGHT.ground)
            ax.imshow(panel, cmap=cmap, interpolation="nearest", aspect="auto")
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set_visible(False)
            if row == 0:
                ax.set_title(network.label, color=LIGHT.ink, fontsize=10.5, parse_math=False)
            if column == 0:
                ax.set_ylabel(ROWS[row], color=LIGHT.ink, fontsize=8.5)
    return figure_png(figure)


def mosaic(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return images as one, as many columns as rows or nearly so, with a line of NaN between them.

    Args:
        images: of one shape, one or more.
    """
    height, width = images[0].shape
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    line = max(1, round(0.06 * max(height, width)))
    whole = np.full((rows * (height + line) - line, columns * (width + line) - line), np.nan)
    for number, image in enumerate(images):
        y, x = (number // columns) * (height + line), (number % columns) * (width + line)
        whole[y : y + height, x : x + width] = image
    return whole
