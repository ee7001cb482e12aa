"""The tables of a study from the metrics of its cells and jobs: measured beside published, with tests over patients.

OUT/tables/<table>.json   everything, for the study's page
OUT/tables/<table>.csv    one line a row and column
OUT/tables/<table>.md     to read
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrsynth.core.files import write_text
from mrsynth.drawing.labels import PREDICTOR_NAMES
from mrsynth.drawing.table import table_markdown
from mrsynth.io import CaseRow
from mrsynth.io.evaluation import Evaluation
from mrsynth.metrics import HIGHER_IS_BETTER, read_records, records_frame
from mrsynth.metrics.rivals import RIVALS
from mrsynth.metrics.stats import PAIRED, best_rival, independent_t
from mrsynth.reproduce.data import select
from mrsynth.reproduce.layout import comparisons_table, measured_table
from mrsynth.reproduce.listing import convergence_words, has_converged, trained
from mrsynth.reproduce.plan import Cell, Job
from mrsynth.reproduce.records import Column, ItemState, Number, Row, State, TableRecord, TestRow
from mrsynth.reproduce.study import ColumnSettings, ComparisonSettings, PublishedNumbers, TableSettings

Source = str | Sequence[str] | None
"""What a row stands for: a cell or job, several of them, or None for what only the paper has."""

CSV_COLUMNS = ["row", "column", "state", "mean", "sd", "n", "seeds", "seed_sd"]
CSV_COLUMNS += ["published_mean", "published_sd", "rival", "rival_mean"]


@dataclass
class Results:
    """The metrics of a study's cells and jobs, each file read once.

    Attributes:
        items: name → that cell or job with each seed.
        rows: of the cohort.
        trainings: cell → its trainings, where it has folds.
        frames: folder → its metrics, those read so far.
    """

    items: Mapping[str, Sequence[Cell | Job]]
    rows: Sequence[CaseRow]
    trainings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    frames: dict[Path, pd.DataFrame] = field(default_factory=dict)

    def names(self, source: Source) -> list[str]:
        """Return the names of the items that a row stands for."""
        listed = [source] if isinstance(source, str) else source or []
        return [name for one in listed for name in self.trainings.get(one, [one])]

    def state(self, source: Source) -> State:
        """Return how what a row stands for has ended: done where all of it is."""
        states = [self._state(name) for name in self.names(source)]
        failed = [one for one in states if one.state == "failed"]
        of_note = failed or [one for one in states if not one.is_done] or states
        return of_note[0] if of_note else State()

    def _state(self, name: str) -> State:
        """Return the state of one cell or job over its seeds: done where one is, else the first failure."""
        states = [State.of(item.place) for item in self.items.get(name, ())]
        of_note = [one for one in states if one.is_done] or [one for one in states if one.state == "failed"]
        return of_note[0] if of_note else State()

    def first(self, source: Source) -> Cell | Job | None:
        """Return the first cell or job that a row stands for."""
        return next((item for name in self.names(source) for item in self.items.get(name, ())), None)

    def rival(self, source: Source, column: ColumnSettings) -> tuple[str, pd.DataFrame] | None:
        """Return the best simple rival of a row's own runs in a column.

        Args:
            source: what the row stands for.
            column: the metric, and where it is measured.

        Returns:
            Its name and its values (a row a patient, a column a seed); None without any rival.
        """
        values = {one: self.values(source, column, one) for one in RIVALS}
        values = {one: found for one, found in values.items() if len(found)}
        rows = [
            {"predictor": one, "metric": column.metric, "n": len(v), "mean": v.mean(axis=1).mean()}
            for one, v in values.items()
        ]
        name = best_rival(rows)
        return None if name is None else (name, values[name])

    def values(self, source: Source, column: ColumnSettings, predictor: str = "model") -> pd.DataFrame:
        """Return a column's finite values.

        Args:
            source: what the row stands for.
            column: the metric, and where it is measured.
            predictor: whose values.

        Returns:
            A row a patient and a column a seed; empty where nothing is done. Of several items it has a row an item's
            place and patient, so that a patient of two of them counts twice; it is empty where not all of them are
            done.
        """
        names = self.names(source)
        if len(names) == 1:
            return self._of_item(names[0], column, predictor)
        if not self.state(source).is_done:
            return pd.DataFrame()
        return pd.concat({place: self._of_item(name, column, predictor) for place, name in enumerate(names)})

    def _of_item(self, name: str, column: ColumnSettings, predictor: str) -> pd.DataFrame:
        seeds = {}
        for item in self.items.get(name, ()):
            if State.of(item.place).is_done:
                found = self._values(item.place, column, predictor)
                seeds[item.seed if isinstance(item, Cell) else item.cell.seed] = found
        return pd.DataFrame(seeds).dropna()

    def convention(self, names: Sequence[str], column: ColumnSettings) -> str:
        """Return in words how a column was measured, from the first record that there is.

        Args:
            names: of cells and jobs, in the order in which they are searched.
            column: the metric, and where it is measured.
        """
        for item in (item for name in names for item in self.items.get(name, ())):
            if State.of(item.place).is_done:
                wanted = {"preset": column.preset, "metric": column.metric, "region": column.region, "fit": "none"}
                rows = self._records(item.place, wanted)
                if len(rows):
                    one = rows.iloc[0]
                    clip = "" if one["clip"] == "none" else f", clipped to {one['clip']}"
                    return (
                        f"{column.metric} in {column.region}, preset {column.preset}, {one['dimension']}-D, "
                        f"{one['aggregation']}, data range {one['data_range']:g}{clip}"
                        + (f"; cases with {column.having}" if column.having else "")
                        + "".join(f"; {key} {_listed(values)}" for key, values in column.where.items())
                    )
        return f"{column.metric} in {column.region}, preset {column.preset}"

    def target(self, source: Source) -> str | None:
        """Return what the images of a row are, None where it has none."""
        item = self.first(source)
        recipe = None if item is None else item.maker.recipe
        return getattr(getattr(recipe, "task", None), "target", None)

    def _values(self, place: Path, column: ColumnSettings, predictor: str) -> pd.Series:
        """Return a value a patient: the mean over his cases with a finite value."""
        common = {"preset": column.preset, "predictor": predictor, "fit": "none"}
        rows = self._records(place, {**common, "metric": column.metric, "region": column.region})
        rows = rows[np.isfinite(rows["value"])]
        if column.having is not None:
            there = self._records(place, {**common, "region": column.having}).dropna(subset="value")
            rows = rows[rows["case"].isin(there["case"])]
        chosen = {row.case: row.patient for row in select(self.rows, column.where)}
        rows = rows[rows["case"].isin(chosen.keys())]
        return rows.groupby(rows["case"].map(chosen))["value"].mean()

    def _records(self, place: Path, wanted: Mapping[str, str]) -> pd.DataFrame:
        """Return the records with these values in these columns."""
        if place not in self.frames:
            self.frames[place] = records_frame(read_records(Evaluation.in_folder(place).table))
        frame = self.frames[place]
        return frame[np.logical_and.reduce([frame[key] == value for key, value in wanted.items()])]


def _listed(values: Sequence[str | float]) -> str:
    """Return values of a column of the cohort table in words."""
    return " or ".join(value if isinstance(value, str) else f"{value:g}" for value in values)


def build_table(name: str, table: TableSettings, results: Results, header: Sequence[str]) -> TableRecord:
    """Return a table with all that its print needs: measured and published numbers, tests, how each was measured.

    Args:
        name: of the table in the study.
        table: its rows, columns, tests and published numbers.
        results: the metrics of the study's cells and jobs.
        header: lines about the study that stand above every table.
    """
    sources = [source for source in table.rows.values() if source is not None]
    names = [name for source in sources for name in results.names(source)]
    rows: list[Row] = []
    if table.baselines.rows == "first":
        first = next((source for source in sources if results.state(source).is_done), None)
        rows += [_baseline(p, "", first, table, results) for p in table.baselines.predictors if first]
    for label, source in table.rows.items():
        if table.baselines.rows == "each" and source is not None and results.state(source).is_done:
            rows += [_baseline(p, f"{label}: ", source, table, results) for p in table.baselines.predictors]
        rows.append(_row(label, source, table, results))
    return TableRecord(
        name=name,
        title=table.title,
        header=list(header),
        columns=[
            Column(
                label=label,
                convention=results.convention(names, column),
                higher_is_better=HIGHER_IS_BETTER.get(column.metric),
            )
            for label, column in table.columns.items()
        ],
        rows=rows,
        tests=[_test(test, table, results) for test in table.tests],
        published_source=_source(table, results),
        note=table.note,
    )


def write_table(folder: Path, table: TableRecord) -> Path:
    """Write a table as JSON, CSV and Markdown.

    Args:
        folder: where the three files go.
        table: the table.

    Returns:
        The Markdown file.
    """
    lines = []
    for row in table.rows:
        for label, cell in row.cells.items():
            mean, sd = cell.published or (None, None)
            known = {"row": row.label, "column": label, "state": row.state, **cell.model_dump()}
            lines.append({**known, "published_mean": mean, "published_sd": sd})
    table.write(folder / f"{table.name}.json")
    write_text(folder / f"{table.name}.csv", pd.DataFrame(lines, columns=CSV_COLUMNS).to_csv(index=False))
    write_text(folder / f"{table.name}.md", _markdown(table))
    return folder / f"{table.name}.md"


def _markdown(table: TableRecord) -> str:
    """Return a table to read: the numbers, whether they stand, the tests, how each column was measured."""
    tests = comparisons_table(table)
    lines = [f"# {table.title}", "", *table.header, "", table_markdown(measured_table(table)), table.standing(), ""]
    lines += [table_markdown(tests)] if tests else []
    lines += [f"* {column.label}: {column.convention}." for column in table.columns]
    lines += [f"* Published: {table.published_source}."] if table.published_source else []
    lines += [f"* {table.note}"] if table.note else []
    lines += [f"* {row.label} failed: {row.why.splitlines()[0]}" for row in table.rows if row.why]
    return "\n".join(lines) + "\n"


def summary(values: pd.DataFrame, published: tuple[float, float | None] | None = None) -> Number:
    """Return mean, SD and n over patients of their mean over seeds, and the SD of the mean over seeds.

    Args:
        values: a row a patient, a column a seed.
        published: mean and SD that the paper gives, None where it gives none.

    Returns:
        The numbers; None stands for a mean of no patient, an SD of fewer than two patients or fewer than two seeds.
    """
    of_patient = values.mean(axis=1) if len(values) else pd.Series(dtype=float)
    n, seeds = len(of_patient), values.shape[1] if len(values) else 0
    return Number(
        mean=float(of_patient.mean()) if n else None,
        sd=float(of_patient.std(ddof=1)) if n > 1 else None,
        n=n,
        seeds=seeds,
        seed_sd=float(values.mean(axis=0).std(ddof=1)) if seeds > 1 else None,
        published=published,
    )


def _row(label: str, source: Source, table: TableSettings, results: Results) -> Row:
    """Return one row: a cell or job, or what only the paper has."""
    state, item = results.state(source), results.first(source)
    ended: ItemState = "published" if source is None else state.state
    cells = {}
    for name, column in table.columns.items():
        values = pd.DataFrame() if source is None else results.values(source, column)
        cell, rival = summary(values, _published(table, label, name, source, results)), None
        if source is not None and ended == "done" and column.metric in HIGHER_IS_BETTER:
            rival = results.rival(source, column)
        if rival is not None:
            mean = float(rival[1].mean(axis=1).mean())
            cell = cell.model_copy(update={"rival": rival[0], "rival_mean": mean})
        cells[name] = cell
    training = trained(item) if item is not None else None
    return Row(
        label=label,
        source=next(iter(results.names(source)), None),
        predictor="model",
        state=ended,
        why=state.why,
        cells=cells,
        target=results.target(source),
        convergence=convergence_words(training),
        converged=has_converged(training),
    )


def _baseline(predictor: str, before: str, source: Source, table: TableSettings, results: Results) -> Row:
    """Return the row of a predictor as it was judged beside a cell; of the best rival with its name in each column."""
    cells = {}
    for name, column in table.columns.items():
        values, rival = results.values(source, column, predictor), None
        if predictor == "best_rival":
            rival, values = results.rival(source, column) or (None, pd.DataFrame())
        cells[name] = summary(values).model_copy(update={"rival": rival})
    return Row(
        label=before + PREDICTOR_NAMES.get(predictor, "best simple rival"),
        source=next(iter(results.names(source)), None),
        predictor=predictor,
        state="done",
        cells=cells,
        target=results.target(source),
    )


def _published(
    table: TableSettings, label: str, column: str, source: Source, results: Results
) -> tuple[float, float | None] | None:
    """Return the paper's mean and SD of one cell, None where it gives none."""
    if isinstance(table.published, PublishedNumbers):
        return table.published.rows.get(label, {}).get(column)
    numbers = _of_recipe(source, results) if table.published == "recipe" else None
    if numbers is None or source is None:
        return None
    cell = results.items[results.names(source)[0]][0]
    settings = table.columns[column]
    # Published numbers may stand only beside the preset that measures as the paper did: the one of the recipe's name.
    same = isinstance(cell, Cell) and settings.preset == cell.recipe.name
    return numbers.get(settings.metric) if same else None


def _of_recipe(source: Source, results: Results) -> Mapping[str, tuple[float, float | None]] | None:
    """Return what the recipe of a cell holds of the paper's numbers: metric → mean and SD, for its own task."""
    cells = [item for name in results.names(source) for item in results.items.get(name, ()) if isinstance(item, Cell)]
    known = cells[0].recipe.published if cells else None
    return known.translations.get(cells[0].recipe.translation) if known else None


def _source(table: TableSettings, results: Results) -> str:
    """Return where the published numbers stand, "" where there are none."""
    if isinstance(table.published, PublishedNumbers):
        return table.published.source
    names = [name for source in table.rows.values() for name in results.names(source)]
    for item in (item for name in names for item in results.items.get(name, ())):
        if table.published == "recipe" and isinstance(item, Cell) and item.recipe.published:
            return item.recipe.published.source
    return ""


def _test(test: ComparisonSettings, table: TableSettings, results: Results) -> TestRow:
    """Return the test of a against b (mean over seeds), paired on the patients that both have, beside the paper's."""
    column = table.columns[test.column]
    sources = (table.rows[test.a], table.rows[test.b])
    a, b = (results.values(source, column).mean(axis=1) if source else pd.Series(dtype=float) for source in sources)
    found = _independent(a, b) if test.test == "independent t" else _paired(test, a, b)
    published = [_published(table, row, test.column, table.rows[row], results) for row in (test.a, test.b)]
    return TestRow(
        a=test.a,
        b=test.b,
        column=test.column,
        test=test.test,
        published_difference=published[0][0] - published[1][0] if published[0] and published[1] else None,
        published_p=test.published,
        published_interval=test.published_interval,
        **found,
    )


def _paired(test: ComparisonSettings, a: pd.Series, b: pd.Series) -> dict[str, Any]:
    """Return a paired test of the values of two rows."""
    difference = (a - b).dropna().to_numpy(dtype=float) if len(a) and len(b) else np.empty(0)
    outcome = PAIRED[test.test](difference)
    return {
        "n": int(difference.size),
        "mean_difference": float(difference.mean()) if difference.size else None,
        "interval": None,
        "p": None if np.isnan(outcome.p) else outcome.p,
        "reason": outcome.reason,
    }


def _independent(a: pd.Series, b: pd.Series) -> dict[str, Any]:
    """Return a test of the values of two rows as of two groups, with the 95 % interval of their difference."""
    outcome = independent_t(a.to_numpy(dtype=float), b.to_numpy(dtype=float))
    numbers = {key: None if np.isnan(float(v)) else float(v) for key, v in outcome.items() if key != "reason"}
    return {
        "n": f"{a.size} and {b.size}",
        "mean_difference": numbers["mean_difference"],
        "interval": None if numbers["ci_low"] is None else (numbers["ci_low"], numbers["ci_high"]),
        "p": numbers["p"],
        "reason": outcome["reason"],
    }
