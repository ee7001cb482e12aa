"""How the images that a model makes at several doses answer to the dose (pinetz2023): measured, drawn and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mrsynth.core.files import atomic_file, write_text
from mrsynth.drawing.dose_charts import TRUTH, response_png
from mrsynth.evaluate.dose_scans import DosePatient, Made, read_patient, scans_at_doses
from mrsynth.io import CaseRow, Cohort
from mrsynth.io.evaluation import Evaluation, Response
from mrsynth.metrics.dose_response import enhancement, is_lesion, is_monotone, response_regions


@dataclass(frozen=True, eq=False)
class Shown:
    """What a chart may show.

    Attributes:
        made: predictions, those of low-dose scans first.
        rows: the cases of patients that no model has seen.
        trained: doses of the training cases.
    """

    made: Sequence[Made]
    rows: Sequence[CaseRow]
    trained: Sequence[float]

    @property
    def patients(self) -> list[str]:
        """The patients with a prediction."""
        return list(dict.fromkeys(patient for made in self.made for patient in made.files))

    def patient(self, name: str) -> DosePatient:
        """Read a patient as the first model that predicted it saw it.

        Args:
            name: one of `patients`. Its predicted case counts before other rows.

        Returns:
            The patient's scans, and the regions.

        Raises:
            InputError: as `read_patient` does.
        """
        made = next(one for one in self.made if name in one.files)
        own = made.rows[name]
        return read_patient(own, scans_at_doses([own, *self.rows], name), made.contract, made.like[name])


def responses(shown: Shown) -> pd.DataFrame:
    """Return the mean enhancement of every tissue and lesion at every dose.

    Args:
        shown: the predictions, and the rows of the scans.

    Returns:
        A table with the columns label (TRUTH for scans, which have dose 0 and 1 too), patient, region, dose, voxels and
        enhancement.

    Raises:
        InputError: where a scan or a prediction cannot be read, or lies on another grid.
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
    """Count the lesions whose enhancement falls from one dose to the next.

    Args:
        frame: of `responses`. Rows without contrast agent and at the full dose (dose 0 and 1) are left out.

    Returns:
        Label → "lesions", those that were followed over two doses or more, and "falling", those of them that fall.
    """
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
    """Return what `monotony` found as words.

    Args:
        found: label → the numbers of lesions followed and falling.
    """
    if not found:
        return "no lesion was followed over two doses"
    parts = [f"{label} in {one['falling']} of {one['lesions']}" for label, one in found.items()]
    return "lesions whose enhancement falls with a higher dose: " + ", ".join(parts)


def write_response(made: Made, rows: Sequence[CaseRow], cohort: Cohort, where: Evaluation) -> Response | None:
    """Write how a model's predictions answer to the dose, as a table and as a picture.

    Args:
        made: what the model made.
        rows: the cases of patients that no model has seen.
        cohort: tells the doses that were trained.
        where: the evaluation that the files belong to.

    Returns:
        What a reader should know; None, with nothing written, where no patient was predicted at two doses.

    Raises:
        InputError: as `responses` does.
    """
    if made.contract.target != "t1ld" or all(len(files) < 2 for files in made.files.values()):
        return None
    patients = made.contract.training.patients.get("train", ())
    trained = {row.dose for row in cohort.rows if row.patient in patients and row.dose is not None}
    shown = Shown([made], rows, sorted(trained))
    frame = responses(shown)
    with atomic_file(where.response_chart) as temporary:
        temporary.write_bytes(response_png(frame, shown.trained))
    write_frame(frame, where.response)
    return Response(in_words=in_words(monotony(frame)), trained=list(shown.trained))


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write the numbers behind a chart as CSV, with six significant digits.

    Args:
        frame: the numbers.
        path: of the file.

    Raises:
        OutputError: where the file cannot be written.
    """
    write_text(path, frame.to_csv(index=False, float_format="%.6g"))
