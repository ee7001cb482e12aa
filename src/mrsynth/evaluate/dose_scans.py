"""Scans and predictions of patients at several doses: which there are, and how they are read for a comparison."""

from __future__ import annotations

import filecmp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.image import Case, Image, grid_error
from mrsynth.evaluate.truth import read_as_seen
from mrsynth.io import CaseRow, read_prediction
from mrsynth.io.predictions import PredictedImage, PredictionsRecord, read_predictions, verified
from mrsynth.metrics import build_regions
from mrsynth.model import Contract, load_contract

NEAR = 0.005
"""Doses that differ by less are one: 0.33 and a third."""


@dataclass(frozen=True, eq=False)
class Made:
    """What a model made at doses, by examination (see `by_examination`).

    Attributes:
        label: what a chart calls it.
        contract: of the model.
        folder: of its predictions.
        files: examination → dose → image.
        rows: the first of its cases that was predicted.
        like: the contrast on whose grid the predictions lie.
    """

    label: str
    contract: Contract
    folder: Path
    files: Mapping[str, Mapping[float, PredictedImage]]
    rows: Mapping[str, CaseRow]
    like: Mapping[str, str]

    def image(self, patient: str, dose: float, own: Image) -> np.ndarray:
        """Read a prediction.

        Args:
            patient: the examination.
            dose: one of `files[patient]`, a fraction of the full one.
            own: the image whose grid the prediction must have.

        Returns:
            The image (x, y, z).

        Raises:
            InputError: where the prediction cannot be read, was changed since, or lies on another grid.
        """
        path = verified(self.folder, self.files[patient][dose])
        image = read_prediction(path, self.contract.target)
        if error := grid_error(self.rows[patient].case, own, image):
            raise error
        return image.data


def by_examination(rows: Sequence[CaseRow]) -> list[CaseRow]:
    """Return the rows with the examination in place of the patient.

    Rows of one patient are one examination where T1 and T1ce are the same: one file, or equal files.

    Args:
        rows: of a cohort.

    Returns:
        The rows in their order. The first examination keeps the patient's name; a further one is named by patient and
        first case.
    """
    firsts: dict[str, list[CaseRow]] = {}
    named = []
    for row in rows:
        known = firsts.setdefault(row.patient, [])
        first = next((one for one in known if all(_same_scan(one, row, name) for name in ("t1", "t1ce"))), None)
        if first is None:
            first = row if not known else replace(row, patient=f"{row.patient}, {row.case}")
            known.append(first)
        named.append(replace(row, patient=first.patient))
    return named


def _same_scan(one: CaseRow, other: CaseRow, name: str) -> bool:
    """Return whether two rows have the same scan of a contrast, or both none."""
    first, second = one.files.get(name), other.files.get(name)
    if first is None or second is None or first == second:
        return first == second
    return first.is_file() and second.is_file() and filecmp.cmp(first, second, shallow=False)


def made_at_doses(label: str, run: Path, folder: Path, rows: Sequence[CaseRow]) -> Made:
    """Return what a run's model made of cases, from folder/predictions.json.

    Args:
        label: the model's name in tables and charts.
        run: the run folder.
        folder: of the predictions.
        rows: of `by_examination`.

    Returns:
        The images by examination and dose; see `made_of`.

    Raises:
        InputError: where predictions.json cannot be read.
        ModelError: where the run's contract cannot be read.
    """
    return made_of(label, load_contract(run), folder, read_predictions(folder), rows)


def made_of(
    label: str, contract: Contract, folder: Path, predictions: PredictionsRecord, rows: Sequence[CaseRow]
) -> Made:
    """Return what a model made of cases: each at its dose, or a series.

    Args:
        label: the model's name in tables and charts.
        contract: the model's.
        folder: of the predictions.
        predictions: the folder's record.
        rows: of `by_examination`.

    Returns:
        The images by examination and dose. The first one counts where several cases of an examination were made at one
        dose. A prediction whose dose is not known is left out.
    """
    files: dict[str, dict[float, PredictedImage]] = {}
    first: dict[str, CaseRow] = {}
    like: dict[str, str] = {}
    for row in rows:
        for dose, image in doses_in(predictions, row).items():
            known = files.setdefault(row.patient, {})
            if nearest_dose(known, dose) is None:
                known[dose] = image
            if row.patient not in first:
                first[row.patient] = row
                like[row.patient] = predictions.like(row.case)
    return Made(label, contract, folder, {p: dict(sorted(found.items())) for p, found in files.items()}, first, like)


def doses_in(predictions: PredictionsRecord, row: CaseRow) -> dict[float, PredictedImage]:
    """Return what was made of a case, by dose.

    Args:
        predictions: the record of what was made.
        row: the case.

    Returns:
        Dose → image; {} for a case that was not predicted. The dose is the one that the model was told; of a model that
        is told none, that of the case's low-dose scan. An image whose dose is not known is left out.
    """
    known = predictions.cases.get(row.case)
    if known is None:
        return {}
    doses = [(image, row.dose if image.dosage is None else image.dosage.dose) for image in known.images]
    return {dose: image for image, dose in doses if dose is not None}


def truths_of(predictions: PredictionsRecord, rows: Sequence[CaseRow]) -> list[tuple[CaseRow, str, PredictedImage]]:
    """Pair the images that were made with the scans that they are judged against.

    An image of a model that is told no dose stands against its own case's target; so does a single one where the table
    does not tell the dose of the case's scan. One that was made at a dose stands against its own case's scan at that
    dose, else against the first scan of the examination at it; without one it has no truth. No scan is the truth twice.

    Args:
        predictions: the record of what was made.
        rows: of `by_examination`; scans at doses are those with a t1ld and its dose.

    Returns:
        (the row whose target is the truth, the case that was predicted, its image), once for each truth.
    """
    found: dict[str, tuple[CaseRow, str, PredictedImage]] = {}
    at_doses: list[tuple[CaseRow, dict[float, PredictedImage]]] = []
    for row in rows:
        known = predictions.cases.get(row.case)
        if known is None:
            continue
        first, *others = known.images
        if not others and (first.dosage is None or row.dose is None):
            found[row.case] = (row, row.case, first)
        else:
            at_doses.append((row, doses_in(predictions, row)))
    for row, images in at_doses:
        at = None if row.dose is None or "t1ld" not in row.files else nearest_dose(images, row.dose)
        if at is not None:
            found[row.case] = (row, row.case, images[at])
    for row, images in at_doses:
        scans = scans_at_doses([row, *rows], row.patient)
        for dose, image in images.items():
            at = nearest_dose(scans, dose)
            if at is not None:
                found.setdefault(scans[at].case, (scans[at], row.case, image))
    return list(found.values())


def nearest_dose(known: Mapping[float, Any], dose: float) -> float | None:
    """Return the dose among known ones that is the same as another.

    Args:
        known: its keys are doses.
        dose: the one to look for.

    Returns:
        The first known dose that differs by less than NEAR; None where there is none.
    """
    return next((one for one in known if abs(one - dose) < NEAR), None)


def scans_at_doses(rows: Sequence[CaseRow], patient: str) -> dict[float, CaseRow]:
    """Return the low-dose scans of an examination.

    Args:
        rows: of `by_examination`.
        patient: the examination.

    Returns:
        Dose → the first row with a t1ld at it, by rising dose.
    """
    found: dict[float, CaseRow] = {}
    for row in rows:
        if row.patient != patient or row.dose is None or "t1ld" not in row.files:
            continue
        if nearest_dose(found, row.dose) is None:
            found[row.dose] = row
    return dict(sorted(found.items()))


@dataclass(frozen=True, eq=False)
class DosePatient:
    """A patient before, after a share of and after the full dose: scans (x, y, z) on one grid, as a model saw them.

    Attributes:
        row: of the cohort table, where T1 and T1ce stand.
        native, standard: before contrast, and after the full dose.
        low: dose → scan, those that are there.
        own: the image whose grid it is.
        regions: of `build_regions`.
    """

    row: CaseRow
    native: np.ndarray
    standard: np.ndarray
    low: Mapping[float, np.ndarray]
    own: Image
    regions: Mapping[str, np.ndarray]


def read_patient(row: CaseRow, low: Mapping[float, CaseRow], contract: Contract, like: str) -> DosePatient:
    """Read a patient's scans, prepared as a model saw them, on the own grid of one contrast.

    Args:
        row: where T1 and T1ce stand.
        low: dose → the row of the low-dose scan.
        contract: the model's; it names the steps.
        like: the contrast whose grid it is.

    Returns:
        The scans and the regions. A voxel enhances where standard − native is above 0.1, a tenth of the native brain's
        0.95 quantile (pinetz2023).

    Raises:
        InputError: where T1 or T1ce is missing, or a scan cannot be read or lies on another grid.
    """
    for name in ("t1", "t1ce"):
        if name not in row.files:
            raise InputError(f"{row.case}: enhancement needs a T1 before and after contrast.", found=f"no {name}")

    def read(one: CaseRow) -> Case:
        return read_as_seen(one, [name for name in ("t1", "t1ce", "t1ld") if name in one.files], contract, like)

    base = read(row)
    scans = {dose: base if one is row else read(one) for dose, one in low.items()}
    for case in scans.values():
        if error := grid_error(row.case, base.images[like], case.images["t1ld"]):
            raise error
    native, standard = base.images["t1"].data, base.images["t1ce"].data
    lesion = base.masks.get("lesion")
    labels = None if lesion is None else lesion.data
    regions = build_regions(native.shape, base.masks["brain"].data > 0, labels, native, standard)
    images = {dose: case.images["t1ld"].data for dose, case in scans.items()}
    return DosePatient(row, native, standard, images, base.images[like], regions)
