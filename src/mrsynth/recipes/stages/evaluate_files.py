"""mrsynth evaluate on files: a prediction against a reference, or a folder against a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mrsynth.errors import InputError
from mrsynth.evaluate import MetricRecord, PairInfo, build_regions, evaluate_pair, write_records
from mrsynth.image import grid_error
from mrsynth.io import read_image, read_mask, read_prediction
from mrsynth.io.files import write_json
from mrsynth.recipes.stages.evaluate import summary_of


def evaluate_files(
    prediction: Path,
    reference: Path,
    mask: Path | None,
    data_range: float | None,
    presets: Sequence[str],
    out: Path | None,
) -> Path:
    """Judge a file against a file, or a folder against a folder (same names); writes metrics.json and metrics.csv.

    mask: of the brain, the whole volume by default. A pair that cannot be judged does not stop the others: metrics.json
    names it, with the reason, under left_out. Raises InputError where a partner is missing, or no pair can be judged.
    """
    pairs = _pairs(prediction, reference, mask)
    records: list[MetricRecord] = []
    failed: list[tuple[str, InputError]] = []
    for case, pair in pairs.items():
        try:
            records += _judge(case, *pair, data_range, presets)
        except InputError as error:
            failed.append((case, error))
    if not records:
        raise failed[0][1]
    out = out or Path("metrics.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_records(records, out.with_suffix(".csv"))
    not_judged = [{"case": case, "why": str(why)} for case, why in failed]
    summary = summary_of(records, {case: case for case in pairs})
    write_json(out, {**summary, "published": None, "left_out": not_judged})
    return out


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
    region = np.ones(made.data.shape, bool) if inside is None else inside.data > 0
    regions = build_regions(made.data.shape, region)
    found = (
        evaluate_pair(made.data, true.data, regions, data_range, preset, info=PairInfo(case)) for preset in presets
    )
    return [record for one in found for record in one]


def _pairs(prediction: Path, reference: Path, mask: Path | None) -> dict[str, tuple[Path, Path, Path | None]]:
    """Return case → (prediction, reference, mask)."""
    if not prediction.is_dir():
        return {case_stem(prediction): (prediction, reference, mask)}
    found = {}
    for made in sorted(prediction.glob("*.nii*")):
        true = reference / made.name
        brain = mask / made.name if mask is not None and mask.is_dir() else mask
        for partner in (true, brain):
            if partner is not None and not partner.is_file():
                raise InputError(f"{made} has no partner.", expected=partner, do="name files alike in both folders")
        found[case_stem(made)] = (made, true, brain)
    if not found:
        raise InputError(f"{prediction} holds no NIfTI file.", expected="*.nii.gz")
    return found


def case_stem(path: Path) -> str:
    """Return a file's name without .nii or .nii.gz."""
    return path.name.removesuffix(".gz").removesuffix(".nii")
