"""Who may be judged: patients whom neither the model nor a model that imputed an input of theirs has seen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mrsynth.core.errors import InputError, ModelError
from mrsynth.core.types import is_contrast
from mrsynth.io import CaseRow, Cohort
from mrsynth.io.contract import Contract
from mrsynth.io.predictions import Prediction, PredictionsRecord
from mrsynth.io.prepared_inputs import digests_of

Reasons = list[tuple[str, str]]
"""(case, why it is not judged)."""


@dataclass(frozen=True)
class Unseen:
    """The predicted cases of patients whom no model has seen, and why others of the table are not judged.

    Attributes:
        rows: of the cohort table, to be judged.
        left_out: of the others, with the reason.
    """

    rows: list[CaseRow]
    left_out: Reasons


def unseen(cohort: Cohort, predictions: PredictionsRecord, contract: Contract) -> Unseen:
    """Return whom to judge.

    A patient of training or validation is recognised by name, and under another name by the SHA-256 of a scan.
    Patients whom the model knows by name are left out without a word: the table holds them for training.

    Args:
        cohort: the table.
        predictions: what was made.
        contract: of the model.

    Returns:
        The rows to judge, and the cases that are not judged, each with the reason.

    Raises:
        InputError: where nobody can be judged.
        ModelError: where it is not known on whom a model that imputed an input was trained.
    """
    known = contract.patients_seen()
    rows = [row for row in cohort.rows if row.case in predictions.cases and row.patient not in known]
    why: dict[str, str] = {}
    for row in rows:
        if row.patient not in why and (reason := _why_seen(row, predictions, contract)):
            why[row.patient] = reason
    found = Unseen(
        [row for row in rows if row.patient not in why],
        [(row.case, why[row.patient]) for row in rows if row.patient in why],
    )
    if not found.rows:
        failed = [*found.left_out, *not_predicted(cohort, predictions, contract, ())]
        count = len(predictions.cases)
        nobody = f"{count} predictions, all of training or validation patients or of cases not in the table"
        raise InputError(
            "There is no prediction of a patient that the model, or one that imputes, has not seen.",
            found=": ".join(failed[0]) if failed else nobody,
            expected="predictions of the test split",
            do="mrsynth synthesize --model RUN --cohort cohort.csv --split test -o RUN/predictions",
        )
    return found


def _why_seen(row: CaseRow, predictions: PredictionsRecord, contract: Contract) -> str | None:
    """Return why a case's patient counts as seen, None for one that no model has seen."""
    made = predictions.cases[row.case]
    scans = _scans(row, made, contract)
    trained = set(contract.training.scans or ())
    if found := next((name for name, digest in scans.items() if digest in trained), None):
        return f"its {found} is a scan that the model was trained on, under the name of another patient"
    for name, origin in made.inputs.items():
        if origin.source != "imputed":
            continue
        saw = predictions.way.imputers_saw.get(name)
        if saw is None:
            raise ModelError(
                f"{row.case}: a model imputed its {name}, and it is not known on whom that model was trained.",
                found="predictions of an older version of mrsynth",
                do="run mrsynth synthesize --cohort again",
            )
        if row.patient in saw.patients or not set(saw.scans).isdisjoint(scans.values()):
            return f"{name} was imputed by {origin.run}, which was trained on this patient"
    return None


def _scans(row: CaseRow, made: Prediction, contract: Contract) -> dict[str, str]:
    """Return the SHA-256 of the scans that a prediction was made of, and of the one that it is judged against."""
    read = {name: digest for name, digest in made.sha256.items() if is_contrast(name)}
    if contract.target not in row.files or not contract.training.scans:
        return read
    try:
        return read | digests_of(row, [contract.target])
    except InputError:  # judging it says what is wrong
        return read


def not_predicted(
    cohort: Cohort, predictions: PredictionsRecord, contract: Contract, judged: Collection[str]
) -> Reasons:
    """Return the cases of unseen patients that synthesize could not make.

    Args:
        cohort: the table.
        predictions: what was made, and what failed. Cases that synthesize was not asked for are not missing.
        contract: of the model; it names the patients that it has seen.
        judged: cases whose scan is a truth, also of another case's image: nothing is missing there.

    Returns:
        (case, why) of each.
    """
    failed, seen = predictions.failed, contract.patients_seen()
    rows = [row for row in cohort.rows if row.case in failed and row.patient not in seen]
    missing = [row.case for row in rows if row.case not in predictions.cases and row.case not in judged]
    return [(case, f"no prediction of it; {failed[case]}") for case in missing]


def without_truth(rows: Sequence[CaseRow], predictions: PredictionsRecord, judged: Collection[str]) -> Reasons:
    """Return the cases of which one image was made at a dose that no scan of theirs has.

    Args:
        rows: of the predicted cases.
        predictions: what was made. A series of images is left out: it is drawn over its doses, whatever was scanned.
        judged: the cases whose images stand against a scan.

    Returns:
        (case, why) of each.
    """
    single = [row.case for row in rows if row.case not in judged and len(predictions.cases[row.case].images) == 1]
    return [(case, "no scan at the dose that was asked for") for case in single]
