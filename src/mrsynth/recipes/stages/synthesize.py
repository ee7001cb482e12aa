"""mrsynth synthesize: a run's model over one examination or a whole cohort."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrsynth
from mrsynth.errors import InputError
from mrsynth.image import Case, Image
from mrsynth.io import CaseRow, Cohort, read_case, read_image, read_mask, write_image
from mrsynth.io.files import safe_name, write_json
from mrsynth.recipes.stages.progress import CaseProgress
from mrsynth.synthesize import REFUSE, Inference, MissingInputs, Synthesizer, Units, load_model
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
    progress: bool = True,
) -> Path:
    """Predict from single files: contrast (or `brain`) → path; writes out and, beside it, out's name with .json.

    Raises InputError where a contrast is missing, unknown or lies on another grid.
    """
    synthesizer = load_model(run, place.device, inference=inference, missing=missing)
    images = {contrast_name(name): path for name, path in inputs.items() if name != "brain"}
    supply = synthesizer.supply(images)
    masks = {"brain": read_mask(inputs["brain"])} if "brain" in inputs else {}
    read = {name: read_image(path, name) for name, path in images.items()}
    case = Case(read, masks, {"case": next(iter(images.values())).name})
    with CaseProgress("synthesize", 1, progress) as bar:
        image = synthesizer(case, place.like, place.units, lambda done, total: bar.tell(case.name, f"{done}/{total}"))
        bar.advance(case.name)
    write_prediction(image, out)
    sidecar = {
        **provenance(synthesizer, run, place),
        "like": synthesizer.place(supply, place.like),
        "inputs": {name: str(path) for name, path in inputs.items()},
        "sources": synthesizer.sources(supply),
    }
    write_json(out.with_name(out.name.removesuffix(".gz").removesuffix(".nii") + ".json"), sidecar)
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
    progress: bool = True,
) -> tuple[list[str], list[tuple[str, str]]]:
    """Predict every case of a cohort (or of one split) into out/<case>.nii.gz; returns cases, and (case, why) failed.

    out/predictions.json says which model made them, and for each case under `sources` whose grid it has and what each
    input was. Cases that the same model has predicted already, in the same way from the same sources, are kept. What
    an input's absence means is decided case by case. A broken case does not stop the others.
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
            name = f"{safe_name(row.case)}.nii.gz"
            try:
                origin = _origin(synthesizer, row, place)
                kept = record["cases"].get(row.case) == name and record["sources"].get(row.case) == origin
                if not (kept and (out / name).exists()):
                    write_prediction(_predict(synthesizer, row, place, bar), out / name)
                    record["cases"][row.case], record["sources"][row.case] = name, origin
                    write_json(index, record)
                made.append(row.case)
            except InputError as error:
                failed.append((row.case, str(error)))
            bar.advance(row.case)
    return made, failed


def _predict(synthesizer: Synthesizer, row: CaseRow, place: Place, bar: CaseProgress) -> Image:
    """Return the prediction of a cohort's case."""
    bar.tell(row.case, "preparing")
    case = read_case(row, synthesizer.supply(row.files).read, ("brain",))
    return synthesizer(case, place.like, place.units, lambda done, total: bar.tell(row.case, f"{done}/{total}"))


def _origin(synthesizer: Synthesizer, row: CaseRow, place: Place) -> dict[str, Any]:
    """Return whose grid a case's prediction gets and what its inputs are; raises InputError where it cannot be made."""
    supply = synthesizer.supply(row.files)
    return {"like": synthesizer.place(supply, place.like), "inputs": synthesizer.sources(supply)}


def _started(index: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a cohort's predictions, with the cases that were predicted in the same way before."""
    record: dict[str, Any] = {**known, "cases": {}, "sources": {}}
    if index.exists():
        before = json.loads(index.read_text())
        if all(before.get(key) == record[key] for key in ("weights_sha256", "like", "units", "missing", "inference")):
            record |= {key: before[key] for key in ("cases", "sources")}
    return record


def write_prediction(image: Image, path: Path) -> None:
    """Write a prediction on the patient's own grid, its header saying that it is synthetic."""
    write_image(image, path, description=f"SYNTHETIC {image.contrast} mrsynth {mrsynth.__version__}, not for diagnosis")


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
