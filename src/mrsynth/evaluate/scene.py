"""What the viewer shows of a judged case: its inputs, the synthetic image (or the series of doses) and the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mrsynth.core.image import Image, grid_error
from mrsynth.drawing.viewer import Kind, Shown, write_case
from mrsynth.evaluate.truth import Truth
from mrsynth.io import read_prediction
from mrsynth.model import Contract


def write_scene(
    folder: Path,
    truth: Truth,
    made: Mapping[float | None, Path],
    contract: Contract,
    half: np.ndarray | None = None,
) -> Path:
    """Write the script of a case for the viewer.

    Args:
        folder: where viewer.html will stand.
        truth: the case on its own grid.
        made: dose → synthetic image; of a model without doses None → image.
        contract: the model's.
        half: (x, y, z), how far the image may be wrong; None where the model did not say.

    Returns:
        The script.

    Raises:
        InputError: a synthetic image cannot be read or lies on another grid.
        OutputError: the script cannot be written.
    """
    shades = _shades(truth.target.data, truth.brain, contract)
    shown = [
        _shown("input", name.upper(), image, _shades(image.data, truth.brain, contract), contract)
        for name, image in truth.inputs.items()
    ]
    for dose, path in made.items():
        image = read_prediction(path, contract.target)
        if error := grid_error(truth.row.case, truth.target, image):
            raise error
        shown.append(_shown("synthetic", contract.target.upper(), image, shades, contract, dose))
    target = truth.target
    shown.append(_shown("truth", target.contrast.upper(), target, shades, contract))
    if half is not None:
        most = max(float(np.percentile(half[truth.brain], 99)) if truth.brain.any() else 0.0, 1e-6)
        shown.append(Shown("error", "Expected error", half, np.asarray(target.affine, float), (0, most), (0, most)))
    return write_case(folder, truth.row.case, shown)


def _shown(
    kind: Kind,
    label: str,
    image: Image,
    window: tuple[float, float],
    contract: Contract,
    dose: float | None = None,
) -> Shown:
    """Return a volume for the viewer, kept in the model's range."""
    return Shown(kind, label, image.data, np.asarray(image.affine, float), contract.range, window, dose)


def _shades(data: np.ndarray, brain: np.ndarray, contract: Contract) -> tuple[float, float]:
    """Return the window in which a normalised image is shown at first: all but the brightest voxels of the brain."""
    low, high = contract.range
    top = float(np.percentile(data[brain], 99.8)) if brain.any() else high
    return low, top if top > low else high
