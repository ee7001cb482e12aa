"""What is made of a case, what is said of it, and how its files are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

import mrsynth
from mrsynth.core.errors import InputError
from mrsynth.core.files import absolute, printable, safe_name
from mrsynth.core.progress import remark
from mrsynth.io import CaseRow, bids_out
from mrsynth.io.models import find_model
from mrsynth.io.predictions import Dosage, Origin, PredictedImage
from mrsynth.io.synthetic import why_synthetic
from mrsynth.io.way import InferenceWay, MissingWay, Seen, Way
from mrsynth.synthesize import Doses, Synthesizer, Units
from mrsynth.synthesize.error_map import NOT_CALIBRATED
from mrsynth.synthesize.impute import Supply
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.predict import Ready
from mrsynth.synthesize.require import taken, why_refused
from mrsynth.synthesize.write import Made


def made_by(synthesizer: Synthesizer, supply: Supply, place: Place, dosage: Dosage | None) -> Made:
    """Return what the header says of an image.

    Args:
        synthesizer: that makes it.
        supply: where its inputs come from.
        place: what is asked for.
        dosage: of a model with doses.
    """
    return Made(synthesizer.contract, tuple(taken(synthesizer.contract, supply)), place.units == "range", dosage)


def remarks_of(synthesizer: Synthesizer, ready: Ready, images: Sequence[PredictedImage]) -> list[str]:
    """Return what a reader must know of a case's images, a sentence each.

    Args:
        synthesizer: that makes them.
        ready: the case.
        images: with their maps.
    """
    refused = why_refused(synthesizer.contract, ready.supply)
    bare = any(image.error is not None and image.error.coverage is None for image in images)
    return [*([] if refused is None else [refused]), *([NOT_CALIBRATED] if bare else []), *ready.remarks]


def say_remarks(case: str, remarks: Sequence[str]) -> None:
    """Say remarks on the console.

    Args:
        case: what they are about.
        remarks: sentences.
    """
    for text in remarks:
        remark(escape(f"{printable(case)}: {text}"))


def provenance(synthesizer: Synthesizer, run: Path, like: str | None, units: Units) -> dict[str, Any]:
    """Return what must be known of a prediction: by which model, in which way, and on whom its imputers were trained.

    Args:
        synthesizer: that predicts.
        run: the run folder, or the name of a known model.
        like: the input whose grid was asked for; None: the first of the model's that is not left out on purpose.
        units: of the image's values.

    Returns:
        The fields of `Provenance`.
    """
    contract, missing = synthesizer.contract, synthesizer.missing
    imputers = {name: imputer.contract for name, imputer in synthesizer.imputers.items()}
    way = Way(
        weights_sha256=contract.weights_sha256,
        like=like or next((name for name in contract.inputs if name not in missing.without), None),
        units=units,
        missing=MissingWay(
            policy=missing.policy,
            without=list(missing.without),
            imputers={name: model.weights_sha256 for name, model in imputers.items()},
        ),
        imputers_saw={
            name: Seen(patients=sorted(model.patients_seen()), scans=model.training.scans or [])
            for name, model in imputers.items()
        },
        inference=InferenceWay(
            overlap=synthesizer.inference.overlap,
            precision=synthesizer.inference.precision,
            engine=synthesizer.inference.engine,
        ),
    )
    return {
        "version": mrsynth.__version__,
        "recipe": contract.recipe,
        "run": str(absolute(find_model(run))),
        "model_inputs": contract.inputs,
        "target": contract.target,
        "range": contract.range,
        "way": way,
    }


def sources_of(synthesizer: Synthesizer, supply: Supply, files: Mapping[str, Path]) -> dict[str, Origin]:
    """Return what each input is; a file that a model made is no scan.

    Args:
        synthesizer: that predicts.
        supply: where the inputs come from.
        files: contrast → file.

    Returns:
        Contrast → origin, as of `Synthesizer.sources`.
    """
    found = synthesizer.sources(supply)
    made = {name for name, origin in found.items() if origin.source == "scan" and name in files}
    return found | {name: Origin(source="synthetic image") for name in made if why_synthetic(files[name])}


def dosages_of(
    synthesizer: Synthesizer, case: str, known: Mapping[str, Any], doses: Doses | None, own_noise: bool = False
) -> Sequence[Dosage | None]:
    """Return what is to be made of a case.

    Args:
        synthesizer: that predicts.
        case: its name.
        known: the case's own "dose" and "b0_tesla", where they are known.
        doses: what was asked for; None of a model without a condition.
        own_noise: whether the noise is another one in each case, by its name.

    Returns:
        One dosage an image of a model with a condition; else (None,), one image without a dose.

    Raises:
        InputError: where doses are asked of a model without a condition, or where dose and field are not known or not
            trained.
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


def file_of(out: Path, target: str, dosage: Dosage | None, count: int) -> Path:
    """Return the file of an image.

    Args:
        out: a NIfTI file, or a folder.
        target: the contrast of the image.
        dosage: of the image, None of a model without doses.
        count: of images that are made of the case.

    Returns:
        `out` itself where the model takes no dose, or where `out` is a file and the image is alone; else
        <target>_<dose>.nii.gz in the folder `out`.

    Raises:
        InputError: where several doses are to go into one file.
    """
    if dosage is None or (count == 1 and out.name.endswith((".nii", ".nii.gz"))):
        return out
    if out.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{count} doses do not fit into one file.", found=str(out), do="give a folder with -o")
    return out / f"{target}_{dosage.dose:g}.nii.gz"


def files_of(row: CaseRow, target: str, dosages: Sequence[Dosage | None], bids_like: Path | None) -> list[str]:
    """Return the files of a case's images below a cohort's folder.

    Args:
        row: the case.
        target: the contrast of the images.
        dosages: one an image; None of a model without doses.
        bids_like: of a BIDS derivative, the scan after which its files are named; else None.

    Returns:
        Relative paths, in the order of the dosages: one file of the case's name, or, for several doses, one each in a
        folder of that name.

    Raises:
        InputError: where a file has no name in BIDS.
    """
    if bids_like is not None:
        doses = [dosage.dose if dosage is not None and len(dosages) > 1 else None for dosage in dosages]
        return [bids_out.derivative_name(bids_like, target, dose) for dose in doses]
    if len(dosages) == 1:
        return [f"{safe_name(row.case)}.nii.gz"]
    return [file_of(Path(safe_name(row.case)), target, dosage, len(dosages)).as_posix() for dosage in dosages]
