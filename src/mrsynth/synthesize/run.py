"""mrsynth synthesize: a run's model over one examination or a whole cohort."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from mrsynth.core.errors import InputError, ModelError, MrsynthError
from mrsynth.core.files import printable, sha256_file, write_json
from mrsynth.core.image import Case
from mrsynth.core.jobs import HERE, Failure, Workers, run_each
from mrsynth.core.progress import CaseProgress, listening, remark, say, working_on
from mrsynth.core.types import contrast_name
from mrsynth.io import CaseRow, Cohort, bids_out, read_case, read_image, read_mask
from mrsynth.io.nifti_stream import is_nifti
from mrsynth.io.overwrite import Identity, identities, require_no_scan, require_own_sidecar, require_place
from mrsynth.io.predictions import Dosage, PredictedImage, Prediction, Predictions, PredictionsRecord, Sidecar, path_of
from mrsynth.io.prepared_inputs import digests_of
from mrsynth.io.read import file_digest
from mrsynth.io.sidecar import sidecar_of
from mrsynth.synthesize import REFUSE, Doses, MissingInputs, Synthesizer, Units, load_model
from mrsynth.synthesize.impute import Supply
from mrsynth.synthesize.made import dosages_of, file_of, files_of, provenance, sources_of
from mrsynth.synthesize.write import NIFTI_OR_BOTH, Formats, dicom_folder, is_written, require_free, write_result
from mrsynth.volume.engine import is_out_of_memory
from mrsynth.volume.predict import Inference


@dataclass(frozen=True)
class Place:
    """Where a prediction goes and is computed.

    Attributes:
        like: the input whose grid it gets (None: the first that is there).
        units: see Synthesizer.
        device: a torch device name (None: a GPU where there is one).
        formats: what is written.
        allow_unlike: whether inputs are taken that are unlike those of the training (`likeness`).
        workers: of a cohort; each holds the model, and takes its share of the cores.
    """

    like: str | None = None
    units: Units = "range"
    device: str | None = None
    formats: Formats = NIFTI_OR_BOTH
    allow_unlike: bool = False
    workers: Workers = HERE


def synthesize_files(
    run: Path,
    inputs: Mapping[str, Path],
    out: Path,
    place: Place = Place(),
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
        out: a NIfTI file; or a folder, where DICOM is written too, for <target>.nii.gz and <target>-dicom, and of
            several doses <target>_<dose>.nii.gz.
        place: where the prediction goes and is computed.
        missing: what to do where an input is missing.
        inference: how the volume is predicted.
        doses: what a model with a condition makes.

    Returns:
        out.

    Raises:
        InputError: where a contrast is missing, unknown, given twice or lies on another grid.
        OutputError: where out is one of the inputs, or where the file beside it is not a synthetic image's.
    """
    synthesizer = load_model(run, place.device, inference=inference, missing=missing, allow_unlike=place.allow_unlike)
    given = by_name(inputs)
    if "brain" in given:
        synthesizer = synthesizer.with_given_brain()
    supply = synthesizer.supply(name for name in given if name != "brain")
    case = next(path for name, path in given.items() if name != "brain").name
    dosages = dosages_of(synthesizer, case, {}, doses)
    like = synthesizer.place(supply, place.like)
    formats = place.formats.of(given[like], out, synthesizer.contract.target)
    files = _free_files(out, synthesizer.contract.target, dosages, given.values(), formats)
    read = {name: given[name] for name in (*supply.read, "brain") if name in given}
    common: dict[str, Any] = provenance(synthesizer, run, place.like, place.units)
    common["files"] = {name: path.name for name, path in read.items()}
    with in_words(case), CaseProgress("synthesize", 1) as bar, listening(bar.tell), working_on(case):
        images = {name: read_image(path, name) for name, path in given.items() if name != "brain"}
        masks = {"brain": read_mask(given["brain"])} if "brain" in given else {}
        origins = sources_of(synthesizer, supply, given)
        digests = {name: file_digest(path) for name, path in read.items()}
        ready = synthesizer.ready(Case(images, masks, {"case": case}), place.like, place.units)
        for dosage, path in zip(dosages, files, strict=True):
            image = synthesizer.image(ready, dosage)
            write_result(image, path, given[like], formats, synthesizer.contract, dosage, place.units == "range")
            name = path.name if formats.nifti else dicom_folder(path).name
            own = PredictedImage(file=name, sha256=sha256_file(path) if formats.nifti else None, dosage=dosage)
            made = Prediction(images=[own], like=like, inputs=origins, sha256=digests, remarks=list(ready.remarks))
            Sidecar(**common, image=name, made=made).write(sidecar_of(path))
        bar.advance(case)
    _say_unlike(case, ready.remarks)
    return out


def _say_unlike(case: str, remarks: Sequence[str]) -> None:
    """Say on the console what is unlike the training about a case."""
    for text in remarks:
        remark(escape(f"{printable(case)}: {text}"))


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
    place: Place = Place(),
    missing: MissingInputs = REFUSE,
    inference: Inference | None = None,
    doses: Doses | None = None,
) -> tuple[list[str], list[tuple[str, str]]]:
    """Predict every case of a cohort into out/<case>.nii.gz.

    DICOM, where it is asked for, goes to out/<case>-dicom; a BIDS derivative has the names that BIDS gives, and a
    sidecar beside each image.

    out/predictions.json says which model made them, for each case whose grid it has, what each input was and the
    SHA-256 of what was read and made, and under `failed` why a case could not be made. Cases that the same model has
    predicted already, in the same way from the same files, are kept. What an input's absence means is decided case by
    case. A broken case stops no other. Several processes may predict other cases into the same folder.

    Args:
        run: the run folder.
        cohort: its rows are predicted.
        out: a folder.
        split: train, val or test alone.
        place: where predictions go and are computed.
        missing: what to do where an input is missing.
        inference: how volumes are predicted.
        doses: what a model with a condition makes, by default each case at the dose and field of its row; several
            doses go to out/<case>/<target>_<dose>.nii.gz. The noise is each case's own.

    Returns:
        The cases that are there, and (case, why) of those that failed.

    Raises:
        MrsynthError: where there is no case, or a prediction would overwrite a file of the cohort.
    """
    require_place(out, folder=True)
    _require_nifti(place.formats)
    synthesizer = load_model(run, place.device, inference=inference, missing=missing, allow_unlike=place.allow_unlike)
    rows = _rows_of(cohort, split)
    predictions = Predictions(out, PredictionsRecord(**provenance(synthesizer, run, place.like, place.units)))
    scans = identities(path for row in cohort.rows for path in row.files.values())
    if place.formats.name == "bids":
        bids_out.write_description(out, next(iter(rows[0].files.values())))
    work = CaseWork(synthesizer, place, doses, predictions, scans)
    made, failed = [], []
    with CaseProgress("synthesize", len(rows)) as bar, listening(bar.tell):
        for row, result in run_each(work, rows, place.workers):
            bar.advance(row.case)
            if isinstance(result, Failure):
                why = result.reason()
                predictions.fail(row.case, why)
                failed.append((row.case, why))
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


@dataclass(frozen=True, eq=False)
class CaseWork:
    """The prediction of a cohort's case. scans: which files the whole cohort's are."""

    synthesizer: Synthesizer
    place: Place
    doses: Doses | None
    predictions: Predictions
    scans: frozenset[Identity]

    def __call__(self, row: CaseRow) -> Failure | None:
        """Predict a case, unless it lies there already; a model that cannot be used ends the whole run."""
        try:
            with working_on(row.case):
                self._predict(row)
        except ModelError as error:
            return Failure(str(error), stops=error)
        return None

    def _predict(self, row: CaseRow) -> None:
        supply = self.synthesizer.supply(row.files)
        like = row.files[self.synthesizer.place(supply, self.place.like)]
        formats = replace(self.place.formats, name=self.place.formats.name or "nifti")
        formats = formats.of(like, self.predictions.folder, self.synthesizer.contract.target)
        asked = self._asked(row, supply, like if formats.name == "bids" else None)
        files = [path_of(self.predictions.folder, image) for image in asked.images]
        if all(is_written(file, formats) for file in files) and self.predictions.holds(row.case, asked):
            self.predictions.keep(row.case)
            return
        self.predictions.forget(row.case)
        for file in files:
            require_no_scan(file, self.scans)
        say("preparing")
        case = read_case(row, supply.read, ("brain",))
        dosages = [image.dosage for image in asked.images]
        ready = self.synthesizer.ready(case, self.place.like, self.place.units)
        in_range = self.place.units == "range"
        for dosage, file in zip(dosages, files, strict=True):
            image = self.synthesizer.image(ready, dosage)
            write_result(image, file, like, formats, self.synthesizer.contract, dosage, in_range)
        self.predictions.add(row.case, asked.model_copy(update={"remarks": list(ready.remarks)}))
        _say_unlike(row.case, ready.remarks)
        if formats.name == "bids":
            self._describe(row, supply)

    def _describe(self, row: CaseRow, supply: Supply) -> None:
        """Write the sidecars of a case's images in a BIDS derivative."""
        made = self.predictions.record.cases[row.case]
        known = self.predictions.known.model_dump(exclude={"cases", "failed"})
        scans = {name: row.files[name] for name in supply.read}
        for image in made.images:
            path = path_of(self.predictions.folder, image)
            own = made.model_copy(update={"images": [image]})
            record = Sidecar(**known, image=path.name, made=own, files={name: p.name for name, p in scans.items()})
            write_json(sidecar_of(path), bids_out.sidecar(record.content(), scans))

    def _asked(self, row: CaseRow, supply: Supply, bids_like: Path | None) -> Prediction:
        """Return what is to be made of a case and of what, with the SHA-256 of each file that is read; raises
        InputError where it cannot be made. bids_like: the scan after which a BIDS derivative is named."""
        known = {"dose": row.dose, "b0_tesla": row.b0_tesla}
        dosages = dosages_of(self.synthesizer, row.case, known, self.doses, own_noise=True)
        files = files_of(row, self.synthesizer.contract.target, dosages, bids_like)
        read = replace(row, files={name: row.files[name] for name in (*supply.read, "brain") if name in row.files})
        return Prediction(
            images=[PredictedImage(file=file, dosage=dosage) for file, dosage in zip(files, dosages, strict=True)],
            like=self.synthesizer.place(supply, self.place.like),
            inputs=sources_of(self.synthesizer, supply, row.files),
            sha256=digests_of(read, supply.read),
        )


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
