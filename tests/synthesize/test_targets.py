"""One model, several contrasts: what is made, what is left out, what is refused, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from mrsynth.cli import main
from mrsynth.core.errors import InputError, ModelError
from mrsynth.io import CaseRow, Cohort
from mrsynth.steps import complete_steps
from mrsynth.synthesize import predict
from mrsynth.synthesize.place import ALL, Place
from mrsynth.synthesize.run import synthesize_cohort, synthesize_files
from mrsynth.synthesize.write import Formats
from tiny_contrasts import STEPS, save_any_run, scans_of
from tiny_run import dicom_study


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return save_any_run(tmp_path / "run", refused={"flair+t1-t2": "it is worse than the voxel table"})


def voxels(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).get_fdata())


def sidecar(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def test_a_target_that_is_named_is_made_and_said(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = scans_of(tmp_path / "scans", "t1")["t1"]
    words = ["mrsynth", "synthesize", "--model", str(run), "--input", f"t1={scan}", "--quiet"]
    monkeypatch.setattr("sys.argv", [*words, "--target", "T2w", "-o", str(tmp_path / "made.nii.gz")])
    with pytest.raises(SystemExit, match="0"):
        main()
    said = sidecar(tmp_path / "made.json")
    assert said["target"] == "t2"
    assert said["model_inputs"] == ["t1", "flair"]
    assert {name: known["source"] for name, known in said["made"]["inputs"].items()} == {
        "t1": "scan",
        "flair": "flagged as missing",
    }
    assert b"SYNTHETIC t2" in nib.load(tmp_path / "made.nii.gz").header["descrip"].item()


def test_all_makes_what_is_not_given_as_if_each_was_asked_for_alone(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans, prepared = scans_of(tmp_path / "scans", "t1"), []
    whole = predict.run_steps
    monkeypatch.setattr(predict, "run_steps", lambda *args: prepared.append(1) or whole(*args))
    synthesize_files(run, scans, tmp_path / "out", Place(targets=ALL))
    assert len(prepared) == 2  # before and after the grid changes: once for both targets
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "flair.json", "flair.nii.gz", "t2.json", "t2.nii.gz",
    ]  # fmt: skip
    for target in ("t2", "flair"):
        synthesize_files(run, scans, tmp_path / f"{target}-alone.nii.gz", Place(targets=(target,)))
        np.testing.assert_array_equal(
            voxels(tmp_path / "out" / f"{target}.nii.gz"), voxels(tmp_path / f"{target}-alone.nii.gz")
        )
        assert sidecar(tmp_path / "out" / f"{target}.json")["target"] == target


def test_a_target_that_is_given_too_is_not_its_own_input(run: Path, tmp_path: Path) -> None:
    scans = scans_of(tmp_path / "scans", "t1", "flair")
    synthesize_files(run, scans, tmp_path / "out", Place(targets=("t1", "flair")))
    for target in ("t1", "flair"):
        other = {name: path for name, path in scans.items() if name != target}
        synthesize_files(run, other, tmp_path / f"{target}.nii.gz", Place(targets=(target,)))
        np.testing.assert_array_equal(
            voxels(tmp_path / "out" / f"{target}.nii.gz"), voxels(tmp_path / f"{target}.nii.gz")
        )
        assert target not in sidecar(tmp_path / "out" / f"{target}.json")["made"]["inputs"]


def test_what_cannot_be_asked_for_gets_a_sentence(run: Path, tmp_path: Path) -> None:
    scans = scans_of(tmp_path / "scans", "t1", "t2", "flair")
    with pytest.raises(ModelError, match="does not make adc"):
        synthesize_files(run, scans, tmp_path / "out", Place(targets=("adc",)))
    with pytest.raises(InputError, match="Nothing is left to make"):
        synthesize_files(run, scans, tmp_path / "out", Place(targets=ALL))
    with pytest.raises(InputError, match="do not fit into one file"):
        synthesize_files(run, {"t1": scans["t1"]}, tmp_path / "one.nii.gz", Place(targets=ALL))
    assert not (tmp_path / "out").exists()


def test_a_refused_translation_is_made_only_anyway_and_marked(run: Path, tmp_path: Path) -> None:
    scans = scans_of(tmp_path / "scans", "t1", "flair")
    with pytest.raises(InputError, match="worse than the voxel table"):
        synthesize_files(run, scans, tmp_path / "t2.nii.gz")
    with pytest.raises(InputError, match="Nothing is left to make"):
        synthesize_files(run, scans, tmp_path / "out", Place(targets=ALL))
    synthesize_files(run, scans, tmp_path / "out", Place(targets=ALL, anyway=True))
    assert "worse than the voxel table" in sidecar(tmp_path / "out" / "t2.json")["made"]["remarks"][0]
    # From the T1 alone it is not refused.
    synthesize_files(run, {"t1": scans["t1"]}, tmp_path / "t2.nii.gz")
    assert sidecar(tmp_path / "t2.json")["made"]["remarks"] == []


def test_a_dicom_study_is_completed(run: Path, tmp_path: Path) -> None:
    study = dicom_study(tmp_path / "study")
    place = Place(targets=ALL, formats=Formats("dicom"))
    synthesize_files(run, {"t1": study / "t1"}, tmp_path / "out", place)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "flair-dicom", "flair.json", "t2-dicom", "t2.json",
    ]  # fmt: skip
    series = {target: pydicom.dcmread(tmp_path / "out" / f"{target}-dicom" / "0001.dcm") for target in ("t2", "flair")}
    assert len({data.SeriesInstanceUID for data in series.values()}) == 2
    assert len({data.SeriesNumber for data in series.values()}) == 2
    for target, data in series.items():
        assert f"SYNTHETIC {target}" in data.SeriesDescription
        assert "made this image of t1 with" in data.DerivationDescription


def rows(folder: Path, name: str = "{case}_{contrast}") -> Cohort:
    """Two cases: of T1 alone, and of T1 and FLAIR."""
    found = []
    for case, contrasts in (("sub-1", ("t1",)), ("sub-2", ("t1", "flair"))):
        scans = scans_of(folder / case, *contrasts)
        files = {c: path.rename(path.with_name(f"{case}_{c}.nii.gz")) for c, path in scans.items()}
        found.append(CaseRow(case, case, "test", files))
    return Cohort(tuple(found))


def test_a_cohort_is_completed_a_folder_a_contrast(run: Path, tmp_path: Path) -> None:
    cohort = rows(tmp_path / "scans")
    made, failed = synthesize_cohort(run, cohort, tmp_path / "out", place=Place(targets=ALL))
    assert (sorted(made), failed) == (["sub-1", "sub-1"], [])  # the other's T2 is refused from what it has
    made, failed = synthesize_cohort(run, cohort, tmp_path / "out", place=Place(targets=ALL, anyway=True))
    assert (sorted(made), failed) == (["sub-1", "sub-1", "sub-2"], [])
    record = {target: sidecar(tmp_path / "out" / target / "predictions.json") for target in ("t2", "flair")}
    assert {target: (known["target"], sorted(known["cases"])) for target, known in record.items()} == {
        "t2": ("t2", ["sub-1", "sub-2"]),
        "flair": ("flair", ["sub-1"]),
    }
    assert "worse" in record["t2"]["cases"]["sub-2"]["remarks"][0]
    assert record["t2"]["cases"]["sub-1"]["inputs"]["flair"]["source"] == "flagged as missing"
    assert not (tmp_path / "out" / "t1").exists()


def test_a_case_that_is_refused_a_named_target_fails_alone(run: Path, tmp_path: Path) -> None:
    cohort = rows(tmp_path / "scans")
    made, failed = synthesize_cohort(run, cohort, tmp_path / "out", place=Place(targets=("t2",)))
    assert made == ["sub-1"]
    assert [(case, "worse than" in why) for case, why in failed] == [("sub-2", True)]
    assert (tmp_path / "out" / "sub-1.nii.gz").is_file()
    place = Place(targets=("t2", "flair"))
    made, failed = synthesize_cohort(run, cohort, tmp_path / "both", place=place)
    assert sorted(made) == ["sub-1", "sub-1", "sub-2"]
    assert failed[0][1].startswith("t2: ")
    assert list(sidecar(tmp_path / "both" / "t2" / "predictions.json")["failed"]) == ["sub-2"]
    assert (tmp_path / "both" / "flair" / "sub-2.nii.gz").is_file()


def test_a_cohort_in_bids_has_a_derivative_a_contrast(run: Path, tmp_path: Path) -> None:
    place = Place(targets=ALL, formats=Formats("bids"))
    made, failed = synthesize_cohort(run, rows(tmp_path / "scans"), tmp_path / "out", place=place)
    assert (len(made), failed) == (2, [])
    for target, suffix in (("t2", "T2w"), ("flair", "FLAIR")):
        image = tmp_path / "out" / target / "sub-1" / "anat" / f"sub-1_desc-synthetic_{suffix}.nii.gz"
        assert image.is_file()
        assert sidecar(image.with_name(image.name.replace(".nii.gz", ".json")))["target"] == target
        assert (tmp_path / "out" / target / "dataset_description.json").is_file()


def test_a_contrast_whose_scale_another_takes_can_be_the_target(tmp_path: Path) -> None:
    """The T1 from a T1ce, which lies on the T1's scale where both are there."""
    steps = [
        {"brain_mask": {"source": "auto"}},
        {"field_of_view": {"size_mm": [280, 320]}},
        {"curve": {"reference": "t1", "images": ["t1ce"]}},
        {"robust": {"like": {"t1ce": "t1"}}},
        {"window": {"low": -5, "high": 10}},
    ]
    names = ["t1", "t1ce", "t2"]
    run = save_any_run(tmp_path / "run", steps=steps, contrasts=names, inputs=["t1", "t1ce"], target="t2")
    scans = scans_of(tmp_path / "scans", "t1ce")
    synthesize_files(run, scans, tmp_path / "out", Place(targets=ALL))
    assert voxels(tmp_path / "out" / "t1.nii.gz").any()


def test_background_around_the_brain_changes_nothing(tmp_path: Path) -> None:
    """The box around the brain is predicted alone, though the network normalises over all that it sees."""
    scans, made = scans_of(tmp_path / "scans", "t1", "flair"), []
    for name, size_mm in (("narrow", [400, 400]), ("wide", [560, 640])):
        steps = [{"field_of_view": {"size_mm": size_mm}} if "field_of_view" in step else step for step in STEPS]
        run = save_any_run(tmp_path / name, steps=complete_steps(steps))
        synthesize_files(run, scans, tmp_path / f"{name}.nii.gz", Place(error_map=True))
        made.append([voxels(tmp_path / f"{name}{what}.nii.gz") for what in ("", "_error")])
    brain = voxels(scans["t1"]) > 0
    assert made[0][0][brain].any()
    for narrow, wide in zip(*made, strict=True):
        np.testing.assert_array_equal(narrow, wide)
