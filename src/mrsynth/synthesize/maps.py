"""An image and the maps beside it: how far it may be wrong, and how far an ensemble's networks lie apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mrsynth.core.errors import InputError
from mrsynth.io.predictions import Dosage, ErrorMap, MadeFile, PredictedImage, path_of
from mrsynth.io.sidecar import stem_of
from mrsynth.synthesize.error_map import error_map, error_net, factor_of
from mrsynth.synthesize.impute import Supply
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.predict import Ready, Synthesizer
from mrsynth.synthesize.require import taken
from mrsynth.synthesize.spread import require_ensemble, spread
from mrsynth.synthesize.write import Formats, Made, dicom_folder, write_result


def to_make(synthesizer: Synthesizer, supply: Supply, place: Place, file: str, dosage: Dosage | None) -> PredictedImage:
    """Return an image that is to be made, with its maps.

    Args:
        synthesizer: that makes it.
        supply: where its inputs come from.
        place: which maps are asked for.
        file: its path below the folder.
        dosage: of a model with doses.

    Raises:
        InputError: where the model cannot make a map.
    """
    contract, error, apart = synthesizer.contract, None, None
    if place.error_map:
        error_net(synthesizer)
        factor = factor_of(contract, len(taken(contract, supply)))
        coverage = contract.calibration.coverage if contract.calibration is not None and factor is not None else None
        error = ErrorMap(file=_beside(file, "error"), coverage=coverage)
    if place.spread:
        require_ensemble(synthesizer)
        if place.formats.name == "dicom":
            raise InputError("The spread is not written as DICOM.", do="take --format both, or leave out --spread")
        apart = MadeFile(file=_beside(file, "spread"))
    return PredictedImage(file=file, dosage=dosage, error=error, spread=apart)


def _beside(file: str, what: str) -> str:
    """Return the path of a map beside an image: x.nii.gz → x_error.nii.gz, or as BIDS has it."""
    path = Path(file)
    stem = stem_of(path)
    named = stem.replace("_desc-synthetic", f"_desc-synthetic{what.capitalize()}")
    return path.with_name((named if named != stem else f"{stem}_{what}") + path.name.removeprefix(stem)).as_posix()


def paths_of(folder: Path, image: PredictedImage) -> list[Path]:
    """Return the paths of an image and of its maps.

    Args:
        folder: that they lie in.
        image: as the record lists it.
    """
    return [path_of(folder, one) for one in (image, *image.maps().values())]


def write_all(
    synthesizer: Synthesizer,
    ready: Ready,
    image: PredictedImage,
    folder: Path,
    formats: Formats,
    made: Made,
    like: Path,
) -> None:
    """Make an image with its maps and write them.

    Args:
        synthesizer: that makes it.
        ready: the prepared case.
        image: what is to be made (`to_make`).
        folder: where it goes.
        formats: in which formats; the spread is NIfTI.
        made: what the header says of the image.
        like: the scan whose grid it gets.
    """
    predicted = synthesizer.predicted(ready, image.dosage)
    write_result(synthesizer.on_own_grid(ready, predicted), path_of(folder, image), like, formats, made)
    if image.error is not None:
        found = error_map(synthesizer, ready, predicted)
        write_result(found, path_of(folder, image.error), like, formats, replace(made, kind="error map"))
    if image.spread is not None:
        found = spread(synthesizer, ready, image.dosage)
        nifti = replace(formats, name="nifti")
        write_result(found, path_of(folder, image.spread), like, nifti, replace(made, kind="spread"))


def as_series(image: PredictedImage) -> PredictedImage:
    """Return an image whose files are folders of DICOM series, as a record names them."""
    error = image.error and image.error.model_copy(update={"file": dicom_folder(Path(image.error.file)).name})
    return image.model_copy(update={"file": dicom_folder(Path(image.file)).name, "error": error})
