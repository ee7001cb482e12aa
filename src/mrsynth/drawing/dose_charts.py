"""Charts of synthesized doses: enhancement over the dose, spectrum of the noise, contrast and noise by patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from mrsynth.drawing.axes import LIGHT, Theme, chart_axes, figure_png, label, legend, legend_below

TRUTH = "true scans"
"""The label of what was acquired, in all tables of these charts."""


def response_png(frame: pd.DataFrame, trained: Sequence[float], theme: Theme = LIGHT) -> bytes:
    """Return mean enhancement over the dose as a picture: a chart a tissue, then the lesions of each label.

    Of a tissue the chart shows the mean over patients. Of a lesion it shows a line, red where the lesion falls with a
    higher dose.

    Args:
        frame: label, patient, region, dose, enhancement; regions `lesion#…` are single lesions, all others tissues.
        trained: doses of the training cases, as shares of the full dose; each chart marks them.
        theme: colours.

    Returns:
        PNG bytes.
    """
    single = frame["region"].str.startswith("lesion#")
    labels = _labels(frame)
    tissues = list(dict.fromkeys(frame.loc[~single, "region"]))
    columns = max(min(len(tissues), 6), len(labels) if single.any() else 0)
    above = -(-len(tissues) // columns)
    rows = above + bool(single.any())
    figure, axes = chart_axes(3.1 * columns + 0.3, 2.7 * rows + 0.6, columns, theme, rows=rows)
    colors = _colors(labels, theme)
    for ax, tissue in zip(axes, tissues, strict=False):
        for name in labels:
            means = frame[(frame["region"] == tissue) & (frame["label"] == name)].groupby("dose")["enhancement"].mean()
            ax.plot(means.index, means, color=colors[name], marker="o", markersize=3.5, linewidth=1.5, label=name)
        patients = frame.loc[frame["region"] == tissue, "patient"].nunique()
        _mark(ax, f"{tissue.replace('_', ' ')} ({patients})", trained, theme)
    for ax, name in zip(axes[above * columns :], labels, strict=False):
        lesions = frame[single & (frame["label"] == name)]
        falling, count = _draw_lesions(ax, lesions, theme, colors[name])
        _mark(ax, f"lesions, {name}\nfalling with a higher dose: {falling} of {count}", trained, theme)
    if single.any():  # one scale for the lesions of all labels
        below = axes[above * columns : above * columns + len(labels)]
        values = frame.loc[single, "enhancement"]
        room = 0.05 * float(np.ptp(values)) or 0.1
        for ax in below:
            ax.set_ylim(values.min() - room, values.max() + room)
    for ax in axes:
        ax.set_visible(bool(ax.get_title()))
    legend_below(figure, axes, theme, columns=6, bottom=0.85, place="lower left")
    note = "dotted: doses of the training cases; in brackets: patients"
    figure.text(0.99, 0.12 / figure.get_size_inches()[1], note, color=theme.ink, fontsize=7.5, ha="right")
    return figure_png(figure)


def _draw_lesions(ax: Axes, lesions: pd.DataFrame, theme: Theme, color: str) -> tuple[int, int]:
    """Draw a line a lesion; returns how many fall between the doses that are neither none nor full, and how many have
    two such doses."""
    falling = count = 0
    for _, one in lesions.groupby(["patient", "region"], sort=False):
        one = one.sort_values("dose")
        between = one.loc[one["dose"].between(0, 1, inclusive="neither"), "enhancement"].to_numpy(float)
        falls = bool((np.diff(between) < 0).any())
        count += between.size > 1
        falling += falls
        ax.plot(
            one["dose"], one["enhancement"], color=theme.bad if falls else color, alpha=0.95 if falls else 0.5,
            linewidth=1.0, marker="o", markersize=2, zorder=3 if falls else 2,
        )  # fmt: skip
    return falling, count


def spectrum_png(frame: pd.DataFrame, theme: Theme = LIGHT) -> bytes:
    """Return the spectrum of the noise as a picture, and beside it the same over that of the true scans.

    Both are means over scans. A label is divided by the true scans of the same patients at the same doses.

    Args:
        frame: label, patient, dose, frequency_per_mm (cycles per mm), power (units² mm³); the true scans are among the
            labels.
        theme: colours.

    Returns:
        PNG bytes.
    """
    figure, axes = chart_axes(9.6, 3.7, 2, theme)
    labels = _labels(frame)
    colors = _colors(labels, theme)
    ends = frame.groupby(["patient", "dose", "label"])["frequency_per_mm"].agg(["min", "max"])
    at = np.linspace(ends["min"].max(), ends["max"].min(), 80)
    scans: dict[str, dict[object, np.ndarray]] = {name: {} for name in labels}
    for (name, *scan), one in frame.groupby(["label", "patient", "dose"]):
        scans[str(name)][tuple(scan)] = np.interp(at, one["frequency_per_mm"], one["power"])
    for name, own in scans.items():
        mean = np.mean(list(own.values()), axis=0)
        axes[0].plot(at, mean, color=colors[name], label=name, linewidth=1.7)
        if name != TRUTH:
            true = np.mean([scans[TRUTH][scan] for scan in own], axis=0)
            axes[1].plot(at, mean / true, color=colors[name], label=name, linewidth=1.7)
    axes[0].set_yscale("log")
    axes[1].axhline(1, color=theme.ink, linewidth=1, linestyle=(0, (4, 3)))
    axes[1].set_ylim(0, None)
    for ax, title in zip(axes, ("power of low dose − native, units² mm³", "over that of the true scans"), strict=True):
        label(ax, theme, title=title, x="cycles per mm")
    legend(axes[0], theme)
    return figure_png(figure)


def contrast_noise_png(frame: pd.DataFrame, theme: Theme = LIGHT) -> bytes:
    """Return contrast and noise of the scans beside the truth as a picture (pinetz2023, Figure 8).

    On the left, histograms show how far each scan is from the truth. On the right, violins show how the scans are
    distributed, beside the truth.

    Args:
        frame: a row a scan: label, patient, dose, contrast, contrast_truth, noise, noise_truth.
        theme: colours.

    Returns:
        PNG bytes.
    """
    figure, axes = chart_axes(9.9, 6.6, 2, theme, rows=2)
    labels = _labels(frame)
    colors = _colors([TRUTH, *labels], theme)
    words = {"contrast": "contrast where it enhances", "noise": "standard deviation elsewhere"}
    for number, (name, title) in enumerate(words.items()):
        histogram, violins = axes[2 * number : 2 * number + 2]
        errors = {one: (part[name] - part[f"{name}_truth"]).abs().dropna() for one, part in frame.groupby("label")}
        edges = np.linspace(0, max((e.max() for e in errors.values() if len(e)), default=1.0) or 1.0, 16)
        for one in labels:
            histogram.hist(errors[one], edges.tolist(), color=colors[one], histtype="step", linewidth=1.7, label=one)
            histogram.axvline(errors[one].mean(), color=colors[one], linewidth=1, linestyle=(0, (4, 3)))
        label(histogram, theme, title=f"error of the {title} (dashed: mean)", y="scans")
        once = frame.drop_duplicates(["patient", "dose"])
        groups = {TRUTH: once[f"{name}_truth"], **{one: frame.loc[frame["label"] == one, name] for one in labels}}
        for place, (one, values) in enumerate(groups.items()):
            _violin(violins, place, values.dropna().to_numpy(float), colors[one])
        violins.set_xticks(range(len(groups)), list(groups), color=theme.ink)
        label(violins, theme, title=f"{title}, each scan")
    legend(axes[0], theme)
    return figure_png(figure)


def _violin(ax: Axes, place: int, values: np.ndarray, color: str) -> None:
    """Draw the density of values at a place, and each of them; values that are all equal have no density."""
    if values.size > 1 and np.ptp(values) > 0:
        for body in cast(
            list[PolyCollection], ax.violinplot(values, [place], widths=0.75, showextrema=False)["bodies"]
        ):
            body.set(facecolor=color, edgecolor=color, alpha=0.35)
    shift = np.linspace(-0.07, 0.07, values.size) if values.size > 1 else np.zeros(values.size)
    ax.plot(place + shift, values, "o", color=color, markersize=2.6, alpha=0.8)
    if values.size:
        ax.plot([place - 0.2, place + 0.2], [np.median(values)] * 2, color=color, linewidth=2)


def _labels(frame: pd.DataFrame) -> list[str]:
    """Return the labels of a table, the truth first where it has rows of its own."""
    found = [str(label) for label in dict.fromkeys(frame["label"])]
    return sorted(found, key=lambda label: label != TRUTH)


def _colors(labels: Sequence[str], theme: Theme) -> dict[str, str]:
    """Return a colour a label, the truth in ink."""
    others = [label for label in labels if label != TRUTH]
    palette = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    return {TRUTH: theme.ink, **{label: palette[number % 10] for number, label in enumerate(others)}}


def _mark(ax: Axes, title: str, trained: Sequence[float], theme: Theme) -> None:
    """Write a chart's title and mark the trained doses on its lower edge."""
    label(ax, theme, title=title, x="dose, as a share of the full one", y="mean enhancement")
    ax.axhline(0, color=theme.faint, linewidth=1)
    for dose in trained:
        ax.axvline(dose, color=theme.faint, linewidth=1.1, linestyle=(0, (2, 2)), zorder=1)
    ax.set_xlim(-0.03, 1.03)
