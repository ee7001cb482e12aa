"""The charts of synthesized doses: response to the dose, spectrum of the noise, statistics and panels (pinetz2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrsynth.evaluate.dose_response import enhancement, is_lesion, is_monotone, response_regions
from mrsynth.evaluate.noise_level import residual_sd
from mrsynth.evaluate.noise_spectrum import radial_spectrum
from mrsynth.io import CaseRow, Cohort
from mrsynth.io.files import atomic_file, safe_name, write_text
from mrsynth.recipes.charts import ChartSettings
from mrsynth.recipes.stages.dose_panels import panels_png
from mrsynth.recipes.stages.dose_scans import (
    DosePatient,
    Made,
    made_at_doses,
    nearest_dose,
    read_patient,
    scans_at_doses,
)
from mrsynth.report.dose_charts import TRUTH, contrast_noise_png, response_png, spectrum_png

REGIONS = ("enhancing", "non_enhancing")
"""Where contrast and where noise is measured (pinetz2023, supplement)."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What a chart may show. made: predictions, those of low-dose scans first; rows: the cases of patients that no
    model has seen; trained: doses of the training cases."""

    made: Sequence[Made]
    rows: Sequence[CaseRow]
    trained: Sequence[float]

    @property
    def patients(self) -> list[str]:
        """The patients with a prediction."""
        return list(dict.fromkeys(patient for made in self.made for patient in made.files))

    def patient(self, name: str) -> DosePatient:
        """Read a patient as the first model that predicted it saw it: what is predicted counts before other rows."""
        made = next(one for one in self.made if name in one.files)
        own = made.rows[name]
        return read_patient(own, scans_at_doses([own, *self.rows], name), made.contract, made.like[name])


def dose_chart(name: str, settings: ChartSettings, shown: Shown, folder: Path) -> tuple[bytes, str, list[str]] | str:
    """Return a chart, what it shows in words and its cases; or why it cannot be drawn.

    The numbers behind a chart go to folder/<name>.csv. Raises InputError where a scan or a prediction cannot be read.
    """
    if not shown.patients:
        return "no run is finished, or none predicted a dose"
    labels = ", ".join(made.label for made in shown.made)
    if settings.dose_panels:
        return panels_png(settings, shown.made, shown.rows)
    low = Shown([made for made in shown.made if made.contract.target == "t1ld"], shown.rows, shown.trained)
    if not low.patients:
        return "no run makes low-dose scans"
    if settings.dose_response:
        frame = responses(low)
        alt = f"Mean enhancement over the dose: {labels}; {in_words(monotony(frame))}"
        png = response_png(frame, low.trained)
    elif settings.noise_spectrum:
        frame, alt = spectra(low), f"Noise spectrum beside that of the true scans: {labels}"
        png = spectrum_png(frame) if len(frame) else b""
    else:
        frame, alt = statistics(low), f"Contrast and noise by patient: {labels}"
        png = contrast_noise_png(frame) if len(frame) else b""
    if frame.empty:
        return "no true scan at a dose that was predicted"
    write_frame(frame, folder / f"{safe_name(name)}.csv")
    return png, alt, low.patients


def _walk(shown: Shown) -> Iterator[tuple[str, DosePatient, Made, float, np.ndarray]]:
    """Yield (patient, its scans, what made it, dose, image) of every prediction, patient by patient."""
    for name in shown.patients:
        scans = shown.patient(name)
        for made in shown.made:
            for dose in made.files.get(name, ()):
                yield name, scans, made, dose, made.image(name, dose, scans.own)


def responses(shown: Shown) -> pd.DataFrame:
    """Return the mean enhancement of every tissue and lesion at every dose.

    Columns: label (TRUTH for scans, which have dose 0 and 1 too), patient, region, dose, voxels, enhancement.
    """
    lines = []
    for name in shown.patients:
        scans = shown.patient(name)
        images = [(TRUTH, dose, image) for dose, image in {0.0: scans.native, **scans.low, 1.0: scans.standard}.items()]
        images += [(m.label, d, m.image(name, d, scans.own)) for m in shown.made for d in m.files.get(name, ())]
        for region, mask in response_regions(scans.regions).items():
            for label, dose, image in images:
                lines.append((label, name, region, dose, int(mask.sum()), enhancement(image, scans.native, mask)))
    return pd.DataFrame(lines, columns=["label", "patient", "region", "dose", "voxels", "enhancement"])


def monotony(frame: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return for each label of `responses` how many lesions were followed over two doses or more, and in how many the
    enhancement falls from one dose to the next; of the scans at the doses between none and the full one."""
    found: dict[str, dict[str, int]] = {}
    lesions = frame[frame["region"].map(is_lesion) & frame["dose"].between(0, 1, inclusive="neither")]
    for (label, _, _), one in lesions.groupby(["label", "patient", "region"], sort=False):
        if len(one) < 2:
            continue
        count = found.setdefault(str(label), {"lesions": 0, "falling": 0})
        count["lesions"] += 1
        count["falling"] += not is_monotone(one["dose"].tolist(), one["enhancement"].tolist())
    return found


def in_words(found: Mapping[str, Mapping[str, int]]) -> str:
    """Return what `monotony` found as words."""
    if not found:
        return "no lesion was followed over two doses"
    parts = [f"{label} in {one['falling']} of {one['lesions']}" for label, one in found.items()]
    return "lesions whose enhancement falls with a higher dose: " + ", ".join(parts)


def spectra(shown: Shown) -> pd.DataFrame:
    """Return the spectrum of low dose − native where nothing enhances and no lesion is, of predictions and scans.

    The difference to the native scan has no anatomy in it, in a patient as in a phantom: it is the noise of both scans,
    and what the pinetz2023 supplement takes for noise. Only doses with a true scan. Columns: label, patient, dose,
    frequency_per_mm, power.
    """
    parts, known = [], set()
    for name, scans, made, dose, image in _walk(shown):
        true = nearest_dose(scans.low, dose)
        if true is None:
            continue
        inside = scans.regions["non_enhancing"] & ~scans.regions.get("lesion", np.zeros_like(scans.regions["brain"]))
        images = {made.label: image} | ({} if (name, true) in known else {TRUTH: scans.low[true]})
        known.add((name, true))
        for label, one in images.items():
            found = radial_spectrum(one - scans.native, inside, scans.own.spacing_mm)
            columns = {"frequency_per_mm": found.frequency_per_mm, "power": found.power}
            parts.append(pd.DataFrame({"label": label, "patient": name, "dose": true, **columns}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def statistics(shown: Shown) -> pd.DataFrame:
    """Return the mean enhancement of the voxels that enhance and the standard deviation of the others, as preset
    pinetz2023 measures them: columns label, patient, dose, contrast, noise and both of the truth (contrast_truth …)."""
    lines = []
    for name, scans, made, dose, image in _walk(shown):
        true = nearest_dose(scans.low, dose)
        if true is None:
            continue
        pair = (image, scans.low[true])
        contrast = [enhancement(one, scans.native, scans.regions[REGIONS[0]]) for one in pair]
        noise = [residual_sd(one, scans.native, scans.regions[REGIONS[1]]) for one in pair]
        lines.append((made.label, name, dose, *contrast, *noise))
    columns = ["label", "patient", "dose", "contrast", "contrast_truth", "noise", "noise_truth"]
    return pd.DataFrame(lines, columns=columns)


def write_response(
    run: Path, predictions: Path, rows: Sequence[CaseRow], cohort: Cohort, out: Path
) -> dict[str, Any] | None:
    """Write dose_response.png and .csv of a run's predictions of these cases into a folder.

    Returns `in_words` how many lesions fall, and the doses `trained`; None, with nothing written, where no patient was
    predicted at two doses. Raises InputError as `responses` does.
    """
    made = made_at_doses("model", run, predictions, rows)
    if made.contract.target != "t1ld" or all(len(files) < 2 for files in made.files.values()):
        return None
    patients = made.contract.training.get("patients", {}).get("train", ())
    trained = {row.dose for row in cohort.rows if row.patient in patients and row.dose is not None}
    shown = Shown([made], rows, sorted(trained))
    frame = responses(shown)
    with atomic_file(out / "dose_response.png") as temporary:
        temporary.write_bytes(response_png(frame, shown.trained))
    write_frame(frame, out / "dose_response.csv")
    return {"in_words": in_words(monotony(frame)), "trained": shown.trained}


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write the numbers behind a chart."""
    write_text(path, frame.to_csv(index=False, float_format="%.6g"))
