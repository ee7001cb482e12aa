"""The schema of a study: which variations of a recipe are trained, and which tables and curves are made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mrsynth.core.errors import RecipeError
from mrsynth.core.settings import Settings, nearest, parse
from mrsynth.core.yaml import read_yaml
from mrsynth.reproduce.chart_settings import ChartSettings, check_charts
from mrsynth.reproduce.claim_settings import ClaimSettings, check_claims
from mrsynth.reproduce.data_settings import PartSettings, PhantomSettings, Where
from mrsynth.reproduce.plate_settings import PlateSettings, check_plates

Scale = Literal["smoke", "small", "long", "mixed", "paper"]

RivalName = Literal["identity", "training_mean", "table_mean", "table_loss", "table_smooth", "filter", "dose_line"]

FOLDER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class CellSettings(Settings):
    """One training: the recipe's variants and further overrides (`section.key=value`).

    Attributes:
        recipe: in place of the study's.
        data: an entry of the study's `data`, on which it is trained and tested; None: on the whole cohort.
        variants, set: names of the recipe's variants, and the overrides after them.
        folds: cross-validation by patient: as many trainings instead, each a cell `<name>.fold-<k>` with its own split
            of the whole cohort.
        steps: batches to train, in place of the scale's.
        seeds: with which it is trained, in place of the scale's.
    """

    recipe: str | None = None
    data: str | None = None
    variants: list[str] = Field(default_factory=list)
    set: list[str] = Field(default_factory=list)
    folds: int | None = Field(default=None, ge=3)
    steps: int | None = Field(default=None, ge=1)
    seeds: list[int] | None = Field(default=None, min_length=1)

    def names(self, name: str) -> list[str]:
        """Return the names of its trainings."""
        return [name] if self.folds is None else [f"{name}.fold-{k}" for k in range(1, self.folds + 1)]


class ScaleSettings(Settings):
    """One size of the study.

    Attributes:
        phantoms: None where the study needs a given cohort.
        seeds: each cell is trained once with each.
        variants, set: of all cells, applied before a cell's own.
        cells: cell → what is changed in it alone, applied last.
        steps: batches that each cell is trained for, None for the recipe's epochs.
        leave_out: cells, jobs, tables and curves that this size does without.
    """

    phantoms: PhantomSettings | None
    seeds: list[int] = Field(min_length=1)
    variants: list[str]
    set: list[str]
    cells: dict[str, CellSettings] = Field(default_factory=dict)
    steps: int | None = Field(default=None, ge=1)
    leave_out: list[str] = Field(default_factory=list)


class JobSettings(Settings):
    """Further predictions of a trained cell, of other cases, with some of its inputs left out on purpose, or with the
    weights that it had on the way.

    Attributes:
        cell: whose model predicts.
        data: an entry of the study's `data`, whose test cases are predicted in place of the cell's.
        without: contrasts that are left out.
        missing: what stands for them, "zeros", or "refuse" where imputers make them all or the model itself knows what
            is missing.
        imputers: contrast → cell whose model makes it.
        stage: the weights at the end of this stage of the cell's training, 1 for the first; it must not be the last.
            They are those that the next stage began with. None: the finished weights.
    """

    cell: str
    data: str | None = None
    without: list[str] = Field(default_factory=list)
    missing: Literal["refuse", "zeros"] = "refuse"
    imputers: dict[str, str] = Field(default_factory=dict)
    stage: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _not_the_cell_again(self) -> JobSettings:
        if self.data is None and self.stage is None and not self.without:
            raise ValueError("a job says what is other than in the cell's own predictions: data, without or stage")
        return self


class ColumnSettings(Settings):
    """A metric of a region under a preset.

    Attributes:
        preset, metric, region: by name.
        having: only cases that have a value in this region too, e.g. a tumour; None: all cases.
        where: only these cases.
    """

    preset: str
    metric: str
    region: str
    having: str | None = None
    where: Where = Field(default_factory=dict)


class ComparisonSettings(Settings):
    """A test of row a against row b.

    Attributes:
        a, b, column: labels of the table's rows and column.
        test: patient by patient, or "independent t" as if they were two groups of patients, with the 95 % interval of
            the difference.
        published, published_interval: the paper's p, as it prints it, and its interval.
    """

    a: str
    b: str
    column: str
    test: Literal["paired t", "wilcoxon", "independent t"] = "paired t"
    published: str | None = None
    published_interval: tuple[float, float] | None = None


class PublishedNumbers(Settings):
    """The paper's own numbers.

    Attributes:
        source: where they stand.
        rows: row → column → (mean, SD).
    """

    source: str
    rows: dict[str, dict[str, tuple[float, float | None]]]


class BaselineSettings(Settings):
    """Simple rivals of a table.

    Attributes:
        predictors: "best_rival" is the best of each column, by name; "second_scan" the ceiling of a faithful image, on
            phantoms; "flat_brain" the truth's own mean: what a PSNR owes to the scale.
        rows: those of the first row's run stand once, above all rows, or those of each run above it.
    """

    predictors: tuple[Literal["best_rival", "second_scan", "flat_brain", RivalName], ...] = ("identity", "best_rival")
    rows: Literal["first", "each"] = "first"


class TableSettings(Settings):
    """A table.

    Attributes:
        title: above it.
        rows: label → cell or job, None for a row that only the paper has; of several (a list, or a cell with folds) the
            patients of all count, one of two cells twice.
        columns: label → what is shown.
        baselines: the simple rivals beside the rows.
        tests: of its rows.
        published: the paper's numbers, or "recipe" for those that the recipe of each row holds for its task.
        note: what stands below it.
    """

    title: str
    rows: dict[str, str | list[str] | None] = Field(min_length=1)
    columns: dict[str, ColumnSettings] = Field(min_length=1)
    baselines: BaselineSettings = Field(default_factory=BaselineSettings)
    tests: list[ComparisonSettings] = Field(default_factory=list)
    published: PublishedNumbers | Literal["recipe"] | None = None
    note: str = ""


class CurveSettings(Settings):
    """A curve.

    Attributes:
        title: above it.
        x: the axis in words.
        log: whether it is logarithmic.
        points: x → cell or job.
        series: label → what is drawn.
        tests: between points, named as they are printed.
        note: what the paper gives of it.
    """

    title: str
    x: str
    log: bool
    points: dict[float, str] = Field(min_length=1)
    series: dict[str, ColumnSettings] = Field(min_length=1)
    tests: list[ComparisonSettings] = Field(default_factory=list)
    note: str = ""

    @property
    def table(self) -> TableSettings:
        """The same numbers as a table: a row a point."""
        rows: dict[str, str | list[str] | None] = {f"{x:g}": source for x, source in self.points.items()}
        return TableSettings(title=self.title, rows=rows, columns=self.series, tests=self.tests, note=self.note)


class Study(Settings):
    """One paper's experiments.

    Attributes:
        name, title: its own.
        recipe: the one that its cells vary.
        scales: name → size.
        data: name → cases of the cohort, in parts.
        cells: name → training, in the order in which they are run.
        jobs: name → further predictions of a cell.
        tables, curves: name → what is made of the metrics.
        plates, charts: name → figure.
        claims: name → what the paper reads from a figure.
    """

    name: str
    title: str
    recipe: str
    scales: dict[Scale, ScaleSettings]
    data: dict[str, list[PartSettings]] = Field(default_factory=dict)
    cells: dict[str, CellSettings] = Field(min_length=1)
    jobs: dict[str, JobSettings] = Field(default_factory=dict)
    tables: dict[str, TableSettings]
    curves: dict[str, CurveSettings] = Field(default_factory=dict)
    plates: dict[str, PlateSettings] = Field(default_factory=dict)
    charts: dict[str, ChartSettings] = Field(default_factory=dict)
    claims: dict[str, ClaimSettings] = Field(default_factory=dict)

    @property
    def trainings(self) -> dict[str, list[str]]:
        """Return cell → the names of its trainings: its own, or one a fold."""
        return {name: cell.names(name) for name, cell in self.cells.items()}

    def seeds(self, cell: str, scale: Scale) -> list[int]:
        """Return the seeds with which a cell is trained at a scale.

        Args:
            cell: its name.
            scale: one of the study's.
        """
        settings = self.scales[scale]
        at_scale = settings.cells.get(cell, CellSettings()).seeds
        return at_scale or self.cells[cell].seeds or settings.seeds

    def all_tables(self, scale: Scale) -> dict[str, TableSettings]:
        """Return the tables of a scale, curves as tables among them."""
        tables = {**self.tables, **{name: curve.table for name, curve in self.curves.items()}}
        return {name: table for name, table in tables.items() if name not in self.scales[scale].leave_out}


def list_studies() -> dict[str, Path]:
    """Return the studies that come with mrsynth: name → file."""
    folder = Path(str(resources.files("mrsynth.reproduce"))) / "studies"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_study(name: str) -> Study:
    """Load a study and check that its parts fit together.

    Args:
        name: of a study that mrsynth carries, or the path of a YAML file.

    Raises:
        RecipeError: there is no such study, or something in it does not fit; the message names it.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        path = Path(name)
    else:
        known = list_studies()
        if name not in known:
            raise RecipeError(
                f"There is no study '{name}'.",
                expected="one of " + ", ".join(known) + ", or a file that ends in .yaml",
                do=nearest(name, list(known)),
            )
        path = known[name]
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise RecipeError(f"{path} is not a study.", found=type(data).__name__, expected="a mapping of sections")
    study = parse(Study, data, f"study {path.stem}")
    _check_names(study)
    _check_tables(study)
    check_plates(study.plates, [*study.cells, *study.jobs])
    check_charts(study.charts, [name for name, cell in study.cells.items() if cell.folds is None], list(study.jobs))
    return study


def _check_names(study: Study) -> None:
    """Raise RecipeError where a cell or job has no usable name or refers to one that does not exist."""
    where = f"Study {study.name}"
    for name in [*study.data, *study.cells, *study.jobs, *study.tables, *study.curves, *study.plates, *study.charts]:
        if not FOLDER_NAME.fullmatch(name):
            raise RecipeError(
                f"{where}: '{name}' cannot name a folder.", expected="small letters, digits, '.', '_' and '-'"
            )
    if double := sorted(set(study.cells) & set(study.jobs)):
        raise RecipeError(f"{where}: a cell and a job have one name.", found=", ".join(double))
    if double := sorted(set(study.curves) & {*study.tables, *study.plates, *study.charts}):
        raise RecipeError(f"{where}: a curve has the name of a table, a plate or a chart.", found=", ".join(double))
    if double := sorted(set(study.plates) & set(study.charts)):
        raise RecipeError(f"{where}: a plate and a chart have one name.", found=", ".join(double))
    whole = {name: cell for name, cell in study.cells.items() if cell.folds is None}
    _check_data(study, whole)
    for name, job in study.jobs.items():
        _require([job.cell, *job.imputers.values()], whole, f"{where}, job {name}", "cell")
        if extra := sorted(set(job.imputers) - set(job.without)):
            raise RecipeError(f"{where}, job {name}: imputes what it does not leave out.", found=", ".join(extra))
    for scale, settings in study.scales.items():
        _require(settings.cells, study.cells, f"{where}, scale {scale}", "cell")
        if folded := [name for name, cell in settings.cells.items() if cell.folds is not None]:
            raise RecipeError(f"{where}, scale {scale}: folds are the cell's own.", found=", ".join(folded))
        everything = {**study.cells, **study.jobs, **study.tables, **study.curves}
        _require(settings.leave_out, everything, f"{where}, scale {scale}, leave_out", "cell, job, table or curve")


def _check_data(study: Study, whole: Mapping[str, CellSettings]) -> None:
    """Raise RecipeError where data is not there, or is made by a cell that is trained only after it is needed."""
    where = f"Study {study.name}"
    if double := sorted(set(study.data) & {*study.cells, *study.jobs}):
        raise RecipeError(f"{where}: data and a cell or job have one name.", found=", ".join(double))
    makers = {name: [p.made_by for p in parts if p.made_by is not None] for name, parts in study.data.items()}
    for name, cells in makers.items():
        _require(cells, whole, f"{where}, data {name}", "cell")
    for name, job in study.jobs.items():
        _require([job.data] if job.data else [], study.data, f"{where}, job {name}", "data")
    before: list[str] = []
    for name, cell in study.cells.items():
        if cell.data is not None:
            _require([cell.data], study.data, f"{where}, cell {name}", "data")
            if cell.folds is not None:
                raise RecipeError(f"{where}, cell {name}: folds are of the whole cohort.", do="leave out data or folds")
            _require(makers[cell.data], dict.fromkeys(before), f"{where}, data {cell.data}, before {name}", "cell")
        before.append(name)


def _check_tables(study: Study) -> None:
    """Raise RecipeError where a table, curve or claim refers to something that does not exist."""
    from mrsynth.metrics.presets import PRESETS

    check_claims(study.claims, study.cells, PRESETS)
    folds = [name for names in study.trainings.values() for name in names]
    sources = dict.fromkeys([*study.cells, *folds, *study.jobs])
    for name, table in [*study.tables.items(), *((name, curve.table) for name, curve in study.curves.items())]:
        where = f"Study {study.name}, table {name}"
        named = [[row] if isinstance(row, str) else row or [] for row in table.rows.values()]
        _require([source for sources_of in named for source in sources_of], sources, where, "cell or job")
        _require([column.preset for column in table.columns.values()], PRESETS, where, "preset")
        _require([row for test in table.tests for row in (test.a, test.b)], table.rows, where, "row")
        _require([test.column for test in table.tests], table.columns, where, "column")
        if isinstance(table.published, PublishedNumbers):
            _require(table.published.rows, table.rows, where, "row")
            for columns in table.published.rows.values():
                _require(columns, table.columns, where, "column")


def _require(names: Iterable[str], known: Mapping[str, object], where: str, kind: str) -> None:
    """Raise RecipeError for the first name that is not known."""
    for name in names:
        if name not in known:
            raise RecipeError(
                f"{where}: there is no {kind} '{name}'.",
                expected="one of " + ", ".join(known),
                do=nearest(name, list(known)),
            )
