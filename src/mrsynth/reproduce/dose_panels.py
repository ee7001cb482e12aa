"""Panels of a patient at several doses, as Figure 4 of pinetz2023: a row of true scans, a row of each model's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mrsynth.drawing.plates import Plate, PlateRow, Tile, plate_png
from mrsynth.evaluate.dose_scans import DosePatient, Made, nearest_dose, read_patient, scans_at_doses
from mrsynth.io import CaseRow
from mrsynth.reproduce.chart_settings import ChartSettings
from mrsynth.reproduce.scans import choose_cases, largest_part, tumour_ml

NOTE = (
    "SYNTHETIC: never acquired. Left of the picture is the patient's right. Brain alone, 1 is the native brain's 0.95 "
    "quantile; one grey window a patient. Patients by tumour volume, evenly, not by result. Research software, not a "
    "medical device."
)


def panels_png(
    settings: ChartSettings, made: Sequence[Made], rows: Sequence[CaseRow]
) -> tuple[bytes, str, list[str]] | str:
    """Return native, low doses and standard dose of chosen patients as a picture.

    Its columns are the doses that any model made. Its rows are the true scans, then each model's images; with
    settings.zoom_mm the same stands once more around the lesion.

    Args:
        settings: the chart; it says which patients are chosen.
        made: the predictions of each model.
        rows: the cases among which the true scans at other doses are found.

    Returns:
        PNG bytes, what the picture shows in words and the patients; or why it cannot be drawn.

    Raises:
        InputError: a scan or a prediction cannot be read.
    """
    first = {row.patient: row for one in reversed(made) for row in one.rows.values()}
    chosen = choose_cases({patient: tumour_ml(row) for patient, row in first.items()}, settings.cases)
    if not chosen:
        return "no such patient was predicted"
    doses: dict[float, None] = {}
    for dose in sorted(dose for one in made for patient in chosen for dose in one.files.get(patient, ())):
        if nearest_dose(doses, dose) is None:
            doses[dose] = None
    drawn: list[PlateRow] = []
    for patient in chosen:
        one = next(one for one in made if patient in one.files)
        low = scans_at_doses([first[patient], *rows], patient)
        scans = read_patient(first[patient], low, one.contract, one.like[patient])
        drawn += _rows(scans, patient, made, list(doses), settings.zoom_mm)
    columns = ("native", *(f"{dose:.0%}" for dose in doses), "standard dose")
    alt = f"{', '.join(chosen)} at {', '.join(columns)}: true scans, {', '.join(one.label for one in made)}"
    return plate_png(Plate(columns, tuple(drawn), NOTE)), alt, chosen


def _rows(
    scans: DosePatient, patient: str, made: Sequence[Made], doses: Sequence[float], zoom_mm: float | None
) -> list[PlateRow]:
    """Return the rows of a patient: true scans and each model's, and around the lesion."""
    lesion = scans.regions.get("lesion", np.zeros_like(scans.regions["brain"]))
    enhancing = lesion & scans.regions["enhancing"]
    area = next(mask for mask in (enhancing, lesion, scans.regions["brain"]) if mask.any())
    k = int(np.argmax(area.sum(axis=(0, 1))))
    brain = scans.regions["brain"][..., k]
    x_mm, y_mm, _ = scans.own.spacing_mm
    window = (0.0, float(np.percentile(scans.standard[..., k][brain], 99.8)))

    def tile(image: np.ndarray, synthetic: bool) -> Tile:
        return Tile("image", np.where(brain, image[..., k], 0).astype(np.float32), synthetic)

    def row(label: str, tiles: Sequence[Tile]) -> PlateRow:
        return PlateRow(f"{patient}, slice {k}\n{label}", tuple(tiles), window, brain, (x_mm, y_mm))

    ends = tile(scans.native, False), tile(scans.standard, False)
    none = Tile("image", None, words="no scan at this dose")
    true = [none if (at := nearest_dose(scans.low, dose)) is None else tile(scans.low[at], False) for dose in doses]
    rows = [row("true scans", [ends[0], *true, ends[1]])]
    blank, absent = Tile("image", None), Tile("image", None, words="not made")
    for one in (one for one in made if patient in one.files):
        at_doses = [nearest_dose(one.files[patient], dose) for dose in doses]
        tiles = [absent if at is None else tile(one.image(patient, at, scans.own), True) for at in at_doses]
        rows.append(row(one.label, [blank, *tiles, blank]))
    if zoom_mm is None or not lesion[..., k].any():
        return rows
    part = largest_part(enhancing[..., k] if enhancing[..., k].any() else lesion[..., k])
    return rows + [replace(one, caption=f"{one.caption}, lesion", region=part, side_mm=zoom_mm) for one in rows]
