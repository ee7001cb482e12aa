"""mrsynth synthesize: a run's model over one examination or a whole cohort."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mrsynth
from mrsynth.errors import InputError
from mrsynth.image import Case, Image
from mrsynth.io import CaseRow, Cohort, read_case, read_image, read_mask, write_image
from mrsynth.io.files import safe_name, write_json
from mrsynth.recipes.stages.progress import CaseProgress
from mrsynth.synthesize import REFUSE, Doses, Inference, MissingInputs, Synthesizer, Units, load_model
from mrsynth.synthesize.dose import Dosage
from mrsynth.types import contrast_name


@dataclass(frozen=True)
class Place:
    """Where a prediction goes and is computed: like, the input whose grid it gets (None: the first that is there);
    units, see Synthesizer; device, a torch device name (None: a GPU where there is one)."""

    like: str | None = None
    units: Units = "range"
    device: str | None = None


def synthesize_files(
    run: Path,
    inputs: Mapping[str, Path],
    out: Path,
    place: Place = Place(),
    *,
    missing: MissingInputs = REFUSE,
    inference: Inference | None = None,
    doses: Doses | None = None,
    progress: bool = True,
) -> Path:
    """Predict from single files: contrast (or `brain`) → path; writes out and, beside it, out's name with .json.

    A brain mask that is given is taken, wherever the model's own preparation would look for one.

    doses: what a model with a condition makes; out is then a folder, for <target>_<dose>.nii.gz, or the file of a
    single dose. Raises InputError where a contrast is missing, unknown or lies on another grid.
    """
    synthesizer = load_model(run, place.device, inference=inference, missing=missing)
    images = {contrast_name(name): path for name, path in inputs.items() if name != "brain"}
    supply = synthesizer.supply(images)
    masks = {"brain": read_mask(inputs["brain"])} if "brain" in inputs else {}
    if masks:
        steps = [
            {name: own | {"source": "given"} if name == "brain_mask" else own for name, own in step.items()}
            for step in synthesizer.contract.steps
        ]
        synthesizer.contract = synthesizer.contract.model_copy(update={"steps": steps})
    read = {name: read_image(path, name) for name, path in images.items()}
    case = Case(read, masks, {"case": next(iter(images.values())).name})
    sidecar = {
        **provenance(synthesizer, run, place),
        "like": synthesizer.place(supply, place.like),
        "inputs": {name: str(path) for name, path in inputs.items()},
        "sources": synthesizer.sources(supply),
    }
    dosages = dosages_of(synthesizer, case.name, {}, doses)
    files = {dosage: _file_of(out, synthesizer.contract.target, dosage, len(dosages)) for dosage in dosages}
    with CaseProgress("synthesize", 1, progress) as bar:
        series = synthesizer.series(case, dosages, place.like, place.units, _teller(bar, case.name))
        for image, (dosage, path) in zip(series, files.items(), strict=True):
            write_prediction(image, path, dosage)
            beside = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")
            write_json(beside, sidecar if dosage is None else {**sidecar, "condition": asdict(dosage)})
        bar.advance(case.name)
    return out


def synthesize_cohort(
    run: Path,
    cohort: Cohort,
    out: Path,
    *,
    split: str | None = None,
    place: Place = Place(),
    missing: MissingInputs = REFUSE,
    inference: Inference | None = None,
    doses: Doses | None = None,
    progress: bool = True,
) -> tuple[list[str], list[tuple[str, str]]]:
    """Predict every case of a cohort (or of one split) into out/<case>.nii.gz; returns cases, and (case, why) failed.

    out/predictions.json says which model made them, and for each case under `sources` whose grid it has and what each
    input was. Cases that the same model has predicted already, in the same way from the same sources, are kept. What
    an input's absence means is decided case by case. A broken case does not stop the others.

    doses: what a model with a condition makes, by default each case at the dose and field of its row; several doses go
    to out/<case>/<target>_<dose>.nii.gz and stand under `series` instead of `cases`. The noise is each case's own.
    """
    synthesizer = load_model(run, place.device, inference=inference, missing=missing)
    rows = [row for row in cohort.rows if split is None or row.split == split]
    if not rows:
        raise InputError(
            "No case to synthesize.", found=f"{len(cohort.rows)} cases, none in split {split}", do="leave out --split"
        )
    index = out / "predictions.json"
    record = _started(index, provenance(synthesizer, run, place))
    made, failed = [], []
    with CaseProgress("synthesize", len(rows), progress) as bar:
        for row in rows:
            try:
                known = {"dose": row.dose, "b0_tesla": row.b0_tesla}
                dosages = dosages_of(synthesizer, row.case, known, doses, own_noise=True)
                origin = _origin(synthesizer, row, place, dosages)
                files = _files_of(row, synthesizer.contract.target, dosages)
                table, entry = ("cases", files[0]) if len(files) == 1 else ("series", files)
                kept = record[table].get(row.case) == entry and record["sources"].get(row.case) == origin
                if not (kept and all((out / file).exists() for file in files)):
                    images = _predict(synthesizer, row, place, bar, dosages)
                    for image, dosage, file in zip(images, dosages, files, strict=True):
                        write_prediction(image, out / file, dosage)
                    record["cases"].pop(row.case, None)  # one image before, a series now, or the other way round
                    record["series"].pop(row.case, None)
                    record[table][row.case], record["sources"][row.case] = entry, origin
                    write_json(index, record)
                made.append(row.case)
            except InputError as error:
                failed.append((row.case, str(error)))
            bar.advance(row.case)
    return made, failed


def dosages_of(
    synthesizer: Synthesizer, case: str, known: Mapping[str, Any], doses: Doses | None, own_noise: bool = False
) -> Sequence[Dosage | None]:
    """Return what is to be made of a case: one image, or one a dose of a model with a condition.

    Raises InputError where doses are asked of another model, or where dose and field are not known or not trained.
    """
    condition = synthesizer.contract.condition
    if condition is not None:
        return (doses or Doses()).of_case(condition, case, known, own_noise)
    if doses is not None:
        raise InputError(
            f"This model makes {synthesizer.contract.target} and knows nothing of doses.",
            do="leave out --dose, --b0, --seed and --allow-extrapolation",
        )
    return (None,)


def _file_of(out: Path, target: str, dosage: Dosage | None, count: int) -> Path:
    """Return the file of an image: out itself, or one in the folder out, named by its dose."""
    if dosage is None or (count == 1 and out.name.endswith((".nii", ".nii.gz"))):
        return out
    if out.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{count} doses do not fit into one file.", found=str(out), do="give a folder with -o")
    return out / f"{target}_{dosage.dose:g}.nii.gz"


def _files_of(row: CaseRow, target: str, dosages: Sequence[Dosage | None]) -> list[str]:
    """Return the files of a case's images below a cohort's folder: one of its name, or a folder of several doses."""
    if len(dosages) == 1:
        return [f"{safe_name(row.case)}.nii.gz"]
    return [str(_file_of(Path(safe_name(row.case)), target, dosage, len(dosages))) for dosage in dosages]


def _teller(bar: CaseProgress, case: str) -> Callable[[int, int], None]:
    """Return what shows a network's progress beside a case."""
    return lambda done, total: bar.tell(case, f"{done}/{total}")


def _predict(
    synthesizer: Synthesizer, row: CaseRow, place: Place, bar: CaseProgress, dosages: Sequence[Dosage | None]
) -> Iterator[Image]:
    """Yield the predictions of a cohort's case."""
    bar.tell(row.case, "preparing")
    case = read_case(row, synthesizer.supply(row.files).read, ("brain",))
    return synthesizer.series(case, dosages, place.like, place.units, _teller(bar, row.case))


def _origin(synthesizer: Synthesizer, row: CaseRow, place: Place, dosages: Sequence[Dosage | None]) -> dict[str, Any]:
    """Return whose grid a case's prediction gets, what its inputs are, and at which doses it is made; raises InputError
    where it cannot be made."""
    supply = synthesizer.supply(row.files)
    found = {"like": synthesizer.place(supply, place.like), "inputs": synthesizer.sources(supply)}
    return found | ({"condition": [asdict(d) for d in dosages if d]} if dosages[0] is not None else {})


def _started(index: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a cohort's predictions, with the cases that were predicted in the same way before."""
    record: dict[str, Any] = {**known, "cases": {}, "series": {}, "sources": {}}
    if index.exists():
        before = json.loads(index.read_text())
        if all(before.get(key) == record[key] for key in ("weights_sha256", "like", "units", "missing", "inference")):
            record |= {key: before.get(key, {}) for key in ("cases", "series", "sources")}
    return record


def write_prediction(image: Image, path: Path, dosage: Dosage | None = None) -> None:
    """Write a prediction on the patient's own grid, its header saying that it is synthetic (and at which dose)."""
    what = image.contrast if dosage is None else f"{image.contrast} {dosage.words()}"
    write_image(image, path, description=f"SYNTHETIC {what} mrsynth {mrsynth.__version__}, not for diagnosis")


def provenance(synthesizer: Synthesizer, run: Path, place: Place) -> dict[str, Any]:
    """Return what must be known of a prediction: that it is synthetic, by which model, in which range."""
    contract, missing = synthesizer.contract, synthesizer.missing
    return {
        "synthetic": True,
        "notice": "Synthetic image made by research software. Not a medical device, not for diagnosis.",
        "mrsynth": mrsynth.__version__,
        "recipe": contract.recipe,
        "run": str(run),
        "weights_sha256": contract.weights_sha256,
        "model_inputs": contract.inputs,
        "target": contract.target,
        "like": place.like or next((name for name in contract.inputs if name not in missing.without), None),
        "units": place.units,
        "range": list(contract.range),
        "missing": {
            "policy": missing.policy,
            "without": list(missing.without),
            "imputers": {n: imputer.contract.weights_sha256 for n, imputer in synthesizer.imputers.items()},
        },
        "inference": synthesizer.inference.model_dump(mode="json", include={"overlap", "precision"}),
    }
