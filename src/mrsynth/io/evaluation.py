"""What an evaluation leaves: a table of values, what they mean over patients, and the slices that a report shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field
from typing_extensions import override

from mrsynth.core.records import FileName, Limits, Part, Record

EVALUATE = "run `mrsynth evaluate` again"


@dataclass(frozen=True)
class Evaluation:
    """An evaluation by the path of its metrics.json; no other code knows what its files are called.

    One that is called otherwise (site2.json) has its name before those of the others (site2.csv, site2-panels/ …).
    """

    record: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Evaluation:
        """Return the evaluation that lies in a folder by default, as in a run."""
        return cls(folder / "metrics.json")

    @property
    def folder(self) -> Path:
        """The folder that it lies in."""
        return self.record.parent

    @property
    def table(self) -> Path:
        """All values, one a row (`metrics.record`)."""
        return self.record.with_suffix(".csv")

    @property
    def panels(self) -> Path:
        """The folder of slices that a report shows."""
        return self._named("panels")

    @property
    def listing(self) -> Path:
        """The `PanelsRecord`."""
        return self.panels / "panels.json"

    @property
    def response(self) -> Path:
        """How the predictions answer to the dose, a table."""
        return self._named("dose_response.csv")

    @property
    def response_chart(self) -> Path:
        """The same as a picture."""
        return self._named("dose_response.png")

    @property
    def scenes(self) -> Path:
        """The folder of the viewer: its page, and the volumes of each case."""
        return self.folder if self.record.name == "metrics.json" else self._named("viewer")

    @property
    def report(self) -> Path:
        """The page that shows it."""
        return self._named("report.html")

    def _named(self, name: str) -> Path:
        return self.folder / (name if self.record.name == "metrics.json" else f"{self.record.stem}-{name}")


class SummaryRow(Part):
    """A metric of a predictor over patients; see `metrics.stats.summarise`. A value that does not exist is None.

    Attributes:
        predictor, metric, region, contrast, preset, fit, dimension, data_range: what the values have in common, as in
            `metrics.record`.
        n: patients with a finite value.
        mean, sd, median: over patients.
        ci_low, ci_high: bootstrap 95 % interval of the mean.
        n_infinite, n_missing: cases (lesions, where lesion-wise) left out.
    """

    predictor: str
    metric: str
    region: str
    contrast: str
    preset: str
    fit: str
    dimension: int
    data_range: float | None
    n: int
    mean: float | None
    sd: float | None
    median: float | None
    ci_low: float | None
    ci_high: float | None
    n_infinite: int
    n_missing: int


class PairedTest(Part):
    """A test of two predictors, patient by patient; see `metrics.stats.paired_tests`.

    Attributes:
        metric, region, contrast, preset, fit, dimension, data_range: what the values have in common, as in
            `metrics.record`.
        a, b: the predictors.
        test: its name.
        n: patients with finite values of both.
        statistic, p: of the test, None where there is none.
        p_holm: p corrected over the table's rows of the same test.
        mean_difference: a − b.
        ci_low, ci_high: its bootstrap 95 % interval.
        reason: why there is no test, "" where there is one.
    """

    metric: str
    region: str
    contrast: str
    preset: str
    fit: str
    dimension: int
    data_range: float | None
    a: str
    b: str
    test: str
    n: int
    statistic: float | None
    p: float | None
    p_holm: float | None
    mean_difference: float | None
    ci_low: float | None
    ci_high: float | None
    reason: str


class Published(Part):
    """The paper's numbers for the translation.

    Attributes:
        source: where they stand in the paper.
        n: patients, None where nobody says.
        values: metric → mean, and its spread where the paper gives one.
    """

    source: str
    n: int | None
    values: dict[str, list[float | None]]


class Response(Part):
    """How the predictions answer to the dose.

    Attributes:
        in_words: in how many lesions it falls.
        trained: the training's doses.
    """

    in_words: str
    trained: list[float]


class LeftOut(Part):
    """A case that could not be judged, and why.

    Attributes:
        case: its name.
        why: in words.
    """

    case: str
    why: str


class MetricsRecord(Record):
    """metrics.json: what the values of metrics.csv mean over patients.

    Attributes:
        preset: the metric conventions.
        n_cases, n_patients: how many were judged.
        summary, tests: each metric over patients, and tests of two predictors.
        higher_is_better: metric → whether a higher value is better.
        published: None where the paper has no numbers.
        dose_response: None where there is no series of doses.
        weights_sha256: of the model that was judged; None for files of unknown origin.
        left_out: cases that were not judged.
        remarks: what a reader must know of these values, a sentence each.
    """

    RECORD: ClassVar[str] = "metrics"
    DO: ClassVar[str] = EVALUATE

    preset: list[str]
    n_cases: int = Field(ge=0)
    n_patients: int = Field(ge=0)
    summary: list[SummaryRow]
    tests: list[PairedTest]
    higher_is_better: dict[str, bool]
    published: Published | None = None
    dose_response: Response | None = None
    weights_sha256: str | None = None
    left_out: list[LeftOut] = Field(default_factory=list)
    remarks: list[str] = Field(default_factory=list)

    @classmethod
    @override
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any] | None:
        """Return the record of before, where the paper's numbers stood among those of other meaning."""
        paper = content.get("published")
        if isinstance(paper, dict):
            known = {"source": paper.pop("source", None), "n": paper.pop("n", None)}
            content = {**content, "published": {**known, "values": paper}}
        return content


class PanelEntry(Part):
    """A slice of a case that a report shows.

    Attributes:
        case, patient: their names.
        file: in the folder of the listing.
        slice_index: the slice's number along the axis, from 0 on.
        axis: along which slices are counted.
        pixel_mm: edges of a pixel (x, y).
        input_contrast, target_contrast: what the images show.
        window: lowest and highest grey value.
        psnr, ssim, mae: of this slice, inside the brain.
        note: what the values are of, in words.
    """

    case: str
    patient: str
    file: FileName
    slice_index: int = Field(ge=0)
    axis: str
    pixel_mm: tuple[float, float]
    input_contrast: str
    target_contrast: str
    window: Limits
    psnr: float
    ssim: float
    mae: float
    note: str = ""


class PanelsRecord(Record):
    """panels.json: the slices that a report shows."""

    RECORD: ClassVar[str] = "panels"
    DO: ClassVar[str] = EVALUATE

    panels: list[PanelEntry]
