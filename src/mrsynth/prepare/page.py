"""The page of a prepared cohort: a row a case with what each step did, cases with flags first; one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from mrsynth.core.files import write_text
from mrsynth.drawing.templates import jpeg_uri, render
from mrsynth.drawing.viewer import write_viewer
from mrsynth.io.prepared import PreparedCohort
from mrsynth.prepare.facts import PLANES, Histogram, Histograms, Qc, pictures_of, read_qc

EDGE_COLOUR = (255, 120, 40)
OUTLINE_COLOUR = (70, 220, 170)
JPEG_QUALITY = 82


def build_qc(folder: Path, more: Mapping[str, Sequence[str]] | None = None) -> Path:
    """Write PREPARED/qc.html from the snapshots in PREPARED/qc.

    Args:
        folder: PREPARED.
        more: case → further sentences about what is unlikely.

    Returns:
        The path of the page.

    Raises:
        InputError: a snapshot cannot be understood.
        OutputError: the page cannot be written.
    """
    cohort = PreparedCohort.open(folder)
    cases = [_case(cohort, name, (more or {}).get(name, ())) for name in cohort.cases()]
    cases.sort(key=lambda case: -len(case["flags"]))
    html = render(
        "qc.html.j2",
        cohort=cohort,
        steps=[next(iter(step)) for step in cohort.steps],
        settings=[(name, values) for step in cohort.steps for name, values in step.items()],
        failed=cohort.failed,
        flagged=sum(bool(case["flags"]) for case in cases),
        cases=cases,
        volumes=write_viewer(folder, f"{cohort.recipe}, prepared", [case["name"] for case in cases]),
    )
    path = folder / "qc.html"
    write_text(path, html)
    return path


def _case(cohort: PreparedCohort, name: str, more: Sequence[str]) -> dict[str, Any]:
    """Return what the template shows of a case. more: sentences beside those of its facts."""
    row = cohort.rows[name]
    shown: dict[str, Any] = {"name": name, "patient": row.patient, "split": row.split, "contrasts": []}
    qc = read_qc(pictures_of(cohort.folder, row.folder))
    if qc is None:
        return {**shown, "flags": ["No pictures were kept of this case.", *more], "steps": []}
    contrasts = []
    for contrast in qc.facts.contrasts:
        lines = _histogram_lines(qc.facts.histograms.get(contrast, Histograms()))
        views = [(plane, _final(qc, contrast, plane)) for plane in PLANES]
        contrasts.append({"name": contrast, "reference": contrast == qc.facts.reference, "views": views, **lines})
    steps = []
    for number, step in enumerate(qc.facts.steps):
        prefix = f"step/{number}/{step}/"
        pictures = [
            (key.removeprefix(prefix), jpeg_uri(Picture.fromarray(p), JPEG_QUALITY))
            for key, p in qc.pictures.items()
            if key.startswith(prefix)
        ]
        steps.append({"name": step, "pictures": pictures})
    return {**shown, "flags": [*more, *qc.facts.flags], "contrasts": contrasts, "steps": steps}


def _final(qc: Qc, contrast: str, plane: str) -> str:
    """Return a picture of the prepared image: the edges of the reference over it (outline of the brain over the
    reference itself)."""
    grey = qc.pictures[f"final/{contrast}/{plane}"]
    colour = np.repeat(grey[..., None], 3, axis=2)
    if contrast != qc.facts.reference:
        colour[qc.pictures[f"edges/{plane}"] > 0] = EDGE_COLOUR
    elif f"outline/{plane}" in qc.pictures:
        colour[qc.pictures[f"outline/{plane}"] > 0] = OUTLINE_COLOUR
    return jpeg_uri(Picture.fromarray(colour), JPEG_QUALITY)


def _histogram_lines(histograms: Histograms) -> dict[str, dict[str, str] | None]:
    """Return before and after as SVG paths in a box of 100 × 40 with the range of values in words."""
    return {"before": _line(histograms.before), "after": _line(histograms.after)}


def _line(histogram: Histogram | None) -> dict[str, str] | None:
    """Return a histogram as an SVG path, its range in words; None where there is none."""
    if histogram is None:
        return None
    # The first bin of an image with a dark rim would flatten all others.
    counts = np.sqrt(np.array(histogram.counts, float))
    xs = np.linspace(0, 100, counts.size)
    ys = 40 - 38 * counts / max(counts.max(), 1)
    path = "M0,40 " + " ".join(f"L{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True)) + " L100,40 Z"
    return {"path": path, "low": f"{histogram.low:.4g}", "high": f"{histogram.high:.4g}"}
