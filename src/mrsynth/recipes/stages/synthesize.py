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
from mrsynth.io import Cohort, read_case, read_image, read_mask, write_image
from mrsynth.io.files import safe_name, write_json
from mrsynth.recipes.stages.plan import contrasts_to_read
from mrsynth.recipes.stages.progress import track
from mrsynth.synthesize import Synthesizer, Units, load_model
from mrsynth.types import contrast_name


@dataclass(frozen=True)
class Place:
    """Where a prediction goes: like, the input whose grid it gets (None: the model's first); units, see Synthesizer."""

    like: str | None = None
    units: Units = "range"


def synthesize_files(run: Path, inputs: Mapping[str, Path], out: Path, place: Place = Place()) -> Path:
    """Predict from single files: contrast (or `brain`) → path; writes out and, beside it, out's name with .json.

    Raises InputError where a contrast is missing, unknown or lies on another grid.
    """
    synthesizer = load_model(run)
    masks = {"brain": read_mask(inputs["brain"])} if "brain" in inputs else {}
    images = {contrast_name(name): path for name, path in inputs.items() if name != "brain"}
    read = {name: read_image(path, name) for name, path in images.items()}
    case = Case(read, masks, {"case": next(iter(images.values())).name if images else "input"})
    write_prediction(synthesizer(case, place.like, place.units), out, synthesizer)
    sidecar = {**provenance(synthesizer, run, place), "inputs": {name: str(path) for name, path in inputs.items()}}
    write_json(out.with_name(out.name.removesuffix(".gz").removesuffix(".nii") + ".json"), sidecar)
    return out


def synthesize_cohort(
    run: Path,
    cohort: Cohort,
    out: Path,
    *,
    split: str | None = None,
    place: Place = Place(),
    progress: bool = True,
) -> tuple[list[str], list[tuple[str, str]]]:
    """Predict every case of a cohort (or of one split) into out/<case>.nii.gz; returns cases, and (case, why) failed.

    out/predictions.json says which model made them. Cases that the same model has predicted already are kept. A broken
    case does not stop the others.
    """
    synthesizer = load_model(run)
    rows = [row for row in cohort.rows if split is None or row.split == split]
    if not rows:
        raise InputError(
            "No case to synthesize.", found=f"{len(cohort.rows)} cases, none in split {split}", do="leave out --split"
        )
    index = out / "predictions.json"
    record = {**provenance(synthesizer, run, place), "cases": {}}
    if index.exists():
        before = json.loads(index.read_text())
        if all(before.get(key) == record[key] for key in ("weights_sha256", "like", "units")):
            record["cases"] = before["cases"]
    made, failed = [], []
    for row in track(rows, "synthesize", len(rows), progress):
        name = f"{safe_name(row.case)}.nii.gz"
        if record["cases"].get(row.case) == name and (out / name).exists():
            made.append(row.case)
            continue
        try:
            contract = synthesizer.contract
            case = read_case(row, contrasts_to_read(row, contract.inputs, contract.steps), ("brain",))
            write_prediction(synthesizer(case, place.like, place.units), out / name, synthesizer)
        except InputError as error:
            failed.append((row.case, str(error)))
            continue
        record["cases"][row.case] = name
        made.append(row.case)
        write_json(index, record)
    return made, failed


def write_prediction(image: Image, path: Path, synthesizer: Synthesizer) -> None:
    """Write a prediction on the patient's own grid, its header saying that it is synthetic."""
    write_image(image, path, description=f"SYNTHETIC {image.contrast} mrsynth {mrsynth.__version__}, not for diagnosis")


def provenance(synthesizer: Synthesizer, run: Path, place: Place) -> dict[str, Any]:
    """Return what must be known of a prediction: that it is synthetic, by which model, in which range."""
    contract = synthesizer.contract
    return {
        "synthetic": True,
        "notice": "Synthetic image made by research software. Not a medical device, not for diagnosis.",
        "mrsynth": mrsynth.__version__,
        "recipe": contract.recipe,
        "run": str(run),
        "weights_sha256": contract.weights_sha256,
        "model_inputs": contract.inputs,
        "target": contract.target,
        "like": place.like or contract.inputs[0],
        "units": place.units,
        "range": list(contract.range),
    }
