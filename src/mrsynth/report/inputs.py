"""What a run folder holds for its report: read from files, checked, and with a plain list of what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from mrsynth.core.errors import InputError
from mrsynth.core.folders import COMMITTED_PREFIX
from mrsynth.core.locks import writing
from mrsynth.core.records import Part
from mrsynth.io.columns import read_columns, read_history
from mrsynth.io.contract import Contract
from mrsynth.io.evaluation import EVALUATE, Evaluation, MetricsRecord, PanelEntry, PanelsRecord, Published
from mrsynth.io.run import Model, Run, RunRecord
from mrsynth.report.panels import Panel, read_panel

RECORD_TEXT = ("metric", "region", "dimension", "aggregation", "clip", "case", "contrast", "preset", "predictor", "fit")
RECORD_NUMBERS = ("value", "data_range", "n")
VALUE_KEYS = ("preset", "contrast", "region", "metric", "fit", "case", "predictor")
SUMMARY_NUMBERS = ("n", "mean", "sd", "median", "ci_low", "ci_high", "n_infinite", "n_missing")
TEST_NUMBERS = ("n", "statistic", "p", "p_holm", "mean_difference", "ci_low", "ci_high")
RESPONSE_COLUMNS = ("label", "patient", "region", "dose", "enhancement")


@dataclass(frozen=True, eq=False)
class DoseResponse:
    """How the predictions answer to the dose.

    Attributes:
        frame: label, patient, region, dose, enhancement.
        in_words: in how many lesions it falls.
        trained: the doses of the training cases.
    """

    frame: pd.DataFrame
    in_words: str
    trained: Sequence[float]


@dataclass(frozen=True, eq=False)
class RunFolder:
    """Everything a report shows. Text columns of the tables are str, numbers float (missing: NaN); a part that the
    folder does not have is None or empty and named in `missing`, a sentence each.

    Attributes:
        path: of the run.
        scenes: the folder of the viewer.
        pictures: the folder of the panels.
        run: what run.json says.
        recipe: the recipe's text.
        history: the losses, a row an epoch.
        records, summary, tests: values, what they mean over patients, and tests, a row each.
        published: metric → the paper's mean and spread, with `source` and `n`.
        response: how the predictions answer to the dose.
        higher_is_better: metric → whether a higher value is better.
        n_patients: how many were judged.
        panels: the slices that are shown.
        missing: what the folder does not have, a sentence each.
    """

    path: Path
    scenes: Path
    pictures: Path
    run: Mapping[str, Any]
    recipe: str | None
    history: pd.DataFrame | None
    records: pd.DataFrame
    summary: pd.DataFrame | None
    tests: pd.DataFrame | None
    published: Mapping[str, Any] | None
    response: DoseResponse | None
    higher_is_better: Mapping[str, bool]
    n_patients: int | None
    panels: tuple[PanelEntry, ...]
    missing: tuple[str, ...]

    @cached_property
    def values(self) -> Mapping[tuple[str, ...], float]:
        """The value of every record by (preset, contrast, region, metric, fit, case, predictor)."""
        keys = zip(*(self.records[name] for name in VALUE_KEYS), strict=True)
        return dict(zip(keys, map(float, self.records["value"]), strict=True))

    def picture(self, entry: PanelEntry) -> Panel:
        """Read a listed slice: of many cases, only those that are shown are held in memory.

        Args:
            entry: one of `panels`.

        Raises:
            InputError: its file is missing or cannot be used.
        """
        return read_panel(self.pictures / entry.file, entry.model_dump())


def read_run(run: Path, evaluation: Path | None = None) -> RunFolder:
    """Read what a run holds for its report.

    Args:
        run: the run folder.
        evaluation: the metrics.json of an evaluation of this run that lies elsewhere.

    Returns:
        All parts that are there.

    Raises:
        MrsynthError: where metrics.csv is missing or any of the files cannot be understood.
    """
    if not run.is_dir():
        raise InputError(f"{run} is not a run folder.", expected="the folder that `mrsynth train --out` wrote")
    files = Run(run)
    judged = files.evaluation if evaluation is None else Evaluation(evaluation)
    _finish(judged.folder)
    missing: list[str] = []

    def optional(path: Path, consequence: str) -> Path | None:
        """Return a file, or note what the page lacks without it.

        Args:
            path: the file.
            consequence: what the page lacks, in words.

        Returns:
            The file, None where it is missing.
        """
        if path.is_file():
            return path
        name = path.relative_to(run) if path.is_relative_to(run) else path
        missing.append(f"{name} is missing: {consequence}.")
        return None

    facts = optional(files.record, "seed, device, versions, commit and data fingerprint are not known")
    recipe = optional(files.recipe, "the settings of this run are not known")
    history = optional(files.history, "there are no learning curves")
    metrics = optional(judged.record, "there are no means, intervals, tests and published values")
    listing = optional(judged.listing, "there are no pictures of the cases")
    found = MetricsRecord.read(metrics) if metrics else None
    response = _response(judged, found)
    records = read_records(judged.table, may_be_empty=response is not None)
    if records.empty:
        missing.append("No true scan was at hand: nothing was judged, there is the response to the dose alone.")
    elif found is not None and not found.summary:
        missing.append("metrics.json holds no summary: there are no means and intervals.")
    if found is not None:
        missing[:0] = _earlier_model(files, found)
        missing += [f"{one.case} could not be judged. {one.why}" for one in found.left_out]
        missing += found.remarks
    return RunFolder(
        path=run,
        scenes=judged.scenes,
        run=_facts(RunRecord.read(facts)) if facts else {},
        recipe=recipe.read_text(encoding="utf-8", errors="replace") if recipe else None,
        history=read_history(history) if history else None,
        records=records,
        summary=_table(found.summary, SUMMARY_NUMBERS) if found else None,
        tests=_table(found.tests, TEST_NUMBERS) if found else None,
        published=_published(found.published) if found else None,
        response=response,
        higher_is_better=found.higher_is_better if found else {},
        n_patients=found.n_patients if found else None,
        pictures=judged.panels,
        panels=tuple(PanelsRecord.read(listing).panels) if listing else (),
        missing=tuple(missing),
    )


def _finish(folder: Path) -> None:
    """Let an evaluation that was killed while its files took their places end first."""
    if any(folder.glob(f"{COMMITTED_PREFIX}*")):
        with writing(folder, "report"):
            pass


def _earlier_model(files: Run, found: MetricsRecord) -> list[str]:
    """Return a sentence where the run was trained further since it was judged."""
    contract = Model(files.model).contract
    if not found.weights_sha256 or not contract.is_file():
        return []
    if Contract.read(contract).weights_sha256 == found.weights_sha256:
        return []
    return [
        "The values and pictures are those of an earlier model, which was trained further since: run mrsynth "
        "synthesize --cohort and mrsynth evaluate again."
    ]


def _published(paper: Published | None) -> dict[str, Any] | None:
    """Return the paper's numbers by metric, with their source and n."""
    return None if paper is None else {"source": paper.source, "n": paper.n, **paper.values}


def _facts(record: RunRecord) -> dict[str, Any]:
    """Return what run.json says, without the scans' hashes."""
    return {key: value for key, value in record.model_dump(mode="json").items() if key != "scans"}


def read_records(path: Path, may_be_empty: bool = False) -> pd.DataFrame:
    """Read metric records, one a row.

    Args:
        path: metrics.csv.
        may_be_empty: whether a table without rows is accepted.

    Returns:
        The table, in which value, data_range and n are float (NaN where there is none) and the other columns text.

    Raises:
        InputError: the file is missing, lacks a column, or has no row although it must have one.
    """
    table = read_columns(path, "metrics", (*RECORD_TEXT, *RECORD_NUMBERS, "reason"), EVALUATE)
    if table.empty and not may_be_empty:
        raise InputError(f"{path} holds no metric records.", expected="one row a value", do=EVALUATE)
    for name in RECORD_NUMBERS:
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return table


def _response(evaluation: Evaluation, found: MetricsRecord | None) -> DoseResponse | None:
    """Read the table of doses, which an evaluation of several doses writes."""
    if found is None or found.dose_response is None:
        return None
    path, facts = evaluation.response, found.dose_response
    table = read_columns(path, "dose response", RESPONSE_COLUMNS, EVALUATE)
    if table.empty:
        raise InputError(f"{path} holds no dose response.", expected="one row a region and dose", do=EVALUATE)
    for name in ("dose", "enhancement"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return DoseResponse(table, facts.in_words, facts.trained)


def _table(rows: Sequence[Part], numbers: tuple[str, ...]) -> pd.DataFrame | None:
    """Return rows of metrics.json as a table: the named columns float, the others text; None where there are none."""
    if not rows:
        return None
    table = pd.DataFrame([row.model_dump() for row in rows])
    for name in (*numbers, "data_range"):
        table[name] = pd.to_numeric(table[name], errors="coerce").astype(float)
    for name in [str(name) for name in table if name not in (*numbers, "data_range")]:
        table[name] = [str(value) if pd.notna(value) else "" for value in table[name]]
    return table
