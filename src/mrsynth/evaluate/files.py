"""mrsynth evaluate on files: a prediction against a reference, or a folder against a folder."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mrsynth.core.errors import InputError
from mrsynth.core.folders import written_as_one
from mrsynth.core.image import grid_error
from mrsynth.core.jobs import Failure
from mrsynth.core.locks import writing
from mrsynth.evaluate.results import few_slices, require_free, require_some_value, summary_of
from mrsynth.evaluate.run import attempt
from mrsynth.io import read_image, read_mask, read_prediction
from mrsynth.io.cohort import patient_of
from mrsynth.io.evaluation import Evaluation, LeftOut
from mrsynth.io.nifti_stream import is_nifti
from mrsynth.io.sidecar import stem_of
from mrsynth.metrics import PRESETS, MetricRecord, PairInfo, build_regions, evaluate_pair, write_records

FAR = 10.0
"""Times the data range that an image may span, or its share that a reference must: outliers do, other units do more."""

UNLIKE = 50.0
"""Times the span of a prediction that its reference may have: a bad prediction may be flat, other units are more."""


def evaluate_files(
    prediction: Path,
    reference: Path,
    mask: Path | None,
    data_range: float | None,
    presets: Sequence[str],
    out: Path | None,
) -> Path:
    """Judge a file against a file, or a folder against a folder (same names); writes metrics.json and metrics.csv.

    A pair that cannot be judged does not stop the others: metrics.json names it, with the reason, under left_out. The
    patient, over whom means are taken, is told by the name: sub-01_ses-1 and sub-01_ses-2 are one.

    Args:
        prediction: a file or a folder.
        reference: a file or a folder.
        mask: of the brain, a file or a folder; without one the whole volume is judged, as region `volume`.
        data_range: of PSNR and SSIM, where the preset does not say it.
        presets: metric conventions.
        out: metrics.json by default.

    Returns:
        out.

    Raises:
        InputError: where a partner is missing, two files of a folder mean one case, no pair can be judged, or out does
            not end in .json.
        OutputError: where out is something else already, or cannot be written.
    """
    where = Evaluation(out or Path("metrics.json"))
    require_free(where)
    pairs = _pairs(prediction, reference, mask)
    records: list[MetricRecord] = []
    failed: list[LeftOut] = []
    for case, pair in pairs.items():
        result = attempt(partial(_judge, case, *pair, data_range, presets))
        if isinstance(result, Failure):
            failed.append(LeftOut(case=case, why=result.reason()))
        else:
            records += result
    if not records:
        raise InputError(failed[0].why)
    require_some_value(records, str(prediction))
    patients = {case: patient_of(case) for case in pairs}
    remarks = few_slices(records)
    if len(set(patients.values())) == len(pairs) > 1:
        remarks.append("Each file counts as a patient: no two names (sub-X_ses-Y …) say that they are of one.")
    with writing(where.folder, "evaluate"), written_as_one(where.folder) as temporary:
        new = Evaluation(temporary / where.record.name)
        write_records(records, new.table)
        summary_of(records, patients, left_out=failed, remarks=remarks).write(new.record)
    return where.record


def _judge(
    case: str, prediction: Path, reference: Path, mask: Path | None, data_range: float | None, presets: Sequence[str]
) -> list[MetricRecord]:
    """Judge one file against another; raises InputError where a file cannot be read or grids differ."""
    # The files do not say which contrast they are, and nothing here depends on it.
    made = replace(read_prediction(prediction, "t1"), contrast="prediction")
    true = replace(read_image(reference, "t1"), contrast="reference")
    inside = read_mask(mask) if mask else None
    for other in (true, *([inside] if inside else [])):
        if error := grid_error(case, made, other):
            raise error
    for preset in presets:
        known = PRESETS[preset].data_range if preset in PRESETS else None
        _require_scale(case, made.data, true.data, data_range if known is None else known, preset)
    regions = build_regions(made.data.shape, None if inside is None else inside.data > 0)
    found = (
        evaluate_pair(made.data, true.data, regions, data_range, preset, info=PairInfo(case)) for preset in presets
    )
    return [record for one in found for record in one]


def _require_scale(case: str, made: np.ndarray, true: np.ndarray, data_range: float | None, preset: str) -> None:
    """Raise InputError where an image spans many times the data range, or the reference a small part of it, or the two
    have unlike spans: one of them is in other units."""
    spans = [float(np.nanmax(one)) - float(np.nanmin(one)) for one in (made, true)]
    wide = data_range is not None and max(spans) > FAR * data_range
    narrow = data_range is not None and 0 < spans[1] < data_range / FAR
    unlike = 0 < spans[0] < spans[1] / UNLIKE
    if wide or narrow or unlike:
        told = "" if data_range is None else f", the data range of preset {preset} is {data_range:g}"
        raise InputError(
            f"{case}: the values do not fit the data range." if wide or narrow else f"{case}: the scales differ.",
            found=f"prediction and reference span {spans[0]:.4g} and {spans[1]:.4g}{told}",
            expected="both on one scale, which the data range spans",
            do="bring both to one scale, and give its width with --range; for a run's predictions give --cohort, which "
            "normalises the truth",
        )


def _pairs(prediction: Path, reference: Path, mask: Path | None) -> dict[str, tuple[Path, Path, Path | None]]:
    """Return case → (prediction, reference, mask)."""
    if not prediction.is_dir():
        return {stem_of(prediction): (prediction, reference, mask)}
    made = _images(prediction)
    if not made:
        raise InputError(f"{prediction} holds no NIfTI file.", expected="*.nii.gz")
    true = _images(reference)
    masks = _images(mask) if mask is not None and mask.is_dir() else None
    for path in made.values():
        for folder, others in ((reference, true), (mask, masks)):
            if others is not None and path.name not in others:
                raise _alone(path, folder)
    for path in true.values():
        if path.name not in made:
            raise _alone(path, prediction)
    found: dict[str, tuple[Path, Path, Path | None]] = {}
    for name, path in made.items():
        if (case := stem_of(path)) in found:
            raise InputError(
                f"Two files in {prediction} mean the case {case}.",
                found=f"{found[case][0].name}, {name}",
                do="keep one of them",
            )
        found[case] = (path, true[name], mask if masks is None else masks[name])
    return found


def _images(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by name; hidden files are none, nor are maps beside an image."""
    files = sorted(folder.iterdir()) if folder.is_dir() else ()
    found = {path.name: path for path in files if is_nifti(path) and path.is_file() and not path.name.startswith(".")}
    return {name: path for name, path in found.items() if not _is_map(path, found)}


def _is_map(path: Path, others: Collection[str]) -> bool:
    """Say whether a file is a map that lies beside an image of its name: x_error.nii.gz beside x.nii.gz."""
    stem = stem_of(path)
    ends = [end for end in ("_error", "_spread") if stem.endswith(end)]
    return any(stem.removesuffix(end) + path.name.removeprefix(stem) in others for end in ends)


def _alone(path: Path, folder: Path | None) -> InputError:
    """Return what is said of a file without a partner."""
    return InputError(
        f"{path} has no partner.", found=f"no {path.name} in {folder}", do="name files alike in both folders"
    )
