"""A case as predictions are judged against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mrsynth.image import Image
from mrsynth.io import CaseRow, read_case
from mrsynth.model import Contract
from mrsynth.prepare import run_steps


@dataclass(frozen=True)
class Truth:
    """A test case on its own grid with normalised intensities: what predictions are judged against."""

    row: CaseRow
    inputs: Mapping[str, Image]
    target: Image
    brain: np.ndarray
    lesion: np.ndarray | None


def read_truth(row: CaseRow, contract: Contract) -> Truth:
    """Read a case and normalise its intensities on its own grid."""
    case, _ = run_steps(read_case(row, [*contract.inputs, contract.target]), contract.steps, kinds=("intensity",))
    lesion = case.masks.get("lesion")
    return Truth(
        row,
        {name: case.image(name) for name in contract.inputs},
        case.image(contract.target),
        case.masks["brain"].data > 0,
        None if lesion is None else lesion.data,
    )
