"""How far an image may be wrong: the network's scale times the calibration's factor, in the image's units."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from mrsynth.core.errors import InputError
from mrsynth.io import CaseRow, Cohort, read_case
from mrsynth.io.synthetic import why_synthetic
from mrsynth.synthesize import load_model
from mrsynth.synthesize.error_map import NOT_CALIBRATED, error_map, factor_of
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.run import synthesize_cohort, synthesize_files
from mrsynth.synthesize.write import Formats
from tiny_contrasts import save_any_run, scans_of
from tiny_run import dicom_study, save_run

CALIBRATION = {"coverage": 0.9, "patients": 9, "factor": {"t2": [2.5, 2.0]}}
MAPPED = Place(error_map=True)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return save_any_run(tmp_path / "run", calibration=CALIBRATION)


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).get_fdata())


def sidecar(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def test_it_is_the_networks_scale_times_the_factor_of_so_many_inputs(run: Path, tmp_path: Path) -> None:
    bare = save_any_run(tmp_path / "bare")
    scans = scans_of(tmp_path / "scans", "t1", "flair")
    for names, factor in ((("t1",), 2.5), (("t1", "flair"), 2.0)):
        given = {name: scans[name] for name in names}
        for model, out in ((run, tmp_path / "a.nii.gz"), (bare, tmp_path / "b.nii.gz")):
            synthesize_files(model, given, out, MAPPED)
        scale, half = voxels(tmp_path / "b_error.nii.gz"), voxels(tmp_path / "a_error.nii.gz")
        brain = voxels(scans["t1"]) > 0
        assert half[brain].min() > 0
        assert not half[~brain].any()
        np.testing.assert_allclose(half[brain], factor * scale[brain], rtol=1e-3)
        np.testing.assert_array_equal(nib.load(tmp_path / "a_error.nii.gz").affine, nib.load(scans["t1"]).affine)


def test_in_other_units_it_is_as_much_larger_as_they_are(run: Path, tmp_path: Path) -> None:
    scans = scans_of(tmp_path / "scans", "t1")
    for units in ("range", "input"):
        synthesize_files(run, scans, tmp_path / f"{units}.nii.gz", Place(units=units, error_map=True))
    image = {units: voxels(tmp_path / f"{units}.nii.gz") for units in ("range", "input")}
    error = {units: voxels(tmp_path / f"{units}_error.nii.gz") for units in ("range", "input")}
    inside = (image["range"] > 0.02) & (image["range"] < 0.98)
    slope, _ = np.polyfit(image["range"][inside], image["input"][inside], 1)
    assert slope > 100
    np.testing.assert_allclose(error["input"][inside], slope * error["range"][inside], rtol=1e-3)
    assert not error["input"][image["range"] == 0].any()


@pytest.mark.parametrize("names", [("t1",), ("t1", "flair")])
def test_both_ends_of_the_interval_are_where_the_map_says(run: Path, tmp_path: Path, names: Sequence[str]) -> None:
    """The map is a difference of two images, each brought back as the image is."""
    synthesizer = load_model(run, "cpu")
    ready = synthesizer.ready(read_case(CaseRow("p", "c", "test", scans_of(tmp_path / "scans", *names))), units="input")
    predicted = synthesizer.predicted(ready)
    half = error_map(synthesizer, ready, predicted).data
    doubled = synthesizer.contract.model_copy(deep=True)
    assert doubled.calibration is not None
    doubled.calibration.factor["t2"] = [2 * factor for factor in CALIBRATION["factor"]["t2"]]
    synthesizer.contract = doubled
    np.testing.assert_allclose(error_map(synthesizer, ready, predicted).data, 2 * half, rtol=1e-3, atol=1e-3)


def test_without_a_calibration_it_says_so(tmp_path: Path) -> None:
    run, scans = save_any_run(tmp_path / "run", calibration=CALIBRATION), scans_of(tmp_path / "scans", "t1")
    synthesize_files(run, scans, tmp_path / "t2.nii.gz", MAPPED)
    made = sidecar(tmp_path / "t2.json")["made"]
    assert made["images"][0]["error"]["coverage"] == 0.9
    assert made["remarks"] == []
    # Of another target nothing is known.
    synthesize_files(run, scans, tmp_path / "flair.nii.gz", Place(targets=("flair",), error_map=True))
    made = sidecar(tmp_path / "flair.json")["made"]
    assert made["images"][0]["error"] == {"file": "flair_error.nii.gz", "coverage": None} | {
        "sha256": made["images"][0]["error"]["sha256"]
    }
    assert made["remarks"] == [NOT_CALIBRATED]


def test_of_more_inputs_than_were_calibrated_the_last_factor_counts(run: Path) -> None:
    contract = load_model(run, "cpu").contract
    assert [factor_of(contract, count) for count in (1, 2, 3)] == [2.5, 2.0, 2.0]
    assert factor_of(contract.for_target("t1"), 1) is None


def test_a_model_that_knows_no_error_is_told_before_anything_is_written(tmp_path: Path) -> None:
    run, scans = save_run(tmp_path / "run", ["t1"], "t2", 1), scans_of(tmp_path / "scans", "t1")
    with pytest.raises(InputError, match="says nothing of its own error"):
        synthesize_files(run, scans, tmp_path / "t2.nii.gz", MAPPED)
    with pytest.raises(InputError, match="this model is one"):
        synthesize_files(run, scans, tmp_path / "t2.nii.gz", Place(spread=True))
    assert not (tmp_path / "t2.nii.gz").exists()


def test_it_is_written_as_a_series_of_its_own_kind(run: Path, tmp_path: Path) -> None:
    study = dicom_study(tmp_path / "study")
    place = Place(formats=Formats("both"), error_map=True)
    synthesize_files(run, {"t1": study / "t1"}, tmp_path / "out", place)
    series = [pydicom.dcmread(tmp_path / "out" / f"t2{end}-dicom" / "0005.dcm") for end in ("", "_error")]
    assert list(series[1].ImageType) == [*series[0].ImageType, "ERROR MAP"]
    assert series[0].SeriesInstanceUID != series[1].SeriesInstanceUID
    scale = series[1].RealWorldValueMappingSequence[0].RealWorldValueSlope
    stored = voxels(tmp_path / "out" / "t2_error.nii.gz")
    assert scale == pytest.approx(stored.max() / 4095, rel=1e-3)
    synthesize_files(run, {"t1": study / "t1"}, tmp_path / "alone", Place(formats=Formats("dicom"), error_map=True))
    assert sidecar(tmp_path / "alone" / "t2.json")["made"]["images"][0]["error"]["file"] == "t2_error-dicom"


def cohort(folder: Path) -> Cohort:
    return Cohort((CaseRow("p", "case", "test", scans_of(folder, "t1")),))


def test_a_cohorts_maps_are_listed_kept_and_made_anew(run: Path, tmp_path: Path) -> None:
    table, out = cohort(tmp_path / "scans"), tmp_path / "out"

    def made(**wish: Any) -> tuple[int, int]:
        assert synthesize_cohort(run, table, out, place=Place(**wish))[1] == []
        return tuple((out / name).stat().st_mtime_ns for name in ("case.nii.gz", "case_error.nii.gz"))

    assert synthesize_cohort(run, table, out)[1] == []
    assert not (out / "case_error.nii.gz").exists()
    first = made(error_map=True)
    listed = sidecar(out / "predictions.json")["cases"]["case"]["images"][0]["error"]
    assert (listed["file"], listed["coverage"]) == ("case_error.nii.gz", 0.9)
    assert made(error_map=True) == first
    (out / "case_error.nii.gz").write_bytes((out / "case.nii.gz").read_bytes())
    assert made(error_map=True) != first
    assert why_synthetic(out / "case_error.nii.gz")


def test_no_scan_is_overwritten_by_a_map(run: Path, tmp_path: Path) -> None:
    scans = scans_of(tmp_path, "t1")
    other = scans["t1"].rename(tmp_path / "t2_error.nii.gz")
    with pytest.raises(Exception, match="would be overwritten"):
        synthesize_files(run, {"t1": other}, tmp_path / "t2.nii.gz", MAPPED)
    assert why_synthetic(other) is None


def test_an_ensemble_writes_its_spread_and_holds_it_in_its_error(tmp_path: Path) -> None:
    run, scans = save_any_run(tmp_path / "run", members=2), scans_of(tmp_path / "scans", "t1")
    synthesize_files(run, scans, tmp_path / "t2.nii.gz", Place(error_map=True, spread=True))
    spread, error = (voxels(tmp_path / f"t2_{what}.nii.gz") for what in ("spread", "error"))
    assert spread.max() > 0
    inside = (voxels(tmp_path / "t2.nii.gz") > 0.02) & (voxels(tmp_path / "t2.nii.gz") < 0.98)
    assert np.all(error[inside] >= 0.99 * spread[inside])  # two members: both measures of distance are equal
