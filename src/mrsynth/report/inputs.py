"""What a run folder holds for its report: read from files, checked, and with a plain list of what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrsynth.core.errors import InputError
from mrsynth.drawing.panels import PANEL_ARRAYS, Panel
from mrsynth.io.arrays import read_arrays
from mrsynth.io.columns import read_columns, read_history
from mrsynth.io.contract import Contract
from mrsynth.io.run import Model, Run, RunRecord

RECORD_TEXT = ("metric", "region", "dimension", "aggregation", "clip", "case", "contrast", "preset", "predictor", "fit")
RECORD_NUMBERS = ("value", "data_range", "n")
VALUE_KEYS = ("preset", "contrast", "region", "metric", "fit", "case", "predictor")
SUMMARY_NUMBERS = ("n", "mean", "sd", "median", "ci_low", "ci_high", "n_infinite", "n_missing")
TEST_NUMBERS = ("n", "statistic", "p", "p_holm", "mean_difference", "ci_low", "ci_high")
RESPONSE_COLUMNS = ("label", "patient", "region", "dose", "enhancement")
EVALUATE = "run `mrsynth evaluate` for this run again"


@dataclass(frozen=True, eq=False)
class DoseResponse:
    """How the predictions answer to the dose. frame: label, patient, region, dose, enhancement; in_words: in how many
    lesions it falls; trained: the doses of the training cases."""

    frame: pd.DataFrame
    in_words: str
    trained: Sequence[float]


@dataclass(frozen=True, eq=False)
class RunFolder:
    """Everything a report shows. Text columns of the tables are str, numbers float (missing: NaN); a part that the
    folder does not have is None or empty and named in `missing`, a sentence each."""

    path: Path
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
    panels: tuple[Panel, ...]
    missing: tuple[str, ...]

    @cached_property
    def values(self) -> Mapping[tuple[str, ...], float]:
        """The value of every record by (preset, contrast, region, metric, fit, case, predictor)."""
        keys = zip(*(self.records[name] for name in VALUE_KEYS), strict=True)
        return dict(zip(keys, map(float, self.records["value"]), strict=True))


def require_folder(run: Path) -> None:
    """Raise InputError where there is no folder."""
    if not run.is_dir():
        raise InputError(f"{run} is not a run folder.", expected="the folder that `mrsynth train --out` wrote")


def read_run(run: Path) -> RunFolder:
    """Read what a run folder holds for its report.

    Raises InputError where metrics.csv is missing or any of the files cannot be understood.
    """
    run = Path(run)
    require_folder(run)
    missing: list[str] = []

    def optional(name: str, consequence: str) -> Path | None:
        """Return a file of the run, or note what the page lacks without it."""
        if (run / name).is_file():
            return run / name
        missing.append(f"{name} is missing: {consequence}.")
        return None

    facts = optional("run.json", "seed, device, versions, commit and data fingerprint are not known")
    recipe = optional("recipe.yaml", "the settings of this run are not known")
    history = optional("log/history.csv", "there are no learning curves")
    metrics = optional("metrics.json", "there are no means, intervals, tests and published values")
    listing = optional("panels/panels.json", "there are no pictures of the cases")
    evaluation = _json(metrics, dict) if metrics else {}
    response = _response(run, evaluation.get("dose_response"))
    records = read_records(run / "metrics.csv", may_be_empty=response is not None)
    if records.empty:
        missing.append("No true scan was at hand: nothing was judged, there is the response to the dose alone.")
    elif metrics and not evaluation.get("summary"):
        missing.append("metrics.json holds no summary: there are no means and intervals.")
    judged, contract = evaluation.get("weights_sha256"), Model(Run(run).model).contract
    if judged and contract.is_file() and Contract.read(contract).weights_sha256 != judged:
        missing.insert(
            0,
            "The values and pictures are those of an earlier model, which was trained further since: run mrsynth "
            "synthesize --cohort and mrsynth evaluate again.",
        )
    missing += [f"{one['case']} could not be judged. {one['why']}" for one in evaluation.get("left_out", ())]
    return RunFolder(
        path=run,
        run=_facts(RunRecord.read(facts)) if facts else {},
        recipe=recipe.read_text(encoding="utf-8", errors="replace") if recipe else None,
        history=read_history(history) if history else None,
        records=records,
        summary=_table(evaluation.get("summary"), SUMMARY_NUMBERS),
        tests=_table(evaluation.get("tests"), TEST_NUMBERS),
        published=evaluation.get("published"),
        response=response,
        higher_is_better=evaluation.get("higher_is_better") or {},
        n_patients=evaluation.get("n_patients"),
        panels=read_panels(run) if listing else (),
        missing=tuple(missing),
    )


def _facts(record: RunRecord) -> dict[str, Any]:
    """Return what run.json says, side by side."""
    training = {} if record.training is None else record.training.model_dump(mode="json", exclude={"scans"})
    return {**training, **record.began.model_dump(mode="json")}


def read_records(path: Path, may_be_empty: bool = False) -> pd.DataFrame:
    """Read metric records, one a row; raises InputError where the file is missing, lacks a column, or has no row and
    may_be_empty is not said."""
    table = read_columns(path, "metrics", (*RECORD_TEXT, *RECORD_NUMBERS, "reason"), EVALUATE)
    if table.empty and not may_be_empty:
        raise InputError(f"{path} holds no metric records.", expected="one row a value", do=EVALUATE)
    for name in RECORD_NUMBERS:
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return table


def read_panels(run: Path) -> tuple[Panel, ...]:
    """Read the slices that RUN/panels/panels.json lists; raises InputError for a file that is missing or unusable."""
    folder = run / "panels"
    entries = _json(folder / "panels.json", list)
    return tuple(read_panel(_inside(folder, entry), entry) for entry in entries)


def read_panel(path: Path, meta: Mapping[str, Any]) -> Panel:
    """Read one panel file (.npz, never pickled) and check that its arrays share one 2-D shape.

    meta: its entry of panels.json; `case` and `window` are needed. Raises InputError.
    """
    try:
        arrays = {name: np.asarray(array, dtype=np.float32) for name, array in read_arrays(path).items()}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a panel.", found=str(error), do=EVALUATE) from None
    absent = [name for name in PANEL_ARRAYS if name not in arrays]
    shapes = {array.shape for array in arrays.values()}
    if absent or len(shapes) != 1 or any(len(shape) != 2 or 0 in shape for shape in shapes):
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no array"
        raise InputError(
            f"{path} is not a panel.", found=found, expected=", ".join(PANEL_ARRAYS) + " of one 2-D shape", do=EVALUATE
        )
    window = meta.get("window")
    if not isinstance(window, list | tuple) or len(window) != 2 or not window[0] < window[1]:
        raise InputError(
            f"panels.json, {path}: the grey window is not usable.", found=window, expected="[low, high]", do=EVALUATE
        )
    return Panel(case=str(meta.get("case", path.stem)), arrays=arrays, meta=meta)


def _response(run: Path, facts: Any) -> DoseResponse | None:
    """Read dose_response.csv, which an evaluation of several doses writes; facts: what metrics.json says of it."""
    if not isinstance(facts, dict):
        return None
    path = run / "dose_response.csv"
    table = read_columns(path, "dose response", RESPONSE_COLUMNS, EVALUATE)
    if table.empty:
        raise InputError(f"{path} holds no dose response.", expected="one row a region and dose", do=EVALUATE)
    for name in ("dose", "enhancement"):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    return DoseResponse(table, str(facts.get("in_words", "")), [float(dose) for dose in facts.get("trained", ())])


def _inside(folder: Path, entry: Any) -> Path:
    """Return the file of an entry; a listing must not lead out of its folder."""
    name = str(entry.get("file") or f"{entry.get('case')}.npz") if isinstance(entry, dict) else ""
    path = folder / Path(name).name
    if not path.is_file():
        raise InputError(
            f"{folder / 'panels.json'} names a picture that is not there.",
            found=name or entry,
            expected=path,
            do=EVALUATE,
        )
    return path


def _json(path: Path, kind: type) -> Any:
    """Return the content of a JSON file, of the kind expected (dict or list)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON.", found=str(error), do=EVALUATE) from None
    if not isinstance(content, kind):
        raise InputError(f"{path} does not hold a {kind.__name__}.", found=type(content).__name__, do=EVALUATE)
    return content


def _table(rows: Any, numbers: tuple[str, ...]) -> pd.DataFrame | None:
    """Return rows of metrics.json as a table: the named columns float, the others text; None where there are none."""
    if not rows:
        return None
    table = pd.DataFrame(rows)
    for name in (*numbers, "data_range"):
        table[name] = pd.to_numeric(table[name], errors="coerce").astype(float) if name in table else np.nan
    for name in [str(name) for name in table if name not in (*numbers, "data_range")]:
        table[name] = [str(value) if pd.notna(value) else "" for value in table[name]]
    return table
