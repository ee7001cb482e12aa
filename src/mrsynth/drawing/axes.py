"""What all charts share: colours, plain axes, words on them, legends, and a figure as bytes or as part of a page."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mrsynth.drawing.templates import data_uri

Place = Literal["lower center", "lower left"]


@dataclass(frozen=True)
class Theme:
    """Colours of a chart.

    Attributes:
        ground: behind everything.
        ink: of words and ticks.
        faint: of grid and spines.
        first, second: of the lines that are drawn.
        good, bad: the model ahead of its best simple rival, and behind it.
    """

    ground: str
    ink: str
    faint: str
    first: str
    second: str
    good: str
    bad: str


LIGHT = Theme("#ffffff", "#1f2933", "#d9dfe5", "#2563a8", "#c2571a", "#2563a8", "#c62f2f")
DARK = Theme("#171b21", "#dde3ea", "#363e48", "#6cb0f5", "#f0a15e", "#6cb0f5", "#ff7b72")
THEMES = {"light": LIGHT, "dark": DARK}


def chart_axes(
    width: float, height: float, columns: int, theme: Theme, *, rows: int = 1, left: float = 0.7
) -> tuple[Figure, list[Axes]]:
    """Return a figure with plain axes in a theme's colours.

    Args:
        width: of the figure, inches.
        height: of the figure, inches.
        columns: how many axes a row has.
        theme: colours.
        rows: how many rows there are.
        left: margin at the left, inches.

    Returns:
        The figure and its axes, row by row from left to right.
    """
    figure = Figure(figsize=(width, height), dpi=170, facecolor=theme.ground)
    FigureCanvasAgg(figure)
    # Margins in inches; matplotlib's layout engine would take longer than everything else in the chart.
    space = {"wspace": 0.42} if rows == 1 else {"wspace": 0.32, "hspace": 0.5}
    figure.subplots_adjust(left / width, 0.55 / height, 1 - 0.1 / width, 1 - 0.35 / height, **space)
    axes = [figure.add_subplot(rows, columns, i + 1, facecolor=theme.ground) for i in range(rows * columns)]
    for ax in axes:
        ax.tick_params(colors=theme.ink, which="both", labelsize=8.5)
        ax.grid(axis="y", color=theme.faint, linewidth=0.7)
        ax.set_axisbelow(True)
        for side, spine in ax.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(theme.faint)
    return figure, axes


def label(ax: Axes, theme: Theme, *, title: str = "", x: str = "", y: str = "") -> None:
    """Write a chart's title and the names of its axes.

    Args:
        ax: the chart.
        theme: colours.
        title: above it.
        x: below it.
        y: beside it.
    """
    ax.set_title(title, color=theme.ink, fontsize=10, pad=8, parse_math=False)
    ax.set_xlabel(x, color=theme.ink, fontsize=9)
    ax.set_ylabel(y, color=theme.ink, fontsize=9)


def legend(ax: Axes, theme: Theme) -> None:
    """Write the legend of a chart into it.

    Args:
        ax: the chart.
        theme: colours.
    """
    ax.legend(frameon=False, labelcolor=theme.ink, fontsize=8.5)


def legend_below(
    figure: Figure, axes: Sequence[Axes], theme: Theme, *, columns: int, bottom: float, place: Place = "lower center"
) -> None:
    """Write one legend of several charts below them.

    Args:
        figure: the figure.
        axes: the charts.
        theme: colours.
        columns: how many entries a line has.
        bottom: what is left free below the charts, inches.
        place: of the legend.
    """
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    style: dict[str, Any] = {"frameon": False, "labelcolor": theme.ink, "fontsize": 8.5}
    figure.legend(handles.values(), handles, loc=place, ncols=columns, **style)
    figure.subplots_adjust(bottom=bottom / figure.get_size_inches()[1])


def figure_png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    return buffer.getvalue()


def themed(draw: Callable[[Theme], bytes]) -> dict[str, str]:
    """Return a chart as addresses that hold it, one a theme."""
    return {name: data_uri(draw(theme)) for name, theme in THEMES.items()}
