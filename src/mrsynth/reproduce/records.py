"""The files of a study that another step or another day reads: study.json, state.json, tables/*.json, figures.json.

OUT/study.json              what was run, on what, in which version and time, and how each item ended
OUT/runs/<cell>/state.json  how one cell, job or data ended, and of what it was made
OUT/tables/<table>.json     a table with every number that its HTML, Markdown and CSV show
OUT/tables/claims.json      what the paper reads from its figures, and whether it holds here
OUT/figures/figures.json    the plates and charts, and why one is missing
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from mrsynth.core.errors import InputError
from mrsynth.core.records import FileName, Part, Record

AGAIN = "run `mrsynth reproduce` with --tables-only, which writes it anew"
ItemState = Literal["done", "failed", "begun", "not run", "published"]


class StudyFile(Record):
    """A file of a study. Those of before had no version and the same words."""

    SAME_SINCE: ClassVar[int] = 0
    DO: ClassVar[str] = AGAIN


class State(StudyFile):
    """How a cell, a job or data ended.

    Attributes:
        state: how far it is.
        why: what went wrong, in words, "" where nothing did.
        asked: of what it was made and how it was judged; made anew where that has changed.
        seconds: part of the work → how long it took.
        failed_cases: (case, why) of those that could not be predicted or judged.
        commit, finished: of mrsynth's source, and date and time (ISO 8601); None where it is not done.
        imported: where its numbers came from, "" where they were measured here; its model and images are not here then.
    """

    RECORD: ClassVar[str] = "state"
    FILE: ClassVar[str] = "state.json"

    state: ItemState = "not run"
    why: str = ""
    asked: dict[str, Any] = Field(default_factory=dict)
    seconds: dict[str, float] = Field(default_factory=dict)
    failed_cases: list[tuple[str, str]] = Field(default_factory=list)
    commit: str | None = None
    finished: str | None = None
    imported: str = ""

    @classmethod
    def of(cls, place: Path) -> Self:
        """Return what is known of an item by its folder; a damaged file counts as none, and the item is done again."""
        try:
            return cls.read(place / cls.FILE)
        except InputError:
            return cls()

    @property
    def is_done(self) -> bool:
        """Say whether the item came to its end."""
        return self.state == "done"


class ItemEntry(Part):
    """How an item of a study stands.

    Attributes:
        name: as the study calls it.
        label: its name, with the seed where that is not the scale's first.
        kind: what it is.
        folder: below OUT.
        seed: with which its cell is trained.
        inputs, target, net: the task and the network of its cell's recipe.
        state, why, seconds, failed_cases, finished, commit: as in `State`.
        device, parameters, epochs, best_epoch: of its training (`io.run.Training`), None where that has not ended.
        convergence: whether its training had come to rest, in words.
        imported: where its numbers came from, "" for here.
        report: its page, below OUT; None where there is none.
        started_from: whose first stages it shares, None where it shares none.
        job: the settings of a further prediction, None for other items.
    """

    name: str
    label: str
    kind: Literal["cell", "job", "data"]
    folder: str
    seed: int
    inputs: list[str]
    target: str
    net: str
    state: ItemState
    why: str = ""
    seconds: dict[str, float] = Field(default_factory=dict)
    failed_cases: list[tuple[str, str]] = Field(default_factory=list)
    finished: str | None = None
    commit: str | None = None
    device: str | None = None
    parameters: int | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    convergence: str = ""
    imported: str = ""
    report: str | None = None
    started_from: str | None = None
    job: dict[str, Any] | None = None


class CellChange(Part):
    """What a scale changes in one cell alone.

    Attributes:
        variants, set: variants of the recipe and overrides (`section.key=value`), applied last.
        recipe, data, folds, steps, seeds: as in `study.CellSettings`; None leaves them.
    """

    variants: list[str] = Field(default_factory=list)
    set: list[str] = Field(default_factory=list)
    recipe: str | None = None
    data: str | None = None
    folds: int | None = None
    steps: int | None = None
    seeds: list[int] | None = None


class Changes(Part):
    """What a scale changes of the paper's recipe, in all cells and in single ones.

    Attributes:
        variants, set: variants of the recipe and overrides (`section.key=value`), in all cells.
        cells: cell → what is changed in it alone.
        steps: batches that each cell is trained for, None for the recipe's epochs.
    """

    variants: list[str]
    set: list[str]
    cells: dict[str, CellChange]
    steps: int | None = None


class StudyRecord(StudyFile):
    """study.json.

    Attributes:
        study, title, recipe: name and title of the study, and the recipe that it varies.
        scale: at which it ran.
        cohort: path of the cohort table.
        phantoms: the settings of the phantoms, None for a given cohort.
        patients: split → how many.
        groups: the same by group of the cohort table.
        changes: of the paper's recipe.
        seeds: with which each cell is trained.
        left_out: cells, jobs, tables and curves that this scale does without.
        weights: of others, network → file.
        tables: names of the tables and curves.
        items: how each cell, job and data stands.
        commit: of mrsynth's source, None where it is not known.
        versions: package → version.
        cores: of the processor, None where nobody says.
        updated: date and time, ISO 8601.
    """

    RECORD: ClassVar[str] = "study"
    FILE: ClassVar[str] = "study.json"

    study: str
    title: str
    recipe: str
    scale: str
    cohort: str
    phantoms: dict[str, Any] | None
    patients: dict[str, int]
    groups: dict[str, dict[str, int]] = Field(default_factory=dict)
    changes: Changes
    seeds: list[int]
    left_out: list[str]
    weights: dict[str, str] = Field(default_factory=dict)
    tables: list[str]
    items: list[ItemEntry]
    commit: str | None
    versions: dict[str, str]
    cores: int | None
    updated: str


class Number(Part):
    """One number of a table.

    Attributes:
        mean, sd, n: over patients, of each patient's mean over seeds.
        seeds, seed_sd: how many seeds, and the SD of the mean over them (None for 1).
        published: the paper's mean and SD.
        rival, rival_mean: the best simple rival of the same run, and its mean.
    """

    mean: float | None
    sd: float | None
    n: int
    seeds: int
    seed_sd: float | None
    published: tuple[float, float | None] | None = None
    rival: str | None = None
    rival_mean: float | None = None


class Row(Part):
    """One row: a cell or job, a rival, or what only the paper has.

    Attributes:
        label: as it is printed.
        source, target: whose numbers, and of which image; None for what only the paper has.
        predictor: "model", or the rival.
        state, why: as in `State`.
        cells: label of a column → number.
        convergence: how its training ended, in words.
        converged: whether it had come to rest, None where nobody knows.
    """

    label: str
    source: str | None
    predictor: str
    state: ItemState
    why: str = ""
    cells: dict[str, Number]
    target: str | None = None
    convergence: str = ""
    converged: bool | None = None


class Column(Part):
    """How one column was measured.

    Attributes:
        label: as it is printed.
        convention: how it was measured, in words.
        higher_is_better: None where the metric has no good direction.
    """

    label: str
    convention: str
    higher_is_better: bool | None = None


class TestRow(Part):
    """A test of row a against row b, the paper's beside it.

    Attributes:
        a, b, column: labels of the rows and of the column.
        test: its name.
        n: patients, or "12 and 12" for independent groups.
        mean_difference: a − b, None where it cannot be computed.
        interval: the 95 % interval of the difference, None for paired tests.
        p: None where there is no test.
        reason: why there is none, "" where there is one.
        published_difference, published_p, published_interval: the paper's, p as it prints it; None where it gives none.
    """

    __test__: ClassVar[bool] = False  # no test of pytest's

    a: str
    b: str
    column: str
    test: str
    n: int | str
    mean_difference: float | None
    interval: tuple[float, float] | None = None
    p: float | None
    reason: str = ""
    published_difference: float | None = None
    published_p: str | None = None
    published_interval: tuple[float, float] | None = None


class CurveAxis(Part):
    """The axis of a curve.

    Attributes:
        x: its words.
        log: whether it is logarithmic.
    """

    x: str
    log: bool


class TableRecord(StudyFile):
    """A table of a study; of a curve also its axis.

    Attributes:
        name: as the study calls it.
        title: above it.
        header: lines about the study that stand above it.
        columns, rows, tests: what stands in it, and the tests below it.
        published_source: where the paper's numbers stand, "" without any.
        note: what stands below it.
        curve: the axis of a curve, None for a table.
    """

    RECORD: ClassVar[str] = "table"

    name: str
    title: str
    header: list[str]
    columns: list[Column]
    rows: list[Row]
    tests: list[TestRow] = Field(default_factory=list)
    published_source: str = ""
    note: str = ""
    curve: CurveAxis | None = None

    def standing(self) -> str:
        """Return in words whether the table's systems may be read: each ahead of its rivals, and trained to the end."""
        rows = [row for row in self.rows if row.predictor == "model" and row.state == "done"]
        if not rows:
            return "Nothing is done yet."
        behind = [row.label for row in rows if self._behind(row)]
        moving = [row.label for row in rows if row.converged is False]
        parts = [f"no better than the best simple rival in every column: {', '.join(behind)}"] if behind else []
        parts += [f"not converged: {', '.join(moving)}"] if moving else []
        if parts:
            return f"Not settled ({'; '.join(parts)})."
        unknown = [row.label for row in rows if row.converged is None]
        rest = f" Whether {', '.join(unknown)} converged is not known." if unknown else ""
        return f"Every system is ahead of its best simple rival.{rest}"

    def _behind(self, row: Row) -> bool:
        """Say whether a row is not better than its best rival in some column."""
        for column in self.columns:
            cell = row.cells[column.label]
            if column.higher_is_better is None or cell.mean is None or cell.rival_mean is None:
                continue
            if cell.mean <= cell.rival_mean if column.higher_is_better else cell.mean >= cell.rival_mean:
                return True
        return False


Verdict = Literal["holds", "does not hold", "untestable", "not judged"]


class ClaimRow(Part):
    """What a paper reads from a figure, and whether it holds here.

    Attributes:
        figure, says, measured: where the paper says what, and which number stands for it (`ClaimSettings`).
        values: label → number, None where there is none.
        verdict: whether it holds.
        why: why nothing is judged, or the limit that the numbers are held to; "" where their order is judged.
    """

    figure: str
    says: str
    measured: str
    values: dict[str, float | None]
    verdict: Verdict
    why: str = ""


class Claims(StudyFile):
    """claims.json: the claims of a study."""

    RECORD: ClassVar[str] = "claims"
    FILE: ClassVar[str] = "tables/claims.json"

    claims: list[ClaimRow]


class Figure(Part):
    """A plate or chart.

    Attributes:
        name: as the study calls it.
        title: above it.
        cases: those that it shows.
        file: in figures/, None where it was not drawn (`why` says so).
        alt: what it shows in words.
        why: why it was not drawn, "" where it was.
    """

    name: str
    title: str
    cases: list[str] = Field(default_factory=list)
    file: FileName | None
    alt: str = ""
    why: str = ""


class Figures(StudyFile):
    """figures.json: the plates and charts of a study."""

    RECORD: ClassVar[str] = "figures"
    FILE: ClassVar[str] = "figures/figures.json"

    figures: list[Figure]
