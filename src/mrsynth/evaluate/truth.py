"""A case as predictions are judged against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mrsynth.core.image import Case, Image
from mrsynth.core.types import CONTRASTS
from mrsynth.io import CaseRow, read_case
from mrsynth.model import Contract
from mrsynth.steps import run_on_grid_of
from mrsynth.steps.absent import steps_without
from mrsynth.steps.needs import contrasts_to_read, is_at_hand


@dataclass(frozen=True)
class Truth:
    """A test case on its own grid with normalised intensities: what predictions are judged against.

    Attributes:
        row: of the cohort table.
        inputs: those of the model that the case has.
        target: the true image.
        brain: (x, y, z) mask.
        lesion: its labels inside the brain, None where the case has none.
        cut_off: the share of the lesion that lies outside of the brain.
    """

    row: CaseRow
    inputs: Mapping[str, Image]
    target: Image
    brain: np.ndarray
    lesion: np.ndarray | None
    cut_off: float = 0.0


def read_truth(row: CaseRow, contract: Contract, like: str) -> Truth:
    """Read a case and normalise its intensities on the own grid of one of its contrasts.

    Args:
        row: of the cohort table. Inputs that the case lacks are left out.
        contract: of the model; it names inputs, target and steps.
        like: the contrast whose grid it is.

    Returns:
        The case, its lesion labels cut to the brain.

    Raises:
        InputError: where the target is missing, cannot be read, or cannot be normalised without an input that the case
            lacks (a T1ce that takes the scale of the T1).
    """
    inputs = [name for name in contract.inputs if is_at_hand(row.files, name, contract.steps)]
    names = [*inputs, contract.target]
    case = read_as_seen(row, names, contract, like)
    brain = case.masks["brain"].data > 0
    lesion = case.masks["lesion"].data if "lesion" in case.masks else None
    inside = None if lesion is None else np.where(brain, lesion, 0)
    labelled, kept = (0 if labels is None else int(np.count_nonzero(labels)) for labels in (lesion, inside))
    return Truth(
        row,
        {name: case.image(name) for name in inputs},
        case.image(contract.target),
        brain,
        inside,
        1 - kept / labelled if labelled else 0.0,
    )


def read_as_seen(row: CaseRow, names: Sequence[str], contract: Contract, like: str) -> Case:
    """Read a case as a model saw it, on the own grid of one of its images.

    Args:
        row: of the cohort table.
        names: contrasts to read; an ADC may be fitted from what is there.
        contract: of the model: its steps, without what concerns other contrasts.
        like: the contrast whose grid it is.

    Returns:
        The case, its intensities normalised; with the brain, and the other masks that it has.

    Raises:
        InputError: where an image is missing, or cannot be read or prepared.
    """
    steps = steps_without(contract.steps, [name for name in CONTRASTS if name not in names])
    return run_on_grid_of(read_case(row, contrasts_to_read(row.files, names, steps)), steps, like)
