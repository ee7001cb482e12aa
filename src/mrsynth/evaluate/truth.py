"""A case as predictions are judged against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mrsynth.core.image import Image
from mrsynth.core.types import CONTRASTS
from mrsynth.io import CaseRow, read_case
from mrsynth.model import Contract
from mrsynth.steps import run_on_grid_of
from mrsynth.steps.absent import steps_without
from mrsynth.steps.needs import contrasts_to_read, is_at_hand


@dataclass(frozen=True)
class Truth:
    """A test case on its own grid with normalised intensities: what predictions are judged against.

    inputs: those of the model that the case has.
    """

    row: CaseRow
    inputs: Mapping[str, Image]
    target: Image
    brain: np.ndarray
    lesion: np.ndarray | None


def read_truth(row: CaseRow, contract: Contract, like: str) -> Truth:
    """Read a case and normalise its intensities on the own grid of one of its contrasts.

    Inputs that the case lacks are left out. Raises InputError where the target is missing, or cannot be normalised
    without one of those (a T1ce that takes the scale of the T1).
    """
    inputs = [name for name in contract.inputs if is_at_hand(row.files, name, contract.steps)]
    names = [*inputs, contract.target]
    steps = steps_without(contract.steps, [name for name in CONTRASTS if name not in names])
    case = run_on_grid_of(read_case(row, contrasts_to_read(row.files, names, steps)), steps, like)
    lesion = case.masks.get("lesion")
    return Truth(
        row,
        {name: case.image(name) for name in inputs},
        case.image(contract.target),
        case.masks["brain"].data > 0,
        None if lesion is None else lesion.data,
    )
