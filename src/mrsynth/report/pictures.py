"""Single pictures of a run for other pages, drawn from its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrsynth.core.files import atomic_file
from mrsynth.drawing.figures import LIGHT, learning_png
from mrsynth.drawing.panels import caption_of, rows_png
from mrsynth.io.columns import read_history
from mrsynth.report.inputs import read_panel


def learning_curves(history: Path, png: Path) -> Path:
    """Write the learning curves of a training history (CSV: epoch, train_loss, val_loss, …) as a picture; returns png.

    Training and validation loss over epochs, loss axis logarithmic, marked where a stage begins and the last stage's
    epoch of the least validation loss.
    Raises InputError, OutputError.
    """
    content = learning_png(read_history(Path(history)), LIGHT)
    with atomic_file(Path(png)) as temporary:
        temporary.write_bytes(content)
    return Path(png)


def panel_png(panel: Path, meta: Mapping[str, Any], path: Path) -> Path:
    """Write one panel file (.npz) as a picture: input, synthetic, truth, difference, SSIM. Returns path.

    meta: its entry of panels.json (`window` is needed). Raises InputError, OutputError.
    """
    one = read_panel(Path(panel), meta)
    content = rows_png([one], [caption_of(one)])
    with atomic_file(Path(path)) as temporary:
        temporary.write_bytes(content)
    return Path(path)
