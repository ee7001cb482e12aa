"""mrsynth evaluate: predictions against references, beside the baselines, with statistics and pictures' data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mrsynth.core.errors import InputError, ModelError
from mrsynth.core.folders import written_as_one
from mrsynth.core.jobs import HERE, Failure, Workers, guarded, run_each
from mrsynth.core.locks import writing
from mrsynth.core.progress import track
from mrsynth.evaluate.dose_response import write_response
from mrsynth.evaluate.dose_scans import by_examination, made_of, truths_of
from mrsynth.evaluate.results import few_slices, published, require_free, require_some_value, summary_of
from mrsynth.evaluate.score_case import Judged, PairWork
from mrsynth.evaluate.unseen import Reasons, not_predicted, unseen, without_truth
from mrsynth.io import CaseRow, Cohort
from mrsynth.io.evaluation import Evaluation, LeftOut, MetricsRecord, PanelsRecord
from mrsynth.io.predictions import PredictedImage, PredictionsRecord, read_predictions
from mrsynth.io.run import Model, Run
from mrsynth.metrics import write_records
from mrsynth.metrics.rivals import Rivals, load_rivals
from mrsynth.model import Contract, load_contract
from mrsynth.recipes.recipe import Recipe, load_recipe

R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Subject:
    """What is judged, each file read once.

    Attributes:
        contract: of the model, for the target of the predictions.
        recipe: that the model was trained by.
        rivals: those that were fitted beside it.
        folder: of the predictions.
        predictions: the folder's record.
    """

    contract: Contract
    recipe: Recipe
    rivals: Rivals
    folder: Path
    predictions: PredictionsRecord

    @classmethod
    def read(cls, run: Run, folder: Path, predictions: PredictionsRecord) -> Subject:
        """Read a run.

        Args:
            run: the run.
            folder: of the predictions.
            predictions: the folder's record.

        Returns:
            The run's contract at the predictions' target, recipe and rivals beside the predictions. A model without
            its run has the recipe that it names; without the run, and for another target than the recipe's, no rival
            was fitted.

        Raises:
            ModelError: where the run cannot be used, another model made the predictions, or these are not in its range.
        """
        contract = load_contract(run.folder).for_target(predictions.target)
        if predictions.way.weights_sha256 != contract.weights_sha256:
            raise ModelError(
                f"The predictions in {folder} were made by another model than the run holds now.",
                found=f"run {run.folder}",
                do="run mrsynth synthesize --cohort again, or give the run that made them with --model",
            )
        if predictions.way.units != "range":
            raise ModelError(
                f"The predictions in {folder} are not in the model's range.",
                found=f"--units {predictions.way.units}",
                do="run mrsynth synthesize --cohort without --units",
            )
        recipe = load_recipe(str(run.recipe) if run.recipe.is_file() else contract.recipe)
        own = run.recipe.is_file() and recipe.task.target == contract.target
        return cls(contract, recipe, load_rivals(run.baselines) if own else Rivals(), folder, predictions)


def evaluate_run(
    run: Path,
    cohort: Cohort,
    predictions: Path,
    presets: Sequence[str] | None,
    *,
    out: Evaluation | None = None,
    workers: Workers = HERE,
) -> Path:
    """Judge a run's predictions of a cohort.

    Only patients are judged that the model was not trained on, nor one that imputed an input of theirs. The truth is
    each case's own target on its own grid, its intensities normalised by the steps that the model was trained under;
    beside the model stand the simple rivals of the training split (metrics/rivals.py). A case that cannot be judged
    does not stop the others: metrics.json names it, with the reason, under left_out, as it does a case that synthesize
    could not predict. Where a case lacks an input that a rival takes, the rival's values are missing there, with the
    reason. Of a series of doses each image is judged against the patient's scan at its dose, where there is
    one; the enhancement over the doses goes to dose_response.png and .csv in any case.

    Args:
        run: the run folder; nothing is written there but where `out` says so.
        cohort: the table with the true scans.
        predictions: the folder that mrsynth synthesize left.
        presets: metric conventions; the recipe's by default.
        out: where metrics.json, metrics.csv and panels/ go, all at once; the run's own evaluation by default.
        workers: where cases are judged; the results are the same, and in the same order, wherever that is.

    Returns:
        The path of metrics.json.

    Raises:
        InputError: where no case at all can be judged.
        ModelError: where the run cannot be used, or another model made the predictions.
        OutputError: where nothing can be written.
    """
    where = out or Run(run).evaluation
    require_free(where)
    subject = Subject.read(Run(run), predictions, read_predictions(predictions))
    with writing(where.folder, "evaluate"):
        return _evaluate(subject, cohort, presets or subject.recipe.evaluate.presets, where, workers)


def _evaluate(subject: Subject, cohort: Cohort, presets: Sequence[str], where: Evaluation, workers: Workers) -> Path:
    """Judge what can be judged and write all of it at once."""
    predictions, contract = subject.predictions, subject.contract
    sight = unseen(cohort, predictions, contract)
    patients = {row.patient for row in sight.rows}
    theirs = [row for row in cohort.rows if row.patient in patients]
    examined = by_examination(theirs)
    own = {row.case: row for row in theirs}
    pairs = [(own[row.case], case, image) for row, case, image in truths_of(predictions, examined)]
    with written_as_one(where.folder, gone=[where.response.name, where.response_chart.name]) as temporary:
        new = Evaluation(temporary / where.record.name)
        work = PairWork(subject.folder, predictions, own, subject.rivals, presets, contract, subject.recipe, new)
        judged, failed = _judged(work, pairs, workers)
        made = made_of("model", contract, subject.folder, predictions, examined)
        response = attempt(lambda: write_response(made, examined, cohort, new))
        if isinstance(response, Failure):
            failed.append(("dose response", response.reason()))
            response = None
        failed += sight.left_out
        failed += not_predicted(cohort, predictions, contract, [row.case for row, _, _ in pairs])
        failed += without_truth(sight.rows, predictions, [case for _, case, _ in pairs])
        records = [record for one in judged for record in one.records]
        if not records and response is None:
            raise InputError("No prediction could be judged.", found=": ".join(failed[0]) if failed else "no true scan")
        if response is None:
            require_some_value(records, str(subject.folder))
        remarks = [remark for one in judged for remark in one.remarks] + few_slices(records)
        if subject.rivals.identity is None:
            remarks.append(f"No simple rival stands beside the model: none was fitted for {contract.target}.")
        remarks += [f"{case}: {text}" for _, case, _ in pairs for text in predictions.cases[case].remarks]
        write_records(records, new.table)
        PanelsRecord(panels=[one.panel for one in judged]).write(new.listing)
        summary_of(
            records,
            {row.case: row.patient for row in theirs},
            published=published(subject.recipe),
            dose_response=response,
            weights_sha256=contract.weights_sha256,
            left_out=[LeftOut(case=case, why=why) for case, why in failed],
            remarks=remarks,
        ).write(new.record)
    return where.record


def _judged(
    work: PairWork, pairs: Sequence[tuple[CaseRow, str, PredictedImage]], workers: Workers
) -> tuple[list[Judged], Reasons]:
    """Return what was found of all pairs that can be judged, and (case, why) of the others, in the pairs' order."""
    found = {
        id(pair): result.reason() if isinstance(result, Failure) else result
        for pair, result in track(run_each(work, pairs, workers), "evaluate", len(pairs))
    }
    results = [(row.case, found[id(pair)]) for pair in pairs for row in pair[:1]]
    judged = [result for _, result in results if isinstance(result, Judged)]
    return judged, [(case, result) for case, result in results if isinstance(result, str)]


def attempt(work: Callable[[], R]) -> R | Failure:
    """Do some work and catch what goes wrong with it, whatever library it fails in.

    Args:
        work: is called once.

    Returns:
        What the work returns, or why it failed.
    """
    return guarded(lambda _: work(), None)


def evaluate_predictions(
    predictions: Path,
    cohort: Cohort,
    presets: Sequence[str] | None,
    out: Path | None,
    model: Path | None = None,
    *,
    workers: Workers = HERE,
) -> Path:
    """`mrsynth evaluate --prediction RUN/predictions --cohort cohort.csv`: find the run and judge it.

    Args:
        predictions: the folder that mrsynth synthesize left.
        cohort: the table with the true scans.
        presets: the recipe's by default.
        out: the metrics.json to write. By default the run's own for predictions that lie in the run, else in the
            folder of the predictions: a run's own results are never replaced by those of another cohort unasked.
        model: the run; by default the one that the predictions lie in, else the one that made them.
        workers: where cases are judged.

    Returns:
        The path of metrics.json.

    Raises:
        MrsynthError: as `evaluate_run` does, and where the run is not found.
    """
    if out is not None:  # a wrong name is told before anything is looked for
        require_free(Evaluation(out))
    around = Run(predictions.absolute().parent)
    inside = around.is_trained and model is None
    run = around if inside else Run(model) if model else _maker(predictions)
    where = Evaluation(out) if out else run.evaluation if inside else Evaluation.in_folder(predictions)
    return evaluate_run(run.folder, cohort, predictions, presets, out=where, workers=workers)


def _maker(predictions: Path) -> Run:
    """Return the run that made predictions; raises ModelError where it is not there (any more)."""
    run = Run(Path(read_predictions(predictions).run))
    try:
        Model.of(run.folder)
    except ModelError as error:
        raise ModelError(
            f"The run that made {predictions} is not found.",
            found=f"no trained model in the folder {run.folder}",
            do="give its run folder with --model",
        ) from error
    return run


def left_out(path: Path) -> list[tuple[str, str]]:
    """Return the cases that a metrics.json says could not be judged.

    Args:
        path: of metrics.json.

    Returns:
        (case, why) of each.

    Raises:
        InputError: where the file is missing or broken.
    """
    return [(entry.case, entry.why) for entry in read_metrics(path).left_out]


def read_metrics(path: Path) -> MetricsRecord:
    """Read a metrics.json.

    Args:
        path: of the file.

    Raises:
        InputError: where the file is missing or broken.
    """
    return MetricsRecord.read(path)
