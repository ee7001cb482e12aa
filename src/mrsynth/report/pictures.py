"""Single pictures of a run for other pages, drawn from its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrsynth.core.files import atomic_file
from mrsynth.drawing.axes import LIGHT
from mrsynth.drawing.figures import learning_png
from mrsynth.io.columns import read_history
from mrsynth.report.panels import caption_of, read_panel, rows_png


def learning_curves(history: Path, png: Path) -> Path:
    """Write the learning curves of a training as a picture.

    It shows training and validation loss over epochs, the loss on a logarithmic axis. Lines mark where a stage begins,
    and the last stage's epoch of the least validation loss.

    Args:
        history: the training history (CSV: epoch, train_loss, val_loss, …).
        png: where the picture is written.

    Returns:
        The path of the picture.

    Raises:
        InputError: the history cannot be read or holds no epoch.
        OutputError: the picture cannot be written.
    """
    content = learning_png(read_history(Path(history)), LIGHT)
    with atomic_file(Path(png)) as temporary:
        temporary.write_bytes(content)
    return Path(png)


def panel_png(panel: Path, meta: Mapping[str, Any], path: Path) -> Path:
    """Write one panel as a picture: input, synthetic, truth, difference, SSIM.

    Args:
        panel: the panel's file (.npz).
        meta: its entry of panels.json; `window` is needed.
        path: where the picture is written.

    Returns:
        The path of the picture.

    Raises:
        InputError: the panel is missing or cannot be used.
        OutputError: the picture cannot be written.
    """
    one = read_panel(Path(panel), meta)
    content = rows_png([one], [caption_of(one)])
    with atomic_file(Path(path)) as temporary:
        temporary.write_bytes(content)
    return Path(path)
