"""Curves of a study: a measure over the values of one setting, as Fig. 7 and Fig. 9 of Chen et al. 2022 show them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import NullLocator

from mrsynth.drawing.axes import Theme, chart_axes, figure_png, label, legend_below


@dataclass(frozen=True, eq=False)
class Series:
    """One measure over x.

    Attributes:
        name: what it measures.
        mean, sd: (point,) over patients, NaN where a point was not run.
        published: the paper's means, NaN where it gives none.
        baseline: the mean of a simple rival, NaN without.
        rival: its name.
    """

    name: str
    mean: np.ndarray
    sd: np.ndarray
    published: np.ndarray
    baseline: float
    rival: str = "identity"


@dataclass(frozen=True, eq=False)
class Curve:
    """Series over one setting.

    Attributes:
        x_name: the setting, as the axis says it.
        x: its values, (point,).
        log: whether their axis is logarithmic.
        series: one an axes, from left to right.
    """

    x_name: str
    x: np.ndarray
    log: bool
    series: tuple[Series, ...]


def curve_png(curve: Curve, theme: Theme) -> bytes:
    """Return a curve as a picture: each series in axes of its own, mean ± SD over patients.

    Each series has its own scale: the brain's PSNR and the tumour's lie decibels apart, the effects are tenths of one.
    Hollow diamonds are the paper's means; the dashed line is the best simple rival. A point that was not run leaves a
    gap.

    Args:
        curve: the series, one or more, and the values of the setting over which they are drawn.
        theme: colours.

    Returns:
        PNG bytes.
    """
    figure, axes = chart_axes(4.3 * len(curve.series) + 0.3, 3.4, len(curve.series), theme)
    places = np.log10(curve.x) if curve.log else np.arange(curve.x.size, dtype=float)
    room = 0.07 * float(np.ptp(places)) or 0.5
    crowded = curve.x.size > 6
    for number, (ax, series) in enumerate(zip(axes, curve.series, strict=True)):
        color = (theme.first, theme.second)[number % 2]
        drawn = np.isfinite(series.mean)
        sd = np.nan_to_num(series.sd[drawn])
        ax.plot(places, np.where(drawn, series.mean, np.nan), color=color, linewidth=1.8, zorder=3)
        ax.errorbar(
            places[drawn], series.mean[drawn], yerr=sd, color=color, fmt="o", markersize=5, capsize=3,
            elinewidth=1.0, alpha=0.9, zorder=4, label="mean ± SD over patients",
        )  # fmt: skip
        if np.isfinite(series.published).any():
            ax.plot(places, series.published, "D", color=theme.ink, markerfacecolor="none", markersize=6, label="paper")
        if np.isfinite(series.baseline):
            ax.axhline(series.baseline, color=theme.ink, linewidth=1, linestyle=(0, (4, 3)), label=series.rival)
        for place in places[~drawn]:
            ax.text(place, 0.04, "not run", transform=ax.get_xaxis_transform(), rotation=90, fontsize=7.5,
                    color=theme.ink, ha="center", va="bottom")  # fmt: skip
        ax.set_xticks(places, [f"{x:g}" for x in curve.x], rotation=60 if crowded else 0, color=theme.ink)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlim(places.min() - room, places.max() + room)
        label(ax, theme, title=series.name, x=curve.x_name)
    # Room for the legend below the axes, and for tick labels that are turned.
    legend_below(figure, axes, theme, columns=3, bottom=0.98 if crowded else 0.82)
    return figure_png(figure)
