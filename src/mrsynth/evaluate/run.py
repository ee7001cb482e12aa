"""mrsynth evaluate: predictions against references, beside the baselines, with statistics and pictures' data."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from mrsynth.core.errors import InputError, ModelError
from mrsynth.core.files import write_json, write_text
from mrsynth.core.jobs import Failure, Workers, guarded, run_each
from mrsynth.core.locks import one_writer
from mrsynth.core.progress import track
from mrsynth.core.seeds import generator
from mrsynth.evaluate.dose_response import write_response
from mrsynth.evaluate.dose_scans import by_examination, truths_of
from mrsynth.evaluate.score_case import PairWork
from mrsynth.io import CaseRow, Cohort
from mrsynth.io.predictions import read_predictions
from mrsynth.metrics import HIGHER_IS_BETTER, MetricRecord, is_metrics_table, paired_tests, summarise, write_records
from mrsynth.metrics.rivals import load_rivals
from mrsynth.metrics.stats import best_rivals, paired_with_best
from mrsynth.model import Contract, load_contract
from mrsynth.recipes.recipe import Recipe, load_recipe

R = TypeVar("R")


@one_writer("evaluate", "out", "run")
def evaluate_run(
    run: Path,
    cohort: Cohort,
    predictions: Path,
    presets: Sequence[str],
    *,
    out: Path | None = None,
) -> Path:
    """Judge a run's predictions of a cohort; writes metrics.csv, metrics.json and panels/ into out (by default: run).

    Only patients are judged that the model was not trained on, nor one that imputed an input of theirs. The truth is
    each case's own target on its own grid, its intensities normalised by the steps that the model was trained under;
    beside the model stand the simple rivals of the training split (metrics/rivals.py). A case that cannot be judged
    does not stop the others: metrics.json names it, with the reason, under left_out, as it does a case that synthesize
    could not predict. Where a case lacks an input that a rival takes, the rival's values are missing there, with the
    reason. Of a series of doses each image is judged against the patient's scan at its dose, where there is
    one; the enhancement over the doses goes to dose_response.png and .csv in any case. Returns the path of
    metrics.json. Raises InputError where no case at all can be judged.
    """
    out = out or run
    contract, recipe = load_contract(run), load_recipe(str(run / "recipe.yaml"))
    index = _read_index(predictions, contract)
    rivals = load_rivals(run / "baselines.npz")
    patients = {row.patient for row in unseen(cohort, index, contract)}
    theirs = [row for row in cohort.rows if row.patient in patients]
    examined = by_examination(theirs)
    own = {row.case: row for row in theirs}
    pairs = [(own[row.case], case, file) for row, case, file in truths_of(index, examined)]
    work = PairWork(predictions, index, own, rivals, presets, contract, recipe, out / "panels")
    records, panels, failed = _judged(work, pairs)
    response = attempt(lambda: write_response(run, predictions, examined, cohort, out))
    if isinstance(response, Failure):
        failed.append(("dose response", response.reason()))
        response = None
    failed += seen_by_imputers(cohort, index, contract)
    failed += not_predicted(cohort, index, contract, [row.case for row, _, _ in pairs])
    failed += without_truth(theirs, index, [case for _, case, _ in pairs])
    if not records and response is None:
        raise InputError("No prediction could be judged.", found=": ".join(failed[0]) if failed else "no true scan")
    write_records(records, out / "metrics.csv")
    write_json(out / "panels" / "panels.json", panels)
    summary = summary_of(records, {row.case: row.patient for row in theirs})
    known = {"published": published(recipe), "dose_response": response, "weights_sha256": contract.weights_sha256}
    not_judged = [{"case": case, "why": why} for case, why in failed]
    write_json(out / "metrics.json", {**summary, **known, "left_out": not_judged})
    return out / "metrics.json"


def _judged(
    work: PairWork, pairs: Sequence[tuple[CaseRow, str, str]]
) -> tuple[list[MetricRecord], list[dict[str, Any]], list[tuple[str, str]]]:
    """Return the records and the panels of all pairs that can be judged, and (case, why) of the others."""
    records: list[MetricRecord] = []
    panels: list[dict[str, Any]] = []
    failed: list[tuple[str, str]] = []
    for (row, _, _), result in track(run_each(work, pairs, Workers()), "evaluate", len(pairs)):
        if isinstance(result, Failure):
            failed.append((row.case, result.reason()))
        else:
            records += result[0]
            panels.append(result[1])
    return records, panels, failed


def attempt(work: Callable[[], R]) -> R | Failure:
    """Return what some work returns, or why it failed, whatever library it failed in."""
    return guarded(lambda _: work(), None)


def predicted(index: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cases that predictions.json lists, each with its file or files."""
    return {**index["cases"], **index["series"]}


def seen_by_imputers(cohort: Cohort, index: Mapping[str, Any], contract: Contract) -> list[tuple[str, str]]:
    """Return the predicted cases of patients, unseen by the model, of whom a case has an input that was imputed by a
    model which had seen them; each with the reason why it cannot be judged. Raises ModelError where nobody knows."""
    made, saw, why = predicted(index), index.get("imputers_saw", {}), {}
    rows = [row for row in cohort.rows if row.case in made and row.patient not in contract.patients_seen()]
    for row in rows:
        for name, origin in index["sources"].get(row.case, {}).get("inputs", {}).items():
            if origin["source"] == "imputed" and name not in saw:
                raise ModelError(
                    f"{row.case}: on whom the model was trained that imputed its {name} is not known.",
                    found="predictions of an older version of mrsynth",
                    do="run mrsynth synthesize --cohort again",
                )
            if origin["source"] == "imputed" and row.patient in saw[name]:
                why[row.patient] = f"{name} was imputed by {origin['run']}, which was trained on this patient"
    return [(row.case, why[row.patient]) for row in rows if row.patient in why]


def not_predicted(
    cohort: Cohort, index: Mapping[str, Any], contract: Contract, judged: Collection[str]
) -> list[tuple[str, str]]:
    """Return the cases of unseen patients that synthesize could not make, each with the reason.

    judged: cases whose scan is a truth, also of another case's image: nothing is missing there. Cases that synthesize
    was not asked for are not missing either.
    """
    failed, made, seen = index["failed"], predicted(index), contract.patients_seen()
    rows = [row for row in cohort.rows if row.case in failed and row.patient not in seen]
    missing = [row.case for row in rows if row.case not in made and row.case not in judged]
    return [(case, f"no prediction of it; {failed[case]}") for case in missing]


def without_truth(rows: Sequence[CaseRow], index: Mapping[str, Any], judged: Collection[str]) -> list[tuple[str, str]]:
    """Return the cases of which one image was made at a dose that no scan of theirs has, each with the reason.

    judged: the cases whose images stand against a scan. A series is drawn over its doses, whatever was scanned.
    """
    single = [row.case for row in rows if row.case in index["cases"] and row.case not in judged]
    return [(case, "no scan at the dose that was asked for") for case in single]


def unseen(cohort: Cohort, index: Mapping[str, Any], contract: Contract) -> list[CaseRow]:
    """Return the predicted cases of patients in neither training nor validation, of the model or of one that filled
    their gaps; raises InputError if none."""
    made, known = predicted(index), contract.patients_seen()
    leaked = {case for case, _ in seen_by_imputers(cohort, index, contract)}
    rows = [row for row in cohort.rows if row.case in made and row.patient not in known and row.case not in leaked]
    if not rows:
        failed = [*seen_by_imputers(cohort, index, contract), *not_predicted(cohort, index, contract, ())]
        seen = f"{len(made)} predictions, all of training or validation patients or of cases not in the table"
        raise InputError(
            "There is no prediction of a patient that the model, or one that imputes, has not seen.",
            found=": ".join(failed[0]) if failed else seen,
            expected="predictions of the test split",
            do="mrsynth synthesize --model RUN --cohort cohort.csv --split test -o RUN/predictions",
        )
    return rows


def summary_of(records: Sequence[MetricRecord], patients: Mapping[str, str], bootstrap_seed: int = 0) -> dict[str, Any]:
    """Return the summary and the paired tests of a set of records, as metrics.json holds them."""
    summary = summarise(records, generator(bootstrap_seed, "summary"), patients)
    tests = [
        paired_tests(records, generator(bootstrap_seed, "tests"), patients),
        paired_with_best(records, generator(bootstrap_seed, "rivals"), patients, best=best_rivals(summary)),
    ]
    return {
        "preset": list(dict.fromkeys(record.preset for record in records)),
        "n_cases": len({record.case for record in records}),
        "n_patients": len({patients[record.case] for record in records}),
        "summary": _rows(summary),
        "tests": [row for table in tests for row in _rows(table)],
        "higher_is_better": dict(HIGHER_IS_BETTER),
    }


def published(recipe: Recipe) -> dict[str, Any] | None:
    """Return the paper's numbers for the recipe's translation, None where it has none."""
    table = recipe.published
    if table is None or recipe.translation not in table.translations:
        return None
    numbers = {metric: list(values) for metric, values in table.translations[recipe.translation].items()}
    return {"source": table.source, "n": table.n, **numbers}


def evaluate_predictions(predictions: Path, cohort: Cohort, presets: Sequence[str] | None, out: Path | None) -> Path:
    """`mrsynth evaluate --prediction RUN/predictions --cohort cohort.csv`: find the run and judge it.

    presets: the recipe's by default. out: a further copy of metrics.json; raises InputError for one of another ending.
    """
    require_json(out)
    index = read_predictions(predictions)
    run = predictions.parent if (predictions.parent / "model").is_dir() else Path(str(index.get("run", "")))
    wanted = presets or load_recipe(str(run / "recipe.yaml")).evaluate.presets
    path = evaluate_run(run, cohort, predictions, wanted)
    if out is not None and out.resolve() != path.resolve():
        write_text(out, path.read_text())
        write_text(out.with_suffix(".csv"), path.with_suffix(".csv").read_text())
    return path if out is None else out


def require_json(out: Path | None) -> None:
    """Raise InputError for a metrics file that does not end in .json: the table of values goes beside it as .csv, and
    takes the place of no other table."""
    if out is not None and out.suffix.lower() != ".json":
        raise InputError(
            f"{out}: the metrics are written as JSON.",
            found=f"the ending '{out.suffix}'",
            expected="a name that ends in .json; the table goes beside it as .csv",
            do=f"-o {out.with_suffix('.json')}" if out.name else "give a file's name with -o",
        )
    beside = None if out is None else out.with_suffix(".csv")
    if beside is not None and beside.exists() and not is_metrics_table(beside):
        raise InputError(
            f"{beside}: is there already, and would be overwritten.",
            found="a file that is no table of metrics",
            do="give another name with -o",
        )


def describe(path: Path) -> list[str]:
    """Return the lines that `mrsynth evaluate` prints of a metrics.json: the brain (or volume), model and baselines."""
    data = _read_json(path)
    lines = [f"{data['n_patients']} patients, {data['n_cases']} cases; all values in {path}"]
    for row in data["summary"]:
        shown = row["region"] in ("brain", "volume") and row["fit"] == "none"
        if shown and row["mean"] is None and row["n_infinite"]:
            lines.append(f"{row['preset']:<10} {row['metric']:<12} {row['region']:<7} {row['predictor']:<14} infinite")
        if shown and row["mean"] is not None:
            spread = "" if row["sd"] is None else f" ± {row['sd']:.4g}"
            lines.append(
                f"{row['preset']:<10} {row['metric']:<12} {row['region']:<7} {row['predictor']:<14} "
                f"{row['mean']:.4g}{spread} (n {row['n']}, range {row['data_range']:g}, {row['dimension']}-D)"
            )
    if response := data.get("dose_response"):
        lines.append(f"{response['in_words']}; dose_response.png and .csv")
    return lines


def left_out(path: Path) -> list[tuple[str, str]]:
    """Return the cases that a metrics.json says could not be judged: (case, why)."""
    return [(entry["case"], entry["why"]) for entry in _read_json(path).get("left_out", ())]


def _read_index(predictions: Path, contract: Contract) -> dict[str, Any]:
    """Read predictions.json and refuse predictions of another model."""
    index = read_predictions(predictions)
    if index.get("weights_sha256") != contract.weights_sha256:
        raise ModelError(
            f"The predictions in {predictions} were made by another model than the run holds now.",
            do="run mrsynth synthesize --cohort again",
        )
    if index.get("units", "range") != "range":
        raise ModelError(
            f"The predictions in {predictions} are not in the model's range.",
            found=f"--units {index['units']}",
            do="run mrsynth synthesize --cohort without --units",
        )
    return index


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a table's rows with None in place of NaN, for JSON."""
    rows = frame.to_dict("records")
    return [{str(k): None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises InputError where it is missing or broken."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read.", found=error, do="run mrsynth evaluate again") from error
