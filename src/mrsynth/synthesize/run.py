"""mrsynth synthesize: a run's model over one examination or a whole cohort."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrsynth.core.errors import InputError, MrsynthError
from mrsynth.core.image import Case
from mrsynth.core.jobs import Failure, run_each
from mrsynth.core.progress import CaseProgress, listening, working_on
from mrsynth.core.types import contrast_name
from mrsynth.io import CaseRow, Cohort, bids_out, read_image, read_mask
from mrsynth.io.nifti_stream import is_nifti
from mrsynth.io.overwrite import identities, require_no_scan, require_own_sidecar, require_place
from mrsynth.io.predictions import Dosage, PredictedImage, Prediction, Predictions, PredictionsRecord, Sidecar
from mrsynth.io.read import file_digest
from mrsynth.io.sidecar import sidecar_of
from mrsynth.synthesize import REFUSE, Doses, MissingInputs, Synthesizer, load_model
from mrsynth.synthesize.case_work import CaseWork, CohortWork
from mrsynth.synthesize.impute import Supply
from mrsynth.synthesize.made import dosages_of, file_of, made_by, provenance, remarks_of, say_remarks, sources_of
from mrsynth.synthesize.maps import as_series, paths_of, to_make, write_all
from mrsynth.synthesize.place import USUAL, Place
from mrsynth.synthesize.predict import Ready
from mrsynth.synthesize.targets import Kept, require_some, targets_of, wanted
from mrsynth.synthesize.write import Formats, require_free
from mrsynth.volume.engine import is_out_of_memory
from mrsynth.volume.predict import Inference


def synthesize_files(
    run: Path,
    inputs: Mapping[str, Path],
    out: Path,
    place: Place = USUAL,
    *,
    missing: MissingInputs = REFUSE,
    inference: Inference | None = None,
    doses: Doses | None = None,
) -> Path:
    """Predict from single files; writes out and, beside it, a sidecar: out's name with .json.

    Args:
        run: the run folder.
        inputs: contrast, or `brain`, → path. A brain mask that is given is taken, wherever the model's own preparation
            would look for one.
        out: a NIfTI file; or a folder, where DICOM is written too or several contrasts are made, for <target>.nii.gz
            and <target>-dicom, and of several doses <target>_<dose>.nii.gz.
        place: what is made, where it goes and is computed.
        missing: what to do where an input is missing.
        inference: how the volume is predicted.
        doses: what a model with a condition makes.

    Returns:
        out.

    Raises:
        InputError: where a contrast is missing, unknown, given twice or lies on another grid, or nothing is to be made.
        OutputError: where out is one of the inputs, or where the file beside it is not a synthetic image's.
    """
    given = by_name(inputs)
    tasks = _tasks(_loaded(run, place, missing, inference), given, out, place, doses)
    case = _case_of(given)
    kept, remarks = Kept(), dict[str, None]()
    with in_words(case), CaseProgress("synthesize", 1) as bar, listening(bar.tell), working_on(case):
        images = {name: read_image(path, name) for name, path in given.items() if name != "brain"}
        masks = {"brain": read_mask(given["brain"])} if "brain" in given else {}
        whole = Case(images, masks, {"case": case})
        for task in tasks:
            ready = kept.ready(task.synthesizer, task.supply, place, lambda: whole)
            _make(task, ready, run, given, place)
            remarks |= dict.fromkeys(remarks_of(task.synthesizer, ready, task.images))
        bar.advance(case)
    say_remarks(case, list(remarks))
    return out


@dataclass(frozen=True, eq=False)
class _Task:
    """One contrast to make of single files: an image a dosage."""

    synthesizer: Synthesizer
    supply: Supply
    images: list[PredictedImage]
    folder: Path
    formats: Formats


def _loaded(run: Path, place: Place, missing: MissingInputs, inference: Inference | None) -> Synthesizer:
    """Return the run's synthesizer."""
    return load_model(
        run,
        place.device,
        inference=inference,
        missing=missing,
        allow_unlike=place.allow_unlike,
        anyway=place.anyway,
    )


def _tasks(
    synthesizer: Synthesizer, given: Mapping[str, Path], out: Path, place: Place, doses: Doses | None
) -> list[_Task]:
    """Return what is to be made of single files; raises MrsynthError where something cannot be."""
    there, case = [name for name in given if name != "brain"], _case_of(given)
    if "brain" in given:
        synthesizer = synthesizer.with_given_brain()
    makers = [synthesizer.making(target) for target in targets_of(synthesizer.contract, place.targets)]
    makers = [maker for maker in makers if wanted(maker, place, there, case)]
    require_some(makers, synthesizer.contract)
    if len(makers) > 1 and is_nifti(out):
        names = ", ".join(maker.contract.target for maker in makers)
        raise InputError("Several images do not fit into one file.", found=f"{out} for {names}", do="-o a folder")
    tasks = []
    for maker in makers:
        supply, target = maker.supply(there), maker.contract.target
        dosages = dosages_of(maker, case, {}, doses)
        formats = place.formats.of(given[maker.place(supply, place.like)], out, target)
        own = out / f"{target}.nii.gz" if place.several and not is_nifti(out) else out
        files = _free_files(own, target, dosages, given.values(), formats)
        images = [to_make(maker, supply, place, f.name, dosage) for f, dosage in zip(files, dosages, strict=True)]
        _require_free_maps(files[0].parent, images, given.values(), formats)
        tasks.append(_Task(maker, supply, images, files[0].parent, formats))
    return tasks


def _case_of(given: Mapping[str, Path]) -> str:
    """Return how a case of single files is called: as its first image."""
    return next((path.name for name, path in given.items() if name != "brain"), "the case")


def _make(task: _Task, ready: Ready, run: Path, given: Mapping[str, Path], place: Place) -> None:
    """Make the images of a task, each with its sidecar."""
    synthesizer, formats = task.synthesizer, task.formats
    read = {name: given[name] for name in (*task.supply.read, "brain") if name in given}
    common: dict[str, Any] = provenance(synthesizer, run, place.like, place.units)
    common["files"] = {name: path.name for name, path in read.items()}
    known: dict[str, Any] = {"inputs": sources_of(synthesizer, task.supply, given), "like": ready.like}
    known |= {
        "sha256": {n: file_digest(path) for n, path in read.items()},
        "remarks": remarks_of(synthesizer, ready, task.images),
    }
    for image in task.images:
        made = made_by(synthesizer, task.supply, place, image.dosage)
        write_all(synthesizer, ready, image, task.folder, formats, made, given[ready.like])
        own = image.with_digest(task.folder) if formats.nifti else as_series(image)
        record = Sidecar(**common, image=own.file, made=Prediction(images=[own], **known))
        record.write(sidecar_of(task.folder / image.file))


def by_name(inputs: Mapping[str, Path]) -> dict[str, Path]:
    """Return the inputs by contrast, or `brain`.

    Args:
        inputs: a spelling of a contrast, or `brain`, → path.

    Raises:
        InputError: for what is no contrast, or is given twice.
    """
    found: dict[str, Path] = {}
    for spelling, path in inputs.items():
        name = spelling if spelling == "brain" else contrast_name(spelling)
        if name in found:
            raise InputError(f"Two inputs are {name}.", found=f"{found[name]}, {path}", do="give one of them")
        found[name] = path
    return found


@contextmanager
def in_words(case: str) -> Iterator[None]:
    """Turn what a library could not do with a case into an error in words. Errors of mrsynth and of files pass.

    Args:
        case: its name, for the message.

    Raises:
        InputError: in place of any other error; where memory ran out it says what helps.
    """
    try:
        yield
    except (MrsynthError, OSError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise InputError(
                f"{case}: the image does not fit into memory.",
                found=type(error).__name__,
                do="let a pass take less (--memory-gib), or use a machine with more memory",
            ) from error
        raise InputError(
            f"{case}: the image cannot be made.",
            found=f"{type(error).__name__}: {error}",
            do="check the scans (mrsynth check), their spacing and number of slices",
        ) from error


def synthesize_cohort(
    run: Path,
    cohort: Cohort,
    out: Path,
    *,
    split: str | None = None,
    place: Place = USUAL,
    missing: MissingInputs = REFUSE,
    inference: Inference | None = None,
    doses: Doses | None = None,
) -> tuple[list[str], list[tuple[str, str]]]:
    """Predict every case of a cohort into out/<case>.nii.gz.

    DICOM, where it is asked for, goes to out/<case>-dicom; a BIDS derivative has the names that BIDS gives, and a
    sidecar beside each image. Of several contrasts each has a folder of its own, out/<target>, as if it were asked for
    alone.

    out/predictions.json says which model made them, for each case whose grid it has, what each input was and the
    SHA-256 of what was read and made, and under `failed` why a case could not be made. Cases that the same model has
    predicted already, in the same way from the same files, are kept. What an input's absence means is decided case by
    case. A broken case stops no other. Several processes may predict other cases into the same folder.

    Args:
        run: the run folder.
        cohort: its rows are predicted.
        out: a folder.
        split: train, val or test alone.
        place: what is made, where it goes and is computed.
        missing: what to do where an input is missing.
        inference: how volumes are predicted.
        doses: what a model with a condition makes, by default each case at the dose and field of its row; several
            doses go to out/<case>/<target>_<dose>.nii.gz. The noise is each case's own.

    Returns:
        The case of each image that is there, and (case, why) of those that failed.

    Raises:
        MrsynthError: where there is no case, or a prediction would overwrite a file of the cohort.
    """
    require_place(out, folder=True)
    _require_nifti(place.formats)
    synthesizer = _loaded(run, place, missing, inference)
    rows = _rows_of(cohort, split)
    scans = identities(path for row in cohort.rows for path in row.files.values())
    works = {}
    for target in targets_of(synthesizer.contract, place.targets):
        maker, folder = synthesizer.making(target), out / target if place.several else out
        record = PredictionsRecord(**provenance(maker, run, place.like, place.units))
        works[target] = CaseWork(maker, place, doses, Predictions(folder, record), scans)
        if place.formats.name == "bids":
            bids_out.write_description(folder, next(iter(rows[0].files.values())))
    made, failed = [], []
    with CaseProgress("synthesize", len(rows)) as bar, listening(bar.tell):
        for row, results in run_each(CohortWork(works), rows, place.workers):
            bar.advance(row.case)
            for target, result in (dict.fromkeys(works, results) if isinstance(results, Failure) else results).items():
                if isinstance(result, Failure):
                    why = result.reason()
                    works[target].predictions.fail(row.case, why)
                    failed.append((row.case, f"{target}: {why}" if place.several else why))
                else:
                    made.append(row.case)
    return made, failed


def _require_nifti(formats: Formats) -> None:
    """Raise InputError where a cohort would be written as DICOM alone."""
    if formats.name == "dicom":
        raise InputError("A cohort is not written as DICOM alone: evaluate reads NIfTI.", do="take --format both")


def _rows_of(cohort: Cohort, split: str | None) -> list[CaseRow]:
    """Return the rows of a split, or all; raises InputError where there are none."""
    rows = [row for row in cohort.rows if split is None or row.split == split]
    if not rows:
        raise InputError(
            "No case to synthesize.", found=f"{len(cohort.rows)} cases, none in split {split}", do="leave out --split"
        )
    return rows


def _require_free_maps(
    folder: Path, images: Iterable[PredictedImage], inputs: Iterable[Path], formats: Formats
) -> None:
    """Raise OutputError where a map would overwrite something that is not ours."""
    known = identities(inputs)
    for image in images:
        for path in paths_of(folder, image)[1:]:
            require_no_scan(path, known)
            require_free(path, formats)


def _free_files(
    out: Path, target: str, dosages: Sequence[Dosage | None], inputs: Iterable[Path], formats: Formats
) -> list[Path]:
    """Return the file of each image; raises OutputError where one of them, or its sidecar, would overwrite something
    that is not ours."""
    if formats.name == "bids":
        raise InputError("A BIDS derivative is made of a cohort.", do="give --cohort, or take --format nifti")
    out = out / f"{target}.nii.gz" if formats.dicom and dosages[0] is None and not is_nifti(out) else out
    files = [file_of(out, target, dosage, len(dosages)) for dosage in dosages]
    known = identities(inputs)
    for path in files:
        require_place(path)
        require_no_scan(path, known)
        require_own_sidecar(sidecar_of(path))
        require_free(path, formats)
    return files
