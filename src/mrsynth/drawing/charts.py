"""The charts of a study: losses of several trainings side by side, and values along a line through a head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from mrsynth.drawing.axes import LIGHT, Theme, chart_axes, figure_png, label, legend
from mrsynth.drawing.display import display


def losses_png(histories: Mapping[str, pd.DataFrame], theme: Theme = LIGHT) -> bytes:
    """Return training and validation losses as a picture, a line a training (li2022, Figure 8).

    Losses of one kind alone can be compared.

    Args:
        histories: label → epochs, as `read_history` gives them.
        theme: colours.

    Returns:
        PNG bytes.
    """
    figure, axes = chart_axes(9.6, 3.5, 2, theme)
    colors = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for ax, name, title in zip(axes, ("train_loss", "val_loss"), ("training loss", "validation loss"), strict=True):
        for number, (training, history) in enumerate(histories.items()):
            loss = history[name].to_numpy(float)
            marker = "o" if loss.size < 25 else ""
            ax.plot(history["epoch"], loss, color=colors[number % 10], label=training, marker=marker, markersize=3)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        label(ax, theme, title=title, x="epoch")
    legend(axes[1], theme)
    return figure_png(figure)


@dataclass(frozen=True, eq=False)
class Line:
    """Values along a line through a slice.

    Attributes:
        image: (x, y) of an RAS slice.
        row: the y of the line, which runs along x.
        ends: first and last x.
        pixel_mm: edge lengths of a voxel.
        values: label → (x,) along the whole of the line.
    """

    image: np.ndarray
    row: int
    ends: tuple[int, int]
    pixel_mm: tuple[float, float]
    values: Mapping[str, np.ndarray]


def profile_png(line: Line, theme: Theme = LIGHT) -> bytes:
    """Return a slice with its line, and the values along the line, as a picture (li2022, Figure 10).

    Args:
        line: the slice, the line and the values along it.
        theme: colours.

    Returns:
        PNG bytes.
    """
    figure, (picture, ax) = chart_axes(9.6, 3.7, 2, theme)
    x_mm, y_mm = line.pixel_mm
    width, height = line.image.shape[0] * x_mm, line.image.shape[1] * y_mm
    # The display turns both axes round (display.py): millimetres grow to the left and up.
    picture.imshow(display(line.image), cmap="gray", extent=(width, 0.0, 0.0, height))
    at = (line.row + 0.5) * y_mm
    first, last = (line.ends[0] * x_mm, (line.ends[1] + 1) * x_mm)
    picture.plot([last, first], [at, at], color="#ffc94d", linewidth=1.4)
    picture.axis("off")
    label(picture, theme, title="patient's right on the left")
    inside = slice(line.ends[0], line.ends[1] + 1)
    for number, (name, values) in enumerate(line.values.items()):
        shown = values[inside][::-1]  # from the patient's right, as the picture shows it
        mm = (np.arange(shown.size) + 0.5) * x_mm
        ax.plot(mm, shown, color=(theme.ink, theme.first, theme.second)[number % 3], label=name, linewidth=1.6)
    label(ax, theme, x="mm along the line, from the left of the picture", y="prepared intensity")
    legend(ax, theme)
    return figure_png(figure)
