from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from bids_validator import BIDSValidator

from dicom_checks import dciodvfy_errors, iod_problems, read, run
from mrsynth.cli import main
from mrsynth.core.errors import InputError, OutputError
from mrsynth.index.find import index_folder
from mrsynth.io import CaseRow, Cohort, read_image
from mrsynth.io.predictions import read_predictions
from mrsynth.io.synthetic import why_synthetic
from mrsynth.synthesize.place import Place
from mrsynth.synthesize.run import synthesize_cohort, synthesize_files
from mrsynth.synthesize.write import Formats
from tiny import write_scan
from tiny_run import dicom_study, save_run


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A study with T1 and T2 as DICOM, and a model that makes FLAIR of both."""
    dicom_study(tmp_path / "study", ("t1", "t2"))
    save_run(tmp_path / "run", ["t1", "t2"], "flair", 1)
    return tmp_path


def inputs(world: Path) -> dict[str, Path]:
    return {"t1": world / "study#series=101", "t2": world / "study#series=201"}


def made(world: Path, *more: str, out: str = "out") -> Path:
    given = [f"--input={name}={path}" for name, path in inputs(world).items()]
    sys.argv = ["mrsynth", "synthesize", "--model", str(world / "run"), *given, "-o", str(world / out), *more]
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code in (None, 0)
    return world / out


def test_dicom_in_gives_dicom_beside_nifti(world: Path):
    out = made(world)
    assert sorted(path.name for path in out.iterdir()) == ["flair-dicom", "flair.json", "flair.nii.gz"]
    files = sorted((out / "flair-dicom").iterdir())
    assert len(files) == 20
    assert [problem for file in files for problem in iod_problems(read(file))] == []
    assert dciodvfy_errors(files[0]) == []
    series, image = read_image(out / "flair-dicom", "flair"), read_image(out / "flair.nii.gz", "flair")
    assert np.abs(series.affine - image.affine).max() <= 1e-4
    assert np.abs(series.data - image.data).max() <= 0.5 / 4095 + 1e-6
    assert json.loads((out / "flair.json").read_text())["way"]["weights_sha256"] in read(files[0]).DerivationDescription


def test_the_same_run_again_makes_no_duplicate(world: Path):
    first, second = (sorted((made(world, out=out) / "flair-dicom").iterdir()) for out in ("a", "b"))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_one_format_alone(world: Path):
    assert sorted(path.name for path in made(world, "--format", "nifti", out="x.nii.gz").parent.glob("x*")) == [
        "x.json",
        "x.nii.gz",
    ]
    out = made(world, "--format", "dicom", "--enhanced", "--jpeg-ls")
    assert sorted(path.name for path in out.iterdir()) == ["flair-dicom", "flair.json"]
    assert read(out / "flair-dicom" / "0001.dcm").NumberOfFrames == 20


def test_what_was_made_in_a_study_is_no_scan_of_it(world: Path):
    before = index_folder(world / "study").rows
    made(world, out="study/synthetic")
    after = index_folder(world / "study").rows
    assert [dict(row.files) for row in after] == [dict(row.files) for row in before]


def test_a_series_of_somebody_else_is_not_replaced(world: Path):
    dicom_study(world / "out" / "flair-dicom", number=7)
    with pytest.raises(OutputError, match="mrsynth did not write"):
        synthesize_files(world / "run", inputs(world), world / "out", Place(device="cpu"))
    assert not (world / "out" / "flair.nii.gz").exists()


def bids_cohort(folder: Path) -> Cohort:
    rows = []
    for number in (1, 2):
        files = {}
        for name, suffix in (("t1", "T1w"), ("t2", "T2w")):
            scan = read_image(dicom_study(folder.parent / f"d{number}", ("t1", "t2"), number) / name, name)
            stem = f"sub-{number:02d}_ses-a_acq-x_{suffix}"
            files[name] = write_scan(scan.data, folder / f"sub-{number:02d}" / "ses-a" / "anat" / f"{stem}.nii.gz")
        rows.append(CaseRow(f"sub-{number:02d}", f"sub-{number:02d}_ses-a", "test", files))
    return Cohort(tuple(rows))


def test_a_cohort_in_bids_gets_a_derivative(world: Path):
    cohort = bids_cohort(world / "bids")
    out = world / "bids" / "derivatives" / "mrsynth"
    place = Place(device="cpu", formats=Formats("bids"))
    assert synthesize_cohort(world / "run", cohort, out, place=place)[1] == []
    image = out / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_desc-synthetic_FLAIR.nii.gz"
    assert read_predictions(out).cases["sub-01_ses-a"].images[0].file == str(image.relative_to(out))
    said = json.loads(image.with_name("sub-01_ses-a_desc-synthetic_FLAIR.json").read_text())
    assert said["Sources"] == [
        f"bids:raw:sub-01/ses-a/anat/sub-01_ses-a_acq-x_{suffix}.nii.gz" for suffix in ("T1w", "T2w")
    ]
    assert (said["synthetic"], said["SkullStripped"]) == (True, True)
    described = json.loads((out / "dataset_description.json").read_text())
    assert (described["DatasetType"], described["GeneratedBy"][0]["Name"]) == ("derivative", "mrsynth")
    assert described["DatasetLinks"] == {"raw": "../.."}
    names = ["/" + path.relative_to(world / "bids").as_posix() for path in out.rglob("*") if path.is_file()]
    assert all(BIDSValidator().is_bids(name) for name in names)
    if shutil.which("bids-validator-deno") is not None:  # of 120 MB; it knows derivatives
        said = run(["bids-validator-deno", str(out), "--json"]).stdout
        assert not [issue for issue in json.loads(said)["issues"]["issues"] if issue["severity"] == "error"]
    assert why_synthetic(image) is not None
    # Again: kept, not made anew.
    before = image.stat().st_mtime_ns
    assert synthesize_cohort(world / "run", cohort, out, place=place)[1] == []
    assert image.stat().st_mtime_ns == before
    assert nib.load(image).shape == (24, 28, 20)


def test_formats_that_cannot_be_are_refused(world: Path):
    nifti = bids_cohort(world / "bids")
    out = world / "out"
    for formats, why in ((Formats("dicom"), "not written as DICOM alone"),):
        with pytest.raises(InputError, match=why):
            synthesize_cohort(world / "run", nifti, out, place=Place(device="cpu", formats=formats))
    failed = synthesize_cohort(world / "run", nifti, out, place=Place(device="cpu", formats=Formats("both")))[1]
    assert len(failed) == 2
    assert "is not DICOM" in failed[0][1]
    with pytest.raises(InputError, match="made of a cohort"):
        synthesize_files(world / "run", inputs(world), out, Place(device="cpu", formats=Formats("bids")))
    dicom = Cohort((CaseRow("p", "p", "test", inputs(world)),))
    failed = synthesize_cohort(world / "run", dicom, world / "b", place=Place(device="cpu", formats=Formats("bids")))[1]
    assert "no name in BIDS" in failed[0][1]


def test_a_cohort_of_dicom_gets_series_beside_its_images(world: Path):
    cohort = Cohort((CaseRow("p", "p", "test", inputs(world)),))
    place = Place(device="cpu", formats=Formats("both"))
    assert synthesize_cohort(world / "run", cohort, world / "out", place=place) == (["p"], [])
    assert len(list((world / "out" / "p-dicom").iterdir())) == 20
    for file in (world / "out" / "p-dicom").iterdir():
        file.unlink()
    (world / "out" / "p-dicom").rmdir()
    synthesize_cohort(world / "run", cohort, world / "out", place=place)
    assert len(list((world / "out" / "p-dicom").iterdir())) == 20
