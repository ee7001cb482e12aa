"""The charts: learning curves (Fig. 3 of Osman & Tamam 2022) and each case under the model and its best rival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mrsynth.core.errors import InputError
from mrsynth.drawing.panels import figure_png


@dataclass(frozen=True)
class Theme:
    """Colours of a chart. good/bad: the model ahead of its best simple rival, and behind it."""

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


def best_epoch(history: pd.DataFrame) -> int | None:
    """Return the last stage's epoch of the least validation loss, None where no epoch of it has a finite one."""
    last = history["stage"] == history["stage"].max()
    loss = history["val_loss"].where(np.isfinite(history["val_loss"]) & last)
    return int(history["epoch"].iloc[int(np.nanargmin(loss))]) if loss.notna().any() else None


def learning_png(history: pd.DataFrame, theme: Theme) -> bytes:
    """Return the learning curves of a training as a picture, the loss on a logarithmic axis.

    Lines mark where a further stage begins, and the last stage's epoch of the least validation loss.

    Args:
        history: epochs, as `read_history` gives them.
        theme: colours.

    Returns:
        PNG bytes.

    Raises:
        InputError: the history holds no epoch.
    """
    if history.empty:
        raise InputError("The training history holds no epoch.", do="train for at least one epoch")
    figure, (ax,) = chart_axes(7.6, 3.4, 1, theme, left=0.95)
    epochs = history["epoch"].to_numpy(float)
    stages = [(history["stage"] == stage).to_numpy() for stage in sorted(set(history["stage"]))]
    for name, color, label in (("train_loss", theme.second, "training"), ("val_loss", theme.first, "validation")):
        loss = history[name].to_numpy(float)
        shown = np.where(np.isfinite(loss) & (loss > 0), loss, np.nan)
        for number, stage in enumerate(stages):  # not joined: another stage's losses weigh otherwise
            style: dict[str, Any] = {"color": color, "label": None if number else label, "linewidth": 1.8}
            marker = "o" if len(epochs) < 25 or stage.sum() == 1 else ""
            ax.plot(epochs[stage], shown[stage], **style, marker=marker, markersize=3.5)
    for stage in stages[1:]:
        ax.axvline(epochs[stage][0] - 0.5, color=theme.ink, linewidth=0.8, alpha=0.6, zorder=1)
    if len(stages) > 1:
        ax.plot([], [], color=theme.ink, linewidth=0.8, alpha=0.6, label="another stage: other losses")
    best = best_epoch(history)
    if best is not None:
        least = float(history.loc[history["epoch"] == best, "val_loss"].min())
        ax.axvline(best, color=theme.ink, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6, zorder=1)
        label = f"best: epoch {best} ({least:.3g})"
        ring: dict[str, Any] = {
            "markersize": 8,
            "markerfacecolor": "none",
            "markeredgecolor": theme.ink,
            "linestyle": "none",
        }
        ax.plot([best], [least], "o", zorder=5, label=label, **ring)
    ax.set_yscale("log")
    ax.grid(axis="y", which="minor", color=theme.faint, linewidth=0.4)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch", color=theme.ink)
    ax.set_ylabel("loss (log scale)", color=theme.ink)
    ax.legend(frameon=False, labelcolor=theme.ink, fontsize=9)
    return figure_png(figure)


@dataclass(frozen=True, eq=False)
class Strip:
    """One metric over cases. model, rival: (case,) values in the same order, NaN where missing; name: the rival's."""

    title: str
    model: np.ndarray
    rival: np.ndarray
    higher_is_better: bool
    name: str = "identity"


def strips_png(strips: Sequence[Strip], theme: Theme) -> bytes:
    """Return small multiples as a picture: for each metric a line a case, from the rival's value to the model's.

    A line is red where the model is behind the rival. A case with a missing or infinite value is not drawn but
    counted below.

    Args:
        strips: one a metric, from left to right.
        theme: colours.

    Returns:
        PNG bytes.
    """
    figure, axes = chart_axes(2.3 * len(strips) + 0.4, 3.3, len(strips), theme)
    for ax, strip in zip(axes, strips, strict=True):
        pairs = np.stack([strip.rival, strip.model]).astype(float)
        drawn = np.isfinite(pairs).all(axis=0)
        gain = pairs[1] - pairs[0] if strip.higher_is_better else pairs[0] - pairs[1]
        for (rival, model), ahead in zip(pairs[:, drawn].T, gain[drawn] > 0, strict=True):
            color = theme.good if ahead else theme.bad
            ax.plot([0, 1], [rival, model], color=color, alpha=0.55, linewidth=1.2, marker="o", markersize=4.5)
        if drawn.any():
            for x, mean in enumerate(pairs[:, drawn].mean(axis=1)):
                ax.plot([x - 0.16, x + 0.16], [mean, mean], color=theme.ink, linewidth=2.6, solid_capstyle="butt")
        ax.set_xlim(-0.35, 1.35)
        ax.set_xticks([0, 1], [strip.name, "model"], color=theme.ink)
        ax.set_title(strip.title, color=theme.ink, fontsize=10.5, pad=9)
        if not drawn.all():
            text = f"{int((~drawn).sum())} of {drawn.size} not drawn"
            ax.set_xlabel(text + " (no value, or infinite)", color=theme.ink, fontsize=7.5)
    return figure_png(figure)


def chart_axes(width: float, height: float, columns: int, theme: Theme, left: float = 0.7) -> tuple[Figure, list[Axes]]:
    """Return a figure with a row of plain axes in a theme's colours.

    Args:
        width: of the figure, inches.
        height: of the figure, inches.
        columns: how many axes.
        theme: colours.
        left: margin at the left, inches.

    Returns:
        The figure and its axes, from left to right.
    """
    figure = Figure(figsize=(width, height), dpi=170, facecolor=theme.ground)
    FigureCanvasAgg(figure)
    # Margins in inches; matplotlib's layout engine would take longer than everything else in the chart.
    figure.subplots_adjust(left / width, 0.55 / height, 1 - 0.1 / width, 1 - 0.35 / height, wspace=0.42)
    axes = [figure.add_subplot(1, columns, i + 1, facecolor=theme.ground) for i in range(columns)]
    for ax in axes:
        ax.tick_params(colors=theme.ink, which="both", labelsize=8.5)
        ax.grid(axis="y", color=theme.faint, linewidth=0.7)
        ax.set_axisbelow(True)
        for side, spine in ax.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(theme.faint)
    return figure, axes
