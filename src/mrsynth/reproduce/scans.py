"""The test cases that a study's plates show: which, and their scans as the models saw them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from mrsynth.core.image import Image
from mrsynth.evaluate.truth import read_as_seen
from mrsynth.io import CaseRow
from mrsynth.io.labels import COLUMN, read_lesion
from mrsynth.metrics.measure_tumour import TUMOUR_CORE
from mrsynth.metrics.regions import LABEL_REGIONS
from mrsynth.model import Contract
from mrsynth.reproduce.plate_settings import CaseChoice
from mrsynth.steps.needs import is_at_hand

TUMOUR_CORE_LABELS = [label for label, name in LABEL_REGIONS.items() if name in TUMOUR_CORE]
"""The labels of a lesion mask that are tumour: the very region that the tables judge."""


@dataclass(frozen=True, eq=False)
class Scans:
    """A case as its predictions are judged: normalised scans on one grid.

    Attributes:
        row: of the cohort table.
        images: contrast → (x, y, z).
        own: the image whose grid it is.
        brain: (x, y, z) mask.
        tumour: (x, y, z) mask.
    """

    row: CaseRow
    images: Mapping[str, np.ndarray]
    own: Image
    brain: np.ndarray
    tumour: np.ndarray

    @property
    def fullest(self) -> int:
        """The axial slice with most tumour, without tumour that with most brain."""
        area = self.tumour if self.tumour.any() else self.brain
        return int(np.argmax(area.sum(axis=(0, 1))))

    def through(self, count: int) -> list[int]:
        """Return axial slices, evenly where the brain has half its largest area or more; the fullest is one of them."""
        area = self.brain.sum(axis=(0, 1))
        inside = np.flatnonzero(area >= area.max() / 2)
        at = np.unique(np.linspace(inside[0], inside[-1], count).round().astype(int))
        at[np.argmin(np.abs(at - self.fullest))] = self.fullest
        return sorted(set(at.tolist()))


def tumour_ml(row: CaseRow) -> float:
    """Return the volume of a case's tumour core in ml, 0 where it has none or no lesion mask."""
    if "lesion" not in row.files:
        return 0.0
    mask = read_lesion(row.files["lesion"], row.metadata.get(COLUMN, ""))
    return float(np.isin(mask.data, TUMOUR_CORE_LABELS).sum() * np.prod(mask.spacing_mm) / 1000)


def largest_part(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected part of a mask (x, y)."""
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=2)[1:]
    return np.asarray(labels == int(np.argmax(sizes)) + 1) if count else mask


def choose_cases(tumour_ml: Mapping[str, float], choice: CaseChoice) -> list[str]:
    """Return the cases to show: those without a tumour first, then the others by its volume. Results play no part.

    They are taken evenly: the middle of each of as many equal groups as cases are wanted.

    Args:
        tumour_ml: case → volume of its tumour, ml.
        choice: how many of each kind are wanted.
    """
    without = sorted(case for case, volume in tumour_ml.items() if volume == 0)
    within = sorted((case for case, volume in tumour_ml.items() if volume > 0), key=lambda c: (tumour_ml[c], c))
    chosen = []
    for cases, count in ((without, choice.without_tumour), (within, choice.with_tumour)):
        wanted = min(count, len(cases))
        chosen += [cases[int((i + 0.5) / wanted * len(cases))] for i in range(wanted)]
    return chosen


def read_scans(row: CaseRow, wanted: Iterable[str], contract: Contract, like: str) -> Scans:
    """Read scans of a case, normalised as a model saw them, on one grid.

    Args:
        row: the case.
        wanted: contrasts beside those that the model needs; one that the case does not have is left out.
        contract: of the model.
        like: the contrast on whose own grid the scans are read.

    Raises:
        InputError: a scan cannot be read or prepared.
    """
    shown = [name for name in wanted if is_at_hand(row.files, name, contract.steps)]
    names = list(dict.fromkeys([*contract.inputs, contract.target, *shown]))
    case = read_as_seen(row, names, contract, like)
    own, lesion = case.image(like), case.masks.get("lesion")
    tumour = np.zeros(own.data.shape, bool) if lesion is None else np.isin(lesion.data, TUMOUR_CORE_LABELS)
    images = {name: image.data for name, image in case.images.items()}
    return Scans(row, images, own, case.masks["brain"].data > 0, tumour)
