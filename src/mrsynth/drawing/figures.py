"""The charts: learning curves (Fig. 3 of Osman & Tamam 2022) and each case under the model and its best rival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from mrsynth.core.errors import InputError
from mrsynth.drawing.axes import Theme, chart_axes, figure_png, label, legend


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
    for name, color, words in (("train_loss", theme.second, "training"), ("val_loss", theme.first, "validation")):
        loss = history[name].to_numpy(float)
        shown = np.where(np.isfinite(loss) & (loss > 0), loss, np.nan)
        for number, stage in enumerate(stages):  # not joined: another stage's losses weigh otherwise
            style: dict[str, Any] = {"color": color, "label": None if number else words, "linewidth": 1.8}
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
        words = f"best: epoch {best} ({least:.3g})"
        ring: dict[str, Any] = {
            "markersize": 8,
            "markerfacecolor": "none",
            "markeredgecolor": theme.ink,
            "linestyle": "none",
        }
        ax.plot([best], [least], "o", zorder=5, label=words, **ring)
    ax.set_yscale("log")
    ax.grid(axis="y", which="minor", color=theme.faint, linewidth=0.4)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    label(ax, theme, x="epoch", y="loss (log scale)")
    legend(ax, theme)
    return figure_png(figure)


@dataclass(frozen=True, eq=False)
class Strip:
    """One metric over cases.

    Attributes:
        title: above it.
        model, rival: (case,) values in the same order, NaN where missing.
        higher_is_better: whether a higher value is better.
        name: the rival's.
    """

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
        label(ax, theme, title=strip.title)
        if not drawn.all():
            text = f"{int((~drawn).sum())} of {drawn.size} not drawn"
            ax.set_xlabel(text + " (no value, or infinite)", color=theme.ink, fontsize=7.5)
    return figure_png(figure)
