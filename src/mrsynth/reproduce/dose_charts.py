"""A study's charts of synthesized doses: response to the dose, spectrum of the noise, statistics (pinetz2023)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from mrsynth.core.files import safe_name
from mrsynth.drawing.dose_charts import TRUTH, contrast_noise_png, response_png, spectrum_png
from mrsynth.evaluate.dose_response import Shown, in_words, monotony, responses, write_frame
from mrsynth.evaluate.dose_scans import DosePatient, Made, nearest_dose
from mrsynth.metrics.dose_response import enhancement
from mrsynth.metrics.noise_level import residual_sd
from mrsynth.metrics.noise_spectrum import radial_spectrum
from mrsynth.reproduce.chart_settings import ChartSettings
from mrsynth.reproduce.dose_panels import panels_png

REGIONS = ("enhancing", "non_enhancing")
"""Where contrast and where noise is measured (pinetz2023, supplement)."""


def dose_chart(name: str, settings: ChartSettings, shown: Shown, folder: Path) -> tuple[bytes, str, list[str]] | str:
    """Return a chart of synthesized doses.

    The numbers behind the chart go to folder/<name>.csv; pictures of patients (`dose_panels`) have none.

    Args:
        name: of the chart.
        settings: the chart; its kind is one of the four that show doses.
        shown: the predictions and true scans that it shows.
        folder: where the table is written.

    Returns:
        The picture as PNG bytes, what it shows in words and its cases; or why it cannot be drawn.

    Raises:
        InputError: a scan or a prediction cannot be read.
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


def spectra(shown: Shown) -> pd.DataFrame:
    """Return the noise spectrum of predictions and scans: of low dose − native where nothing enhances and no lesion is.

    The difference to the native scan has no anatomy in it, in a patient as in a phantom: it is the noise of both scans,
    and what the pinetz2023 supplement takes for noise. Doses without a true scan are left out.

    Args:
        shown: the predictions and true scans.

    Returns:
        label, patient, dose, frequency_per_mm, power; no column where no dose has a true scan.
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
    """Return contrast and noise of each prediction beside those of the true scan, as preset pinetz2023 measures them.

    Contrast is the mean enhancement of the voxels that enhance, noise the standard deviation of the others. Doses
    without a true scan are left out.

    Args:
        shown: the predictions and true scans.

    Returns:
        label, patient, dose, contrast, contrast_truth, noise, noise_truth.
    """
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
